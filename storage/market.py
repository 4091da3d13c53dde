"""Bars, liquidations, margin tiers, track records and checkpoints of the map."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlite_utils import Database

from engine.errors import ImplausibleError
from engine.liquidation.margin import Tier
from engine.market import Bar, LargestOrder, Liquidation, LiquidationSummary, Market, ReportedLiquidation, Side, resized
from storage.aside import set_aside

log = logging.getLogger(__name__)

MAX_LEVERAGE = 1000.0

_BAR_COLUMNS = (
    "opened_at",
    "step_ms",
    "open",
    "high",
    "low",
    "close",
    "contracts",
    "contracts_high",
    "contracts_low",
    "funding_rate",
    "long_liquidations_usd",
    "short_liquidations_usd",
)


def add_bars(db: Database, bars: Iterable[tuple[Market, Bar]]) -> None:
    """Store closed bars. Existing ones stay unchanged, so that a map stepped from them can be rebuilt."""
    rows = [(market.key, market.contract_size, *(getattr(bar, name) for name in _BAR_COLUMNS)) for market, bar in bars]
    marks = ", ".join("?" * (len(_BAR_COLUMNS) + 2))
    columns = f"market, contract_size, {', '.join(_BAR_COLUMNS)}"
    db.conn.executemany(f"INSERT OR IGNORE INTO bar ({columns}) VALUES ({marks})", rows)


def save_markets(db: Database, markets: Iterable[Market]) -> None:
    """Store each market's attributes by its key."""
    rows = [(market.key, json.dumps(asdict(market))) for market in markets]
    db.conn.executemany("INSERT OR REPLACE INTO market (key, words) VALUES (?, ?)", rows)


def markets(db: Database) -> list[Market]:
    """Return all markets that were ever read."""
    all_markets = []
    for key, words in db.conn.execute("SELECT key, words FROM market ORDER BY key").fetchall():
        try:
            all_markets.append(Market(**json.loads(words)))
        except (ValueError, TypeError) as error:
            set_aside(db, f"market {key[:40]}", error)
    return all_markets


def bars_since(db: Database, market: Market, closed_after: int) -> list[Bar]:
    """Return bars of a market that closed after a time, oldest first, in contracts of its present size.

    An unreadable row is left out and makes a gap.
    """
    columns = ", ".join(_BAR_COLUMNS)
    query = f"SELECT contract_size, {columns} FROM bar WHERE market = ? AND opened_at + step_ms > ? ORDER BY opened_at"
    bars = []
    for size, *row in db.conn.execute(query, (market.key, closed_after)):
        try:
            bar = Bar(*row)
            bars.append(bar if size in (None, market.contract_size) else resized(bar, size / market.contract_size))
        except (ImplausibleError, TypeError, ValueError, ZeroDivisionError) as error:
            log.warning("skipped an unreadable bar of %s: %s", market.key, error)
    return bars


def add_liquidations(db: Database, events: Sequence[Liquidation]) -> list[Liquidation]:
    """Store liquidation orders once, however often a feed repeats them. Return the new ones.

    One that cannot be stored is skipped without affecting the others.
    """
    columns = "market, at, side, price, contracts, number, usd, asset"
    query = f"INSERT OR IGNORE INTO liquidation ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    new = []
    for event in events:
        values = (event.market.key, event.at, event.side, event.price, event.contracts, event.number)
        try:
            added = db.conn.execute(query, (*values, event.notional_usd, event.market.asset)).rowcount
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, OverflowError) as error:
            log.warning("a liquidation order of %s cannot be stored: %s", event.market.key, error)
            continue
        if added:
            new.append(event)
    return new


def reported_since(db: Database, asset: str, since: int) -> list[ReportedLiquidation]:
    """Return reported liquidations of an asset since then, oldest first."""
    query = (
        "SELECT at, side, usd, market FROM liquidation "
        "WHERE asset = ? AND at > ? AND side IN ('long', 'short') ORDER BY at"
    )
    return [ReportedLiquidation(*row) for row in db.conn.execute(query, (asset, since))]


def liquidations_since(db: Database, asset: str, since: int) -> LiquidationSummary:
    """Return the totals of an asset's reported liquidations since then."""
    where = "FROM liquidation WHERE asset = ? AND at > ? AND side IN ('long', 'short')"
    sums = db.conn.execute(f"SELECT market, side, SUM(usd), COUNT(*) {where} GROUP BY market, side", (asset, since))
    by_venue: dict[str, dict[Side, float]] = {}
    count = 0
    for market, side, usd, orders in sums:
        venue = by_venue.setdefault(market.split(" ")[0], {"long": 0.0, "short": 0.0})
        venue[side] += usd
        count += orders
    largest = db.conn.execute(
        f"SELECT at, side, usd, price, market {where} ORDER BY usd DESC, at LIMIT 1", (asset, since)
    ).fetchone()
    first = db.conn.execute("SELECT MIN(at) FROM liquidation WHERE asset = ?", (asset,)).fetchone()[0]
    if largest is not None:
        at, side, usd, price, market = largest
        largest = LargestOrder(at, side, usd, price, market.split(" ")[0])
    return LiquidationSummary(by_venue, count, first, largest)


