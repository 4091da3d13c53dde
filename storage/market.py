"""Bars, liquidations and checkpoints of the map."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sqlite_utils import Database

from engine.market import Bar, Liquidation, Market, Side

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
    """Store closed bars; one that is there stays as it was, so that a map stepped from it can be made again."""
    rows = [(market.key, *(getattr(bar, name) for name in _BAR_COLUMNS)) for market, bar in bars]
    marks = ", ".join("?" * (len(_BAR_COLUMNS) + 1))
    db.conn.executemany(f"INSERT OR IGNORE INTO bar (market, {', '.join(_BAR_COLUMNS)}) VALUES ({marks})", rows)


def bars_since(db: Database, market: Market, closed_after: int) -> list[Bar]:
    """Bars of a market that closed after a time, oldest first."""
    query = f"SELECT {', '.join(_BAR_COLUMNS)} FROM bar WHERE market = ? AND opened_at + step_ms > ? ORDER BY opened_at"
    return [Bar(*row) for row in db.conn.execute(query, (market.key, closed_after))]


def add_liquidations(db: Database, events: Sequence[Liquidation]) -> list[Liquidation]:
    """Store forced orders once, however often a feed repeats them; returns those that were new."""
    columns = "market, at, side, price, contracts, usd, asset"
    query = f"INSERT OR IGNORE INTO liquidation ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    new = []
    for event in events:
        values = (event.market.key, event.at, event.side, event.price, event.contracts, event.notional_usd)
        if db.conn.execute(query, (*values, event.market.asset)).rowcount:
            new.append(event)
    return new


def reported_since(db: Database, asset: str, since: int) -> list[tuple[int, Side, float]]:
    """Forced orders of an asset since then: when, whose, USD; oldest first."""
    query = "SELECT at, side, usd FROM liquidation WHERE asset = ? AND at > ? ORDER BY at"
    return list(db.conn.execute(query, (asset, since)))


def forget_before(db: Database, at: int) -> None:
    """Delete bars and forced orders that no map and no answer needs any more."""
    db.conn.execute("DELETE FROM bar WHERE opened_at < ?", (at,))
    db.conn.execute("DELETE FROM liquidation WHERE at < ?", (at,))


def save_checkpoint(db: Database, asset: str, at: int, state: dict[str, Any]) -> None:
    """Store a board's snapshot in place of the one before."""
    data = zlib.compress(json.dumps(state, default=_encode).encode(), level=1)
    db.conn.execute(
        "INSERT INTO checkpoint (asset, at, data) VALUES (?, ?, ?) "
        "ON CONFLICT (asset) DO UPDATE SET at = excluded.at, data = excluded.data",
        (asset, at, data),
    )


def load_checkpoint(db: Database, asset: str) -> dict[str, Any] | None:
    """A board's last snapshot, or None."""
    row = db.conn.execute("SELECT data FROM checkpoint WHERE asset = ?", (asset,)).fetchone()
    return json.loads(zlib.decompress(row[0]), object_hook=_decode) if row else None


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
