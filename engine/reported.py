"""Liquidations of one asset as feeds reported them, over the last two days."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from itertools import takewhile
from typing import Any

from engine.calibration.hours import HourBuilder
from engine.market import DAY_MS, HOUR_MS, Bar, ReportedLiquidation, Side, venue_of

KEEP_MS = 2 * DAY_MS


class ReportedLiquidations:
    """Reported liquidations, by time, and how complete each market's feed is.

    Attributes:
        has_feed: whether any feed of the asset has ever reported.
        listening: UTC ms by market key, since when a feed has been complete; absent where there is none.
    """

    def __init__(self) -> None:
        self.has_feed = False
        self.listening: dict[str, int] = {}
        self._rows: deque[ReportedLiquidation] = deque()
        self._since: dict[str, int] = {}
        self._summed_until: dict[str, int] = {}
        """UTC ms by market key, until when bars with totals replace single orders."""

    # -- questions

    def usd(self, side: Side, since: int, venues: Collection[str] | None = None) -> float:
        """Return USD of one side since then, of these venues or all."""
        return sum(
            usd
            for at, row_side, usd, key in self._rows
            if row_side == side and at > since and (venues is None or venue_of(key) in venues)
        )

    def usd_within_hour(self, side: Side, at: int, venues: Collection[str]) -> float:
        """Return USD of one side within the hour that began then, of these venues."""
        recent = takewhile(lambda row: row.at > at - HOUR_MS, reversed(self._rows))
        return sum(
            usd
            for when, row_side, usd, key in recent
            if row_side == side and at < when <= at + HOUR_MS and venue_of(key) in venues
        )

    def by_venue(self, since: int) -> dict[str, dict[Side, float]]:
        """Return USD since then, by venue and side."""
        sums: dict[str, dict[Side, float]] = {}
        for at, side, usd, key in self._rows:
            if at > since:
                sums.setdefault(venue_of(key), {"long": 0.0, "short": 0.0})[side] += usd
        return sums

    def orders(self, since: int) -> list[tuple[int, Side, float]]:
        """Return the orders since then: time, side, USD."""
        return [(at, side, usd) for at, side, usd, _ in self._rows if at > since]

    def known_since(self) -> dict[str, int]:
        """Return since when each venue's liquidations have been counted, UTC ms, the latest of its markets."""
        by_venue: dict[str, int] = {}
        for key, since in (self._since | self.listening).items():
            by_venue[venue_of(key)] = max(by_venue.get(venue_of(key), 0), since)
        return by_venue

    def complete(self, at: int, venues: Collection[str], excluded: Collection[str], hours: HourBuilder) -> bool:
        """Return whether every feed that counts was up for the hour that began then, or its bars carry totals.

        Args:
            venues: those that count.
            excluded: market keys that do not.
        """
        listening = [key for key in self.listening if venue_of(key) in venues and key not in excluded]
        summed = [key for key in self._summed_until if venue_of(key) in venues]
        if not listening and not summed:
            return False
        return all(self.listening[key] <= at for key in listening) and hours.summed(summed)

    # -- changes

    def set_listening(self, listening: Mapping[str, int]) -> None:
        """Replace since when each market's feed has been complete."""
        self.listening = dict(listening)
        self.has_feed = self.has_feed or bool(listening)

    def add(self, row: ReportedLiquidation) -> None:
        """Add a reported liquidation, unless a bar's total contains it already."""
        if row.at <= self._summed_until.get(row.market_key, 0):
            return
        self.has_feed = True
        self._since.setdefault(row.market_key, row.at)
        self._rows.append(row)

    def add_bar(self, key: str, bar: Bar) -> None:
        """Replace a market's single orders by a bar's totals, where the bar carries them."""
        totals: tuple[tuple[Side, float | None], ...] = (
            ("long", bar.long_liquidations_usd),
            ("short", bar.short_liquidations_usd),
        )
        if all(usd is None for _, usd in totals):
            return
        self._rows = deque(
            row for row in self._rows if row.market_key != key or not bar.opened_at < row.at <= bar.closed_at
        )
        for side, usd in totals:
            if usd is not None:
                self.add(ReportedLiquidation(bar.closed_at, side, usd, key))
        self._summed_until[key] = bar.closed_at

    def prune(self, now: int) -> None:
        """Drop what is older than two days."""
        while self._rows and self._rows[0].at < now - KEEP_MS:
            self._rows.popleft()

    def restore_orders(self, rows: Iterable[ReportedLiquidation]) -> None:
        """Replace single orders by those stored before a restart; totals of bars stay."""
        orders = [row for row in sorted(rows) if row.at > self._summed_until.get(row.market_key, 0)]
        if not orders:
            return
        totals = [row for row in self._rows if row.at <= self._summed_until.get(row.market_key, -1)]
        self._rows, self.has_feed = deque(sorted(totals + orders)), True
        for row in orders:
            self._since.setdefault(row.market_key, row.at)

    # -- checkpoint

    def snapshot(self) -> dict[str, Any]:
        return {
            "reported": [list(row) for row in self._rows],
            "has_feed": self.has_feed,
            "reported_since": dict(self._since),
            "summed_until": dict(self._summed_until),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> ReportedLiquidations:
        """Return what snapshot() described. Checkpoints of the first version did not name the market."""
        reported = cls()
        reported._rows = deque(
            ReportedLiquidation(int(row[0]), row[1], row[2], row[3] if len(row) > 3 else "")
            for row in state["reported"]
        )
        reported.has_feed = state["has_feed"]
        reported._since = dict(state.get("reported_since", {}))
        reported._summed_until = dict(state.get("summed_until", {}))
        return reported
