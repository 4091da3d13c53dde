"""Damage to each column of each table in turn: the program starts, and the other chat still gets its alerts."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.alerts.rules import Rule
from engine.alerts.state import RuleState
from engine.board import AssetBoard
from engine.clock import ManualClock
from engine.liquidation.margin import Tier
from engine.market import DAY_MS, HOUR_MS, Bar, Liquidation, Market
from engine.messages import AlertRecord, TickRecord
from engine.pipeline import AlertPipeline
from engine.preferences import Preferences
from handlers.context import Services
from handlers.delivery.rendering import answer_of
from handlers.startup import load_board
from storage.store import Store
from tests.handlers.kit import filled_board

NOW = 1_764_000_000_000 // HOUR_MS * HOUR_MS
MARKET = Market("binanceusdm", "BTC/USDT:USDT", "BTC")
TEXTS = ("", "{", '{"new": 1}', "localtime", "99:99-7", "[]", "🂡" * 40)
NUMBERS: tuple[int | float, ...] = (-1, 0, 2**62, -(2**62))
REALS = (-1.0, 0.0, 1e300)
TABLES = (
    *("meta", "bar", "liquidation", "checkpoint", "chat", "operator", "rule", "rule_state", "mute", "event", "alert"),
    *("message", "track_record", "market", "margin_tier", "change"),
)


def alert(chat_id: int, key: str, rule_id: int | None = None) -> AlertRecord:
    facts = {"kind": "price", "asset": "BTC", "price": 1.0, "mark": 90_000.0, "level": 95_000.0, "cluster": {"id": key}}
    return AlertRecord(key, "swept", "BTC", chat_id, rule_id, NOW, facts)


async def filled(path: Path) -> tuple[int, int]:
    """Fill a database with a row or more in each table. Return the ids of its two chats."""
    clock = ManualClock(NOW)
    store = Store(path, clock)
    await store.open()
    one = await store.chats.upsert("telegram", "1", "private", "one")
    two = await store.chats.upsert("telegram", "2", "private", "two")
    for chat in (one, two):
        await store.chats.save_preferences(chat.id, replace(Preferences(), timezone="Europe/Berlin"))
        await store.chats.approve(chat.id, approved=True)
        rules = [Rule(0, chat.id, "near", "BTC"), Rule(0, chat.id, "price", "BTC", level=95_000.0)]
        for rule in rules:
            await store.rules.replace(chat.id, [rule], [])
        await store.rules.mute(chat.id, "ETH", NOW + HOUR_MS)
        await store.chats.log_change(chat.id, "9", "/threshold normal")
    await store.chats.save_preferences(one.id, replace(Preferences(), timezone="Europe/Berlin", quiet=(1380, 420)))
    rules_of = {chat.id: (await store.rules.of_chat(chat.id))[0].id for chat in (one, two)}
    await store.commit(
        TickRecord(
            NOW,
            priced={"BTC": NOW},
            stale={"ETH": NOW},
            states={(rules_of[chat.id], "c"): RuleState(False, NOW, True) for chat in (one, two)},
            alerts=[alert(one.id, "k1", rules_of[one.id]), alert(two.id, "k2", rules_of[two.id])],
        )
    )
    await store.operators.add("telegram", "2")
    bars = [(MARKET, Bar(NOW - n * HOUR_MS, HOUR_MS, 1.0, 1.0, 1.0, 1.0, 5.0)) for n in range(1, 4)]
    await store.market.add_bars(bars)
    await store.market.add_liquidations([Liquidation(MARKET, NOW - 5, "long", 1.0, 1.0)])
    await store.market.save_markets([MARKET])
    await store.market.save_tiers(MARKET, [Tier(0.0, 0.004, 0.0, 125.0)], NOW)
    await store.checkpoints.save({"BTC": (NOW, filled_board().snapshot())})
    await store.track_records.save("BTC", "2026-01-01", {"d2": 0.5})
    await store.close()
    return one.id, two.id


def columns(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield table, column and bad value, for each column and each bad value of its type."""
    conn = sqlite3.connect(path)
    for table in TABLES:
        for _, name, kind, *_rest in conn.execute(f"PRAGMA table_info({table})").fetchall():
            values: tuple[Any, ...] = {"TEXT": TEXTS, "INTEGER": NUMBERS, "REAL": REALS, "BLOB": (b"", b"x")}[kind]
            for value in values:
                yield table, name, value
    conn.close()


