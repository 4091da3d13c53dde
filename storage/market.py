"""Bars, liquidations, margin tiers, track records and checkpoints of the map."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sqlite_utils import Database

from engine.errors import ImplausibleError
from engine.liquidation.margin import Tier
from engine.market import (
    DAY_MS,
    Bar,
    LargestOrder,
    Liquidation,
    LiquidationSummary,
    Market,
    ReportedLiquidation,
    Side,
    resized,
)
from storage.aside import set_aside
from storage.meta import meta_with
from storage.repository import Repository, read, write

log = logging.getLogger(__name__)

PRICED_UNTIL = "priced_until "
STALE_SINCE = "stale_since "
"""Prefixes of meta keys, with an asset behind them."""

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


def forget_before(db: Database, at: int) -> None:
    """Delete bars and liquidation orders that no map and no answer needs any more."""
    db.conn.execute("DELETE FROM bar WHERE opened_at < ?", (at,))
    db.conn.execute("DELETE FROM liquidation WHERE at < ?", (at,))


def forget_after(db: Database, at: int) -> None:
    """Delete liquidation orders dated in the future, which older versions stored: they would never expire."""
    db.conn.execute("DELETE FROM liquidation WHERE at > ?", (at,))


class MarketRepository(Repository):
    """Bars, liquidations and margin tiers."""

    @read
    def priced_until(self, db: Database) -> dict[str, int]:
        """Return until when each asset's price had been followed, UTC ms, as of the last stored tick."""
        return self._times(db, PRICED_UNTIL)

    @read
    def stale_since(self, db: Database) -> dict[str, int]:
        """Return the assets whose chats were notified of stale data, with the time of the last data, UTC ms."""
        return self._times(db, STALE_SINCE)

    def _times(self, db: Database, prefix: str) -> dict[str, int]:
        latest = self.wall.now() + DAY_MS
        # Ignore times that are not valid, or were stored by a clock over a day ahead.
        return {
            asset: int(at)
            for asset, at in meta_with(db, prefix).items()
            if at.isdecimal() and len(at) < 16 and int(at) <= latest
        }

    @write
    def add_bars(self, db: Database, bars: Iterable[tuple[Market, Bar]]) -> None:
        """Store closed bars. Existing ones stay unchanged, so that a map stepped from them can be rebuilt."""
        rows = [
            (market.key, market.contract_size, *(getattr(bar, name) for name in _BAR_COLUMNS)) for market, bar in bars
        ]
        marks = ", ".join("?" * (len(_BAR_COLUMNS) + 2))
        columns = f"market, contract_size, {', '.join(_BAR_COLUMNS)}"
        db.conn.executemany(f"INSERT OR IGNORE INTO bar ({columns}) VALUES ({marks})", rows)

    @read
    def bars_since(self, db: Database, market: Market, closed_after: int) -> list[Bar]:
        """Return bars of a market that closed after a time, oldest first, in contracts of its present size.

        An unreadable row is left out and makes a gap.
        """
        columns = ", ".join(_BAR_COLUMNS)
        query = (
            f"SELECT contract_size, {columns} FROM bar WHERE market = ? AND opened_at + step_ms > ? ORDER BY opened_at"
        )
        bars = []
        for size, *row in db.conn.execute(query, (market.key, closed_after)):
            try:
                bar = Bar(*row)
                bars.append(bar if size in (None, market.contract_size) else resized(bar, size / market.contract_size))
            except (ImplausibleError, TypeError, ValueError, ZeroDivisionError) as error:
                log.warning("skipped an unreadable bar of %s: %s", market.key, error)
        return bars

    @write
    def add_liquidations(self, db: Database, events: Sequence[Liquidation]) -> list[Liquidation]:
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

    @read
    def reported_since(self, db: Database, asset: str, since: int) -> list[ReportedLiquidation]:
        """Return reported liquidations of an asset since then, oldest first."""
        query = (
            "SELECT at, side, usd, market FROM liquidation "
            "WHERE asset = ? AND at > ? AND side IN ('long', 'short') ORDER BY at"
        )
        return [ReportedLiquidation(*row) for row in db.conn.execute(query, (asset, since))]

    @read
    def liquidations_since(self, db: Database, asset: str, since: int) -> LiquidationSummary:
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

    @read
    def liquidations_of(self, db: Database, market: Market) -> list[Liquidation]:
        """Return the single liquidation orders of a market, oldest first."""
        query = "SELECT at, side, price, contracts, number FROM liquidation WHERE market = ? ORDER BY at"
        return [Liquidation(market, *row) for row in db.conn.execute(query, (market.key,))]

    @write
    def save_markets(self, db: Database, markets: Iterable[Market]) -> None:
        """Store each market's attributes by its key."""
        rows = [(market.key, json.dumps(asdict(market))) for market in markets]
        db.conn.executemany("INSERT OR REPLACE INTO market (key, words) VALUES (?, ?)", rows)

    @read
    def markets(self, db: Database) -> list[Market]:
        """Return all markets that were ever read."""
        all_markets = []
        for key, words in db.conn.execute("SELECT key, words FROM market ORDER BY key").fetchall():
            try:
                all_markets.append(Market(**json.loads(words)))
            except (ValueError, TypeError) as error:
                set_aside(db, f"market {key[:40]}", error)
        return all_markets

    @write
    def save_tiers(self, db: Database, market: Market, tiers: Sequence[Tier], at: int) -> None:
        """Replace a market's margin tiers."""
        db.conn.execute("DELETE FROM margin_tier WHERE market = ?", (market.key,))
        columns = "market, floor, maintenance_rate, maintenance_amount, max_leverage, read_at"
        db.conn.executemany(
            f"INSERT OR REPLACE INTO margin_tier ({columns}) VALUES (?, ?, ?, ?, ?, ?)",
            [(market.key, t.floor, t.maintenance_rate, t.maintenance_amount, t.max_leverage, at) for t in tiers],
        )

    @read
    def tiers_of(self, db: Database, market: str) -> tuple[int, list[Tier]]:
        """Return when margin tiers of a market were read, UTC ms, and the tiers, lowest first; 0 and [] if never."""
        query = """SELECT read_at, floor, maintenance_rate, maintenance_amount, max_leverage
            FROM margin_tier WHERE market = ? ORDER BY floor"""
        rows = list(db.conn.execute(query, (market,)))
        tiers = [Tier(*row[1:]) for row in rows]
        if any(not (0 < tier.maintenance_rate < 1 and 1 <= tier.max_leverage <= MAX_LEVERAGE) for tier in tiers):
            set_aside(db, f"the margin tiers of {market[:40]}", "implausible; they will be read again")
            return 0, []
        return (rows[0][0] if rows else 0), tiers