def liquidations_of(db: Database, market: Market) -> list[Liquidation]:
    """Return the single liquidation orders of a market, oldest first."""
    query = "SELECT at, side, price, contracts, number FROM liquidation WHERE market = ? ORDER BY at"
    return [Liquidation(market, *row) for row in db.conn.execute(query, (market.key,))]


def save_tiers(db: Database, market: Market, tiers: Sequence[Tier], at: int) -> None:
    """Replace a market's margin tiers."""
    db.conn.execute("DELETE FROM margin_tier WHERE market = ?", (market.key,))
    columns = "market, floor, maintenance_rate, maintenance_amount, max_leverage, read_at"
    db.conn.executemany(
        f"INSERT OR REPLACE INTO margin_tier ({columns}) VALUES (?, ?, ?, ?, ?, ?)",
        [(market.key, t.floor, t.maintenance_rate, t.maintenance_amount, t.max_leverage, at) for t in tiers],
    )


def tiers_of(db: Database, market: str) -> tuple[int, list[Tier]]:
    """Return when margin tiers of a market were read, UTC ms, and the tiers, lowest first; 0 and [] if never."""
    query = """SELECT read_at, floor, maintenance_rate, maintenance_amount, max_leverage
        FROM margin_tier WHERE market = ? ORDER BY floor"""
    rows = list(db.conn.execute(query, (market,)))
    tiers = [Tier(*row[1:]) for row in rows]
    if any(not (0 < tier.maintenance_rate < 1 and 1 <= tier.max_leverage <= MAX_LEVERAGE) for tier in tiers):
        set_aside(db, f"the margin tiers of {market[:40]}", "implausible; they will be read again")
        return 0, []
    return (rows[0][0] if rows else 0), tiers


def forget_before(db: Database, at: int) -> None:
    """Delete bars and liquidation orders that no map and no answer needs any more."""
    db.conn.execute("DELETE FROM bar WHERE opened_at < ?", (at,))
    db.conn.execute("DELETE FROM liquidation WHERE at < ?", (at,))


def forget_after(db: Database, at: int) -> None:
    """Delete liquidation orders dated in the future, which older versions stored: they would never expire."""
    db.conn.execute("DELETE FROM liquidation WHERE at > ?", (at,))


def save_checkpoint(db: Database, asset: str, at: int, state: dict[str, Any]) -> None:
    """Store a board's snapshot, replacing the previous one."""
    data = zlib.compress(json.dumps(state, default=_encode).encode(), level=1)
    db.conn.execute(
        "INSERT INTO checkpoint (asset, at, data) VALUES (?, ?, ?) "
        "ON CONFLICT (asset) DO UPDATE SET at = excluded.at, data = excluded.data",
        (asset, at, data),
    )


def load_checkpoint(db: Database, asset: str) -> dict[str, Any] | None:
    """Return a board's last snapshot; None if there is none or it is unreadable: history is then read again."""
    row = db.conn.execute("SELECT data FROM checkpoint WHERE asset = ?", (asset,)).fetchone()
    if row is None:
        return None
    try:
        state = json.loads(zlib.decompress(row[0]), object_hook=_decode)
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        set_aside(db, f"the map of {asset[:20]}", f"{error}; its history will be read again")
        return None
    return state if isinstance(state, dict) else None


def forget_checkpoint(db: Database, asset: str) -> None:
    """Delete a board's snapshot."""
    db.conn.execute("DELETE FROM checkpoint WHERE asset = ?", (asset,))


def save_track_record(db: Database, asset: str, day: str, figures: dict[str, Any]) -> None:
    """Store the track record of an asset's map as of a day."""
    query = "INSERT OR REPLACE INTO track_record (asset, day, figures) VALUES (?, ?, ?)"
    db.conn.execute(query, (asset, day, json.dumps(figures)))


def track_records(db: Database, asset: str) -> list[dict[str, Any]]:
    """Return an asset's track records, one a day, oldest first."""
    rows = db.conn.execute("SELECT figures FROM track_record WHERE asset = ? ORDER BY day", (asset,))
    records = []
    for (figures,) in rows.fetchall():
        try:
            records.append(dict(json.loads(figures)))
        except (ValueError, TypeError) as error:
            set_aside(db, f"a track record of {asset[:20]}", error)
    return records


def _encode(value: object) -> Any:
    if isinstance(value, np.ndarray):
        packed = np.ascontiguousarray(value)
        data = base64.b64encode(packed.tobytes()).decode()
        return {"__array__": data, "dtype": packed.dtype.str, "shape": list(packed.shape)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot go into a checkpoint")


def _decode(row: dict[str, Any]) -> Any:
    if "__array__" not in row:
        return row
    data = np.frombuffer(base64.b64decode(row["__array__"]), dtype=np.dtype(row["dtype"]))
    return data.reshape(row["shape"]).copy()
