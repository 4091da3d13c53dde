"""One SQLite file, one writer thread, one reader thread; nothing touches the file from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlite_utils import Database as Utils

from engine.errors import StorageError
from storage.aside import Aside, Connection
from storage.migrations import check_schema, migrate

T = TypeVar("T")

log = logging.getLogger(__name__)

BUSY_MS = 60_000
"""How long we wait for another program's write lock: a backup of a large file takes a while."""

SAY_SECONDS = 5.0
WAL_BYTES = 64 * 1024 * 1024
PRIVATE = 0o600


class InstanceLock:
    """Keeps a second process off a database, and names the one that uses it.

    The lock is on the opened file, by its inode: a name can be deleted or moved. The file beside it names the holder,
    and shows that there has been a database here.
    """

    def __init__(self, database: Path) -> None:
        self.database = database
        self.note = database.with_name(database.name + ".lock")
        self._handle: int | None = None
        self._note_handle: IO[str] | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            StorageError: naming the process that holds it.
        """
        try:
            self.note.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
            note = os.fdopen(os.open(self.note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE), "r+", encoding="ascii")
        except OSError as error:
            raise StorageError(f"{self.note.parent} cannot be written to: {error.strerror}") from None
        for opened in (handle, note.fileno()):  # files of older versions too; SQLite's own files get the same mode
            with contextlib.suppress(OSError):  # another user's file, which we may write
                os.fchmod(opened, PRIVATE)
        for beside in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                self.database.with_name(self.database.name + beside).chmod(PRIVATE)
        try:
            for each in (handle, note):
                fcntl.flock(each, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = note.read().strip() or "unknown"
            os.close(handle)
            note.close()
            raise StorageError(f"{self.note.stem} is in use by process {holder}; only one may run on it") from None
        note.seek(0)
        note.truncate()
        note.write(str(os.getpid()))
        note.flush()
        self._handle, self._note_handle = handle, note

    def lost(self) -> str:
        """Return why the path no longer names the open file, or "" while it does."""
        if self._handle is None:
            return ""
        held = os.fstat(self._handle)
        try:
            named = self.database.stat()
        except OSError:
            return "the database file is gone"
        return "" if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino) else "the database file was replaced"

    def release(self) -> None:
        # After the connections: closing any handle of a file drops all of this process's locks on it.
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        if self._note_handle is not None:
            self._note_handle.close()
            self._note_handle = None


def refuse_loss(database: Path, *, new: bool) -> None:
    """Refuse to create a new database unnoticed where there has been one.

    Args:
        new: create it all the same.

    Raises:
        StorageError: when there has been one, and the file is gone or empty.
    """
    if new or (database.exists() and database.stat().st_size):
        return
    beside = [database.with_name(database.name + ".lock"), *database.parent.glob(f"{database.stem}*.bak*")]
    beside += [*database.parent.glob(f"{database.stem}.rescued-*")]
    trace = next((path for path in beside if path.exists()), None)
    if trace is not None:
        state = "is empty" if database.exists() else "is gone"
        raise StorageError(
            f"{database.name} {state}, but {trace.name} shows there was one. "
            "Restore a backup, or start a new one with --new"
        )


class Database:
    """A database that is written by one thread and read by another.

    write() and read() take functions of a sqlite_utils.Database. Each write runs in one transaction that begins
    IMMEDIATE: a deferred one that reads first fails at once when another program has written meanwhile.

    Args:
        path: the file, None for one in memory.
        reading: read-only and without the lock, which also works beside a running process.
        new: create a new database even where there has been one that is gone.

    Attributes:
        aside: rows that could not be read or written.
        waiting: whether another program delays a write.
    """

    def __init__(self, path: Path | None, *, reading: bool = False, new: bool = False) -> None:
        path = self._path = path.resolve() if path else None  # two names of one file are one database
        self._only_reading, self._new = reading, new
        self.aside = Aside()
        self.waiting = False
        self._lock = InstanceLock(path) if path and not reading else None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="storage-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="storage-reader") if path else self._writer
        self._write_db: Utils | None = None
        self._read_db: Utils | None = None

    async def open(self) -> None:
        """Take the lock, open, migrate.

        Raises:
            StorageError: when it is in use, newer than this version, or no database.
        """
        if self._lock and self._path:
            refuse_loss(self._path, new=self._new)
            self._lock.take()
        try:
            if self._only_reading:
                self._read_db = await self._on(self._reader, lambda: self._connect(readonly=True))
                await self._on(self._reader, lambda: check_schema(self._reading()))
                return
            self._write_db = await self._on(self._writer, lambda: self._connect(readonly=False))
            await self._on(self._writer, lambda: migrate(self._writing()))
            self._read_db = (
                await self._on(self._reader, lambda: self._connect(readonly=True)) if self._path else self._write_db
            )
        except (sqlite3.Error, StorageError) as error:
            await self.close()
            raise StorageError(f"{self._path}: {error}") from None

    async def write(self, work: Callable[[Utils], T]) -> T:
        """Run work in one transaction, all or nothing. Return its result.

        Raises:
            StorageError: when SQLite refuses.
        """
        try:
            return await self._said(self._on(self._writer, lambda: _in_transaction(self._writing(), work)))
        except sqlite3.Error as error:
            raise StorageError(f"the database refused a write: {error}") from error

    @property
    def lost(self) -> str:
        """Why the path no longer names the open file; empty while it does."""
        return self._lock.lost() if self._lock else ""

    async def rescue(self, at: str) -> Path | None:
        """Copy the open database to a file beside the path that no longer names it. Return it, None if in memory."""
        path = self._path
        if path is None:
            return None
        target = path.with_name(f"{path.stem}.rescued-{at}{path.suffix}")

        def work() -> None:
            with contextlib.closing(sqlite3.connect(target)) as copy:
                target.chmod(PRIVATE)
                self._writing().conn.backup(copy)

        try:
            await self._on(self._writer, work)
        except sqlite3.Error as error:
            raise StorageError(f"the database could not be rescued: {error}") from error
        return target

    async def tidy(self) -> None:
        """Checkpoint and truncate the write-ahead log, so that it stays small."""
        await self._on(self._writer, lambda: self._writing().conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    async def _said(self, writing: Coroutine[Any, Any, T]) -> T:
        """Wait for a write. If another program delays it, log that and set waiting."""
        task = asyncio.ensure_future(writing)
        done, _ = await self._wait(task)
        if not done:
            log.warning("the database is locked by another program; waiting for up to %d s", BUSY_MS // 1000)
            self.waiting = True
        try:
            return await task
        finally:
            self.waiting = False

    @staticmethod
    async def _wait(task: asyncio.Future[Any]) -> tuple[set[Any], set[Any]]:
        try:
            return await asyncio.wait([task], timeout=SAY_SECONDS)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise

    async def read(self, work: Callable[[Utils], T]) -> T:
        """Run work on a connection that cannot write."""
        try:
            return await self._on(self._reader, lambda: work(self._reading()))
        except sqlite3.Error as error:
            raise StorageError(f"the database refused a read: {error}") from error

    async def close(self) -> None:
        """Close connections and threads, then release the lock."""
        for executor, db in ((self._reader, self._read_db), (self._writer, self._write_db)):
            if db is not None and (db is not self._write_db or executor is self._writer):
                await self._on(executor, db.conn.close)
        self._read_db = self._write_db = None
        for executor in {self._reader, self._writer}:
            executor.shutdown(wait=True)
        if self._lock:
            self._lock.release()

    def _connect(self, *, readonly: bool) -> Utils:
        name = str(self._path) if self._path else ":memory:"
        conn = sqlite3.connect(name, isolation_level=None, factory=Connection)
        conn.aside = self.aside
        conn.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        conn.execute("PRAGMA foreign_keys = ON")
        if readonly:
            conn.execute("PRAGMA query_only = ON")
        else:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = FULL")
            conn.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        return Utils(conn)

    def _writing(self) -> Utils:
        if self._write_db is None:
            raise StorageError("the database is not open")
        return self._write_db

    def _reading(self) -> Utils:
        if self._read_db is None:
            raise StorageError("the database is not open")
        return self._read_db

    @staticmethod
    async def _on(executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        # Shielded: work handed to the thread is completed, and a cancelled caller waits for it.
        future = asyncio.get_running_loop().run_in_executor(executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def _in_transaction(db: Utils, work: Callable[[Utils], T]) -> T:
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
    except BaseException:
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK")
        raise
    db.conn.execute("COMMIT")
    return result
