"""Highs and lows of one market's mark between polls, from one-minute candles where it is watched closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.market import MINUTE_MS, Market, Sample

MINUTES = 99
"""How many minutes a poll can reach back: one page at every venue, and the most that costs 1 at Binance."""

BREAK = 2.0
"""We ignore a minute that opens and closes further than this factor from both the minute before and the mark."""

SPIKE = 4.0
"""We cut an extreme further than this factor from its minute's open and close back to them. Comparing extremes across
venues comes later, in engine.quotes."""

MinuteRow = tuple[int, float, float, float, float]
"""Opening time, open, high, low, close."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One market's figures in one poll of its venue.

    Attributes:
        at: the venue's own time of the figures, UTC ms, or our time of the poll if it has none.
        mark: mark price, USD for one coin.
        contracts: open interest, as the venue counts contracts.
        funding_rate: fraction per 8 hours, None if unknown.
        timed: whether `at` is the venue's own time.
    """

    market: Market
    at: int
    mark: float
    contracts: float
    funding_rate: float | None = None
    timed: bool = True


class Extremes:
    """One market's extremes from poll to poll. Without candles, only polled marks count."""

    def __init__(self) -> None:
        self._polled_at = 0
        self._mark = 0.0
        self._minute_at = 0
        self._minute_high = 0.0
        self._minute_low = 0.0
        self._bar_since = 0
        self._bar_high = 0.0
        self._bar_low = 0.0

    def wanted_since(self, bar_since: int, now: int) -> int:
        """Return the first minute whose candle we need to miss nothing, at most one page back, UTC ms."""
        earliest = now // MINUTE_MS * MINUTE_MS - (MINUTES - 1) * MINUTE_MS
        wanted = min(bar_since, self._minute_at) if self._polled_at else bar_since
        return max(wanted // MINUTE_MS * MINUTE_MS, earliest)

    def take(self, reading: Reading, bar_since: int, now: int, rows: Sequence[MinuteRow] | None) -> Sample:
        """Return the sample of a reading and the minutes since the previous poll.

        Args:
            bar_since: when the last closed bar that was read closed, UTC ms.
            rows: one-minute candles from wanted_since on. None if this market is not watched closely, empty if they
                could not be read (the next poll then reads them too).
        """
        mark, since = reading.mark, self.wanted_since(bar_since, now)
        rows = rows if rows is None else _connected(rows, self._mark or mark, mark)
        first = self._polled_at == 0
        if bar_since != self._bar_since or first:
            self._bar_since, self._bar_high, self._bar_low = bar_since, mark, mark
        high = low = mark
        for at, _, row_high, row_low, _ in rows or ():
            if at >= bar_since:
                self._bar_high, self._bar_low = max(self._bar_high, row_high), min(self._bar_low, row_low)
            if first or at < self._minute_at:
                continue
            # In a minute that an earlier poll saw, only a new extreme counts.
            seen_before = at == self._minute_at
            if not seen_before or row_high > self._minute_high:
                high = max(high, row_high)
            if not seen_before or row_low < self._minute_low:
                low = min(low, row_low)
        self._bar_high, self._bar_low = max(self._bar_high, mark), min(self._bar_low, mark)
        watched_from = max(self._polled_at, since) if rows and not first else now
        if rows or rows is None or first:
            self._remember(rows, mark, now)
        self._mark = mark
        return Sample(
            market=reading.market,
            at=reading.at,
            received_at=now,
            mark=mark,
            high=high,
            low=low,
            bar_high=self._bar_high,
            bar_low=self._bar_low,
            contracts=reading.contracts,
            funding_rate=reading.funding_rate,
            watched_from=watched_from,
            timed=reading.timed,
        )

    def _remember(self, rows: Sequence[MinuteRow] | None, mark: float, now: int) -> None:
        self._polled_at = now
        at, _, high, low, _ = rows[-1] if rows else (now // MINUTE_MS * MINUTE_MS, mark, mark, mark, mark)
        self._minute_at, self._minute_high, self._minute_low = at, max(high, mark), min(low, mark)


def _connected(rows: Sequence[MinuteRow], before: float, mark: float) -> list[MinuteRow]:
    """Return the minutes that lead from one price to the other, however far, with spikes cut back."""
    kept = []
    for row in rows:
        _, opened, high, low, close = row
        if not any(1 / BREAK < end / price < BREAK for end in (opened, close) for price in (before, mark)):
            continue
        upper, lower = max(opened, close), min(opened, close)
        kept.append(
            (
                row[0],
                opened,
                high if high <= SPIKE * upper else upper,
                low if low >= lower / SPIKE else lower,
                close,
            )
        )
        before = close
    return kept
