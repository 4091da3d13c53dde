"""A market minute by minute: prices, open interest, forced orders. What every format is served from."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.market import MINUTE_MS, Side

VENUE_SHARE = {"binanceusdm": 0.615, "bybit": 0.184, "okx": 0.201}
"""How the market's open interest is split over the three venues that recordings and traders know."""

OTHER_SHARE = {
    "binancecoinm": 0.05,
    "bitget": 0.22,
    "gate": 0.18,
    "hyperliquid": 0.15,
    "deribit": 0.04,
    "krakenfutures": 0.02,
    "kucoinfutures": 0.05,
    "htx": 0.08,
}
"""What the other venues hold beside it, as shares of the same amount."""


def _share(venue: str) -> float:
    return VENUE_SHARE.get(venue) or OTHER_SHARE[venue]


@dataclass(frozen=True, slots=True)
class Forced:
    """One forced order: when, where, whose, at what price, how much (base units)."""

    at: int
    venue: str
    side: Side
    price: float
    amount_base: float


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices of one step; partial while it runs."""

    at: int
    open: float
    high: float
    low: float
    close: float


class Source(Protocol):
    """Makes minutes: a recorded history or traders."""

    @property
    def asset(self) -> str: ...

    @property
    def start(self) -> int:
        """First minute, UTC ms."""
        ...

    @property
    def end(self) -> int | None:
        """Where the market ends, None if it goes on."""
        ...

    def minutes(self, until: int) -> Sequence[Minutes]:
        """Minutes that have not been handed out yet, up to `until` or a little beyond."""
        ...


@dataclass(frozen=True, slots=True)
class Minutes:
    """A run of minutes.

    Attributes:
        prices: (n, 4) float64, open, high, low, close, USD.
        interest_base: (n,) float64, open interest of all venues at each minute's end, base units.
        funding_rate: fraction per 8 hours throughout.
        forced: forced orders within, in order of time.
    """

    prices: np.ndarray
    interest_base: np.ndarray
    funding_rate: float
    forced: Sequence[Forced]


class Tape:
    """Minutes as they have come out of a source, and what they look like at any moment until now."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._prices = np.zeros((0, 4))
        self._interest = np.zeros(0)
        self._funding = np.zeros(0)
        self._forced: list[Forced] = []

    @property
    def asset(self) -> str:
        return self._source.asset

    @property
    def start(self) -> int:
        return self._source.start

    @property
    def end(self) -> int | None:
        return self._source.end

    def candles(self, step_ms: int, since: int, until: int, now: int) -> list[Candle]:
        """Candles that opened in since..until (both included), the running one as far as it has come."""
        now = self._reach(now)
        first = -(-max(since, self.start) // step_ms) * step_ms
        return [c for at in range(first, min(until, now) + 1, step_ms) if (c := self._candle(at, step_ms, now))]

    def mark(self, now: int) -> float:
        """The price now."""
        now = self._reach(now)
        index = self._index(now)
        return self._partial(index, (now - self.start - index * MINUTE_MS) / MINUTE_MS)[3]

    def interest_base(self, venue: str, at: int) -> float:
        """Open interest of a venue at a moment, base units."""
        at = self._reach(at)
        position = (at - self.start) / MINUTE_MS - 1
        return float(np.interp(position, np.arange(len(self._interest)), self._interest)) * _share(venue)

    def funding_rate(self, now: int) -> float:
        """Fraction per 8 hours."""
        index = self._index(self._reach(now))
        return float(self._funding[index])

    def forced(self, venue: str, since: int, until: int) -> Iterator[Forced]:
        """Forced orders of a venue in since < at <= until."""
        self._reach(until)
        start = bisect.bisect_right(self._forced, since, key=lambda event: event.at)
        stop = bisect.bisect_right(self._forced, until, key=lambda event: event.at)
        return (event for event in self._forced[start:stop] if event.venue == venue)

    def _reach(self, now: int) -> int:
        """Have the source make everything up to a moment; the moment, or the market's last one."""
        if self.end is not None:
            now = min(now, self.end - 1)
        if (now - self.start) // MINUTE_MS >= len(self._prices):
            runs = self._source.minutes(now + 1)
            self._prices = np.concatenate([self._prices, *(run.prices for run in runs)])
            self._interest = np.concatenate([self._interest, *(run.interest_base for run in runs)])
            funding = (np.full(len(run.prices), run.funding_rate) for run in runs)
            self._funding = np.concatenate([self._funding, *funding])
            for run in runs:
                self._forced += run.forced
        return now

    def _index(self, now: int) -> int:
        return min(max((now - self.start) // MINUTE_MS, 0), len(self._prices) - 1)

    def _candle(self, at: int, step_ms: int, now: int) -> Candle | None:
        first, last = (at - self.start) // MINUTE_MS, (min(at + step_ms, now + 1) - 1 - self.start) // MINUTE_MS
        if last < first or first >= len(self._prices):
            return None
        rows = self._prices[first : last + 1]
        if at + step_ms > now:
            part = self._partial(last, (now - self.start - last * MINUTE_MS) / MINUTE_MS)
            rows = np.vstack([rows[:-1], part])
        return Candle(at, float(rows[0, 0]), float(rows[:, 1].max()), float(rows[:, 2].min()), float(rows[-1, 3]))

    def _partial(self, index: int, share: float) -> tuple[float, float, float, float]:
        """A running minute: open, high, low and price after that share of it, along its path in three equal parts."""
        start, high, low, close = (float(value) for value in self._prices[index])
        turns = (start, low, high, close) if close >= start else (start, high, low, close)
        position = min(max(share, 0.0), 1.0) * 3
        seen = [turns[i] for i in range(4) if i <= position]
        part = int(position)
        price = turns[3] if part >= 3 else turns[part] + (turns[part + 1] - turns[part]) * (position - part)
        return start, max(*seen, price), min(*seen, price), price