def damage(path: Path, table: str, column: str, value: Any, chat_id: int) -> bool:
    """Damage a row of the first chat, or the first row if the table has no chat. Return False if SQLite refuses."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA ignore_check_constraints = ON")
    names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
    keys = [row[1] for row in conn.execute(f"PRAGMA table_info({table})") if row[5]]
    where = "1"
    given: tuple[int, ...] = ()
    if table == "chat":
        where, given = "id = ?", (chat_id,)
    elif "chat_id" in names:
        where, given = "chat_id = ?", (chat_id,)
    elif table == "rule_state":
        where, given = "rule_id IN (SELECT id FROM rule WHERE chat_id = ?)", (chat_id,)
    try:
        row = conn.execute(f"SELECT {', '.join(keys)} FROM {table} WHERE {where} LIMIT 1", given).fetchone()
        assert row is not None, table
        of = " AND ".join(f"{key} = ?" for key in keys)
        conn.execute(f"UPDATE {table} SET {column} = ? WHERE {of}", (value, *row))
    except sqlite3.IntegrityError:
        return False
    finally:
        conn.close()
    return True


async def started(path: Path, other: int, board: AssetBoard | None = None) -> None:
    """Start on a database as the program does, and check that the other chat gets a new alert."""
    clock = ManualClock(NOW + 60_000)
    store = Store(path, clock)
    await store.open()
    try:
        book = await store.rules.load()
        board = board or await load_board(store, "BTC", ["binanceusdm", "bybit", "okx"], clock)
        pipeline = AlertPipeline({"BTC": board}, book, store)
        pipeline.downtime.begin(await store.market.priced_until(), await store.market.stale_since())
        services = Services(pipeline, store, clock)
        for market in await store.market.markets():
            await store.market.tiers_of(market.key)
        await store.market.bars_since(MARKET, 0)
        await store.market.reported_since("BTC", 0)
        await store.market.liquidations_since("BTC", 0)
        await store.track_records.all("BTC")
        everybody = await store.chats.all()
        assert other in {chat.id for chat in everybody}
        for chat in everybody:
            await store.alerts.recent(chat.id, 5)
            await store.chats.changes(chat.id, 5)
            await store.chats.export(chat.id)
        await store.operators.all()
        await store.commit(TickRecord(NOW + 60_000, alerts=[alert(chat.id, f"new {chat.id}") for chat in everybody]))
        rendered = answer_of(services, clock)
        keys = set()
        while (message := await store.outbox.claim("telegram", 10**7, ())) is not None:
            if message.chat_id == other and message.body.get("cluster"):
                keys.add(message.body["cluster"]["id"])
            if message.chat_id == other and "rule" in message.body:
                rendered(message)
            await store.outbox.mark_sent(message.id, "1")
        assert f"new {other}" in keys
        await store.outbox.counts()
        await store.outbox.dead_letters(5)
        await store.outbox.oldest_due()
        await store.checkpoints.tidy(NOW + 100 * DAY_MS)
    finally:
        await store.close()


async def test_a_damaged_row_affects_only_its_own_chat(tmp_path: Path) -> None:
    whole = tmp_path / "whole.sqlite"
    one, two = await filled(whole)
    await started(_copy(whole, tmp_path / "fine.sqlite"), two)
    tried, wrong, board = 0, [], filled_board()
    for table, column, value in columns(whole):
        path = _copy(whole, tmp_path / "damaged.sqlite")
        if not damage(path, table, column, value, one):
            continue
        tried += 1
        try:
            await started(path, two, None if table == "checkpoint" else board)
        except Exception as error:  # noqa: BLE001  # all are listed
            wrong.append(f"{table}.{column} = {str(value)[:20]!r}: {type(error).__name__}: {str(error)[:80]}")
    assert tried > 200
    assert not wrong, "\n".join(wrong)


def _copy(source: Path, target: Path) -> Path:
    for path in (target, *(target.with_name(target.name + end) for end in ("-wal", "-shm", ".lock"))):
        path.unlink(missing_ok=True)
    shutil.copy(source, target)
    return target


@pytest.mark.parametrize("zone", ["localtime", "Factory", "Mars/Olympus", ""])
async def test_a_time_zone_that_cannot_load_is_reported_and_becomes_utc(tmp_path: Path, zone: str) -> None:
    path = tmp_path / "a.sqlite"
    one, _ = await filled(path)
    damage(path, "chat", "timezone", zone, one)
    store = Store(path, ManualClock(NOW))
    await store.open()
    chat = await store.chats.get(one)
    assert chat is not None
    assert chat.preferences.timezone == "UTC"
    assert f"chat #{one}: its time zone" in store.set_aside
    await store.close()
