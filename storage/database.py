"""One SQLite file, one writer thread, one reader thread; nothing touches the file from the event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from sqlite_utils import Database as Utils

from engine.errors import StorageError
from storage.migrations import check_schema, migrate

T = TypeVar("T")

BUSY_MS = 10_000


class InstanceLock:
    """Makes two processes on one database impossible; says who holds it."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._handle: IO[str] | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            StorageError: naming the process that holds it.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = self._path.open("a+", encoding="ascii")
        except OSError as error:
            raise StorageError(f"{self._path.parent} cannot be written to: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            handle.close()
            raise StorageError(f"{self._path.stem} is in use by process {holder}; only one may run on it") from None
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class Database:
    """A database that is written by one thread and read by another.

    write() and read() take functions of a sqlite_utils.Database. Each write runs in one transaction that begins
    IMMEDIATE: a deferred one that reads first fails at once when somebody else wrote meanwhile.

    Args:
        path: the file, None for one in memory.
        reading: only read from it: needs no lock, so that a running process is not in the way.
    """

    def __init__(self, path: Path | None, *, reading: bool = False) -> None:
        path = self._path = path.resolve() if path else None  # two names of one file are one database
        self._only_reading = reading
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
        if self._lock:
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
        """Run work in one transaction; all of it is stored or nothing.

        Raises:
            StorageError: when SQLite refuses.
        """
        try:
            return await self._on(self._writer, lambda: _in_transaction(self._writing(), work))
        except sqlite3.Error as error:
            raise StorageError(f"the database refused a write: {error}") from error

    async def read(self, work: Callable[[Utils], T]) -> T:
        """Run work on a connection that cannot write."""
        try:
            return await self._on(self._reader, lambda: work(self._reading()))
        except sqlite3.Error as error:
            raise StorageError(f"the database refused a read: {error}") from error

    async def close(self) -> None:
        """Close connections and threads; the lock goes last."""
        for executor, db in ((self._reader, self._read_db), (self._writer, self._write_db)):
            if db is not None and (db is not self._write_db or executor is self._writer):
                await self._on(executor, db.conn.close)
        self._read_db = self._write_db = None
        for executor in {self._reader, self._writer}:
            executor.shutdown(wait=True)
        if self._lock:
            self._lock.release()

    def _connect(self, *, readonly: bool) -> Utils:
        conn = sqlite3.connect(str(self._path) if self._path else ":memory:", isolation_level=None)
        conn.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        conn.execute("PRAGMA foreign_keys = ON")
        if readonly:
            conn.execute("PRAGMA query_only = ON")
        else:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = FULL")
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
        # Shielded: what has been handed to the thread is done whole, and whoever is cancelled waits for that.
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
