"""Highs and lows of one market's mark between polls, from one-minute candles where it is watched closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.market import MINUTE_MS, Market, Sample

MINUTES = 99
"""One page on every venue, and on Binance the most that costs one: how far back a look can reach."""

BREAK = 2.0
"""A minute that begins and ends further than this factor from the one before, and from the mark, is not believed."""

SPIKE = 4.0
"""Nor is an extreme further than this factor from where its minute began and where it ended. Whether others saw it is
looked at where theirs are."""

MinuteRow = tuple[int, float, float, float, float]
"""Opening time, open, high, low, close."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a venue showed of one market.

    Attributes:
        at: the venue's own time of the figures; the time received where it has none (timed says which).
        mark: mark price, USD for one coin.
        contracts: open interest, as the venue counts contracts.
        funding_rate: fraction per 8 hours, None where unknown.
    """

    market: Market
    at: int
    mark: float
    contracts: float
    funding_rate: float | None = None
    timed: bool = True


class Extremes:
    """Follows one market from look to look. Without candles, only marks that were seen count."""

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
        """From which minute on candles are needed to miss nothing, no further back than one page."""
        earliest = now // MINUTE_MS * MINUTE_MS - (MINUTES - 1) * MINUTE_MS
        wanted = min(bar_since, self._minute_at) if self._polled_at else bar_since
        return max(wanted // MINUTE_MS * MINUTE_MS, earliest)

    def take(self, reading: Reading, bar_since: int, now: int, rows: Sequence[MinuteRow] | None) -> Sample:
        """The sample that a reading makes together with the minutes since the look before.

        Args:
            bar_since: when the last closed bar that was read closed.
            rows: one-minute candles from wanted_since on; None where this market is not watched closely, empty where
                they could not be read: what they would have shown is then looked for next time.
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
            # Of a minute that was seen before, only what is new in it.
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
    """The minutes that lead from one price to the other, however far that is; those beside the way are left out."""
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
