"""One writer, one lock, whole transactions."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlite_utils import Database as Utils

from engine.errors import StorageError
from storage.database import Database
from storage.migrations import NAMES, migrations


async def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    db = Database(tmp_path / "a.sqlite")
    await db.open()

    def work(inner: Utils) -> None:
        inner.conn.execute("INSERT INTO meta VALUES ('a', '1')")
        inner.conn.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(StorageError, match="refused a write"):
        await db.write(work)
    assert await db.read(lambda inner: inner["meta"].count) == 0
    await db.close()


async def test_the_reader_cannot_write(tmp_path: Path) -> None:
    db = Database(tmp_path / "a.sqlite")
    await db.open()
    with pytest.raises(StorageError, match="readonly"):
        await db.read(lambda inner: inner.conn.execute("INSERT INTO meta VALUES ('a', '1')"))
    await db.close()


async def test_the_pragmas_keep_data_safe(tmp_path: Path) -> None:
    db = Database(tmp_path / "a.sqlite")
    await db.open()

    def pragmas(inner: Utils) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return {name: inner.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    assert await db.write(pragmas) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    await db.close()


async def test_a_second_instance_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    import os

    first, second = Database(tmp_path / "a.sqlite"), Database(tmp_path / "a.sqlite")
    await first.open()
    with pytest.raises(StorageError, match=f"in use by process {os.getpid()}"):
        await second.open()
    await first.close()
    third = Database(tmp_path / "a.sqlite")
    await third.open()
    await third.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    db = Database(path)
    await db.open()
    await db.close()
    raw = sqlite3.connect(path)
    raw.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('cliffwatch', 'm9999_future', 'x')"
    )
    raw.commit()
    raw.close()
    with pytest.raises(StorageError, match="newer version"):
        await Database(path).open()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match="not a database"):
        await Database(tmp_path / "a.sqlite").open()


def test_the_units_migration_converts_bars_and_drops_checkpoints() -> None:
    """Bybit counted both sides until then. Gate's bars are deleted, as only its own data shows what they counted."""
    db = Utils(memory=True)
    for migration in migrations.pending(db):
        if migration.name == "m0006_units":
            break
        migration.fn(db)
    columns = "market, opened_at, step_ms, open, high, low, close, contracts, contracts_high, contracts_low"
    for market in ("bybit BTC/USDT:USDT", "gate BTC/USDT:USDT", "okx BTC/USDT:USDT"):
        db.execute(f"INSERT INTO bar ({columns}) VALUES (?, 1, 1, 1, 1, 1, 1, 200.0, 220.0, NULL)", (market,))
        words = '{"contract_size": 0.01}'
        db.execute("INSERT INTO market (key, words) VALUES (?, ?)", (market, words))
    db.execute("INSERT INTO checkpoint VALUES ('BTC', 1, x'00')")
    next(migration for migration in migrations.pending(db) if migration.name == "m0006_units").fn(db)
    rows = db.execute("SELECT market, contracts, contracts_high, contracts_low, contract_size FROM bar").fetchall()
    assert rows == [
        ("bybit BTC/USDT:USDT", 100.0, 110.0, None, 0.01),
        ("okx BTC/USDT:USDT", 200.0, 220.0, None, 0.01),
    ]
    assert db["checkpoint"].count == 0


def test_every_migration_is_in_the_list_of_names() -> None:
    empty = Utils(memory=True)
    assert [migration.name for migration in migrations.pending(empty)] == list(NAMES)
    empty.close()


async def test_an_older_databases_files_become_private(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    files = [tmp_path / name for name in ("a.sqlite", "a.sqlite.lock", "a.sqlite-wal")]
    for each in files:
        each.touch()
        each.chmod(0o664)
    db = Database(path, new=True)
    await db.open()
    await db.write(lambda inner: inner.conn.execute("INSERT INTO meta VALUES ('a', '1')"))
    assert [each.stat().st_mode & 0o777 for each in files] == [0o600] * 3
    await db.close()


async def test_another_program_cannot_write_between_the_reads_and_writes_of_a_transaction(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    db = Database(path)
    await db.open()

    def work(inner: Utils) -> None:
        assert inner["meta"].count == 0
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with closing(other), suppress(sqlite3.OperationalError):  # the database is locked
            other.execute("INSERT INTO meta VALUES ('other', '1')")
        inner.conn.execute("INSERT INTO meta VALUES ('ours', '1')")

    await db.write(work)
    assert await db.read(lambda inner: [row["key"] for row in inner["meta"].rows]) == ["ours"]
    await db.close()
