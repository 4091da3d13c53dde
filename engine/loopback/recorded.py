"""A recorded history as a source, with each bar turned into a path through its prices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.history import History
from engine.loopback.tape import VENUE_SHARE, Forced, Minutes
from engine.market import MINUTE_MS, Bar, Side

RECORDED_VENUE = "binanceusdm"


class RecordedSource:
    """Minutes of a history. Open interest is from one venue, and other venues get theirs in typical proportions.

    Liquidations of a bar are spread over minutes that set a new extreme, one order per minute and venue.
    A gap becomes a straight line between its two prices, because the loopback exchange cannot leave out single hours.
    """

    def __init__(self, history: History, start: int | None = None) -> None:
        self._bars = [bar for bar in history.bars if start is None or bar.opened_at >= start]
        self._next = 0
        self._asset = history.market.asset
        self._interest = next(bar.contracts for bar in self._bars if bar.contracts is not None)

    @property
    def asset(self) -> str:
        return self._asset

    @property
    def start(self) -> int:
        return self._bars[0].opened_at

    @property
    def end(self) -> int | None:
        return self._bars[-1].closed_at

    def minutes(self, until: int) -> Sequence[Minutes]:
        runs = []
        while self._next < len(self._bars) and self._bars[self._next].opened_at < until:
            bar = self._bars[self._next]
            if self._next and bar.opened_at > self._bars[self._next - 1].closed_at:
                runs.append(self._still(self._bars[self._next - 1], bar))
            runs.append(self._run(bar))
            self._next += 1
        return runs

    def _run(self, bar: Bar) -> Minutes:
        count = bar.step_ms // MINUTE_MS
        prices = _path(bar, count)
        before, after = self._interest, bar.contracts or self._interest
        self._interest = after
        interest = np.linspace(before, after, count + 1)[1:] / VENUE_SHARE[RECORDED_VENUE]
        return Minutes(prices, interest, bar.funding_rate or 0.0, sorted(_forced(bar, prices), key=lambda e: e.at))

    def _still(self, left: Bar, right: Bar) -> Minutes:
        count = (right.opened_at - left.closed_at) // MINUTE_MS
        ends = np.linspace(left.close, right.open, count + 1)
        prices = np.stack([ends[:-1], np.maximum(ends[:-1], ends[1:]), np.minimum(ends[:-1], ends[1:]), ends[1:]], 1)
        return Minutes(prices, np.full(count, self._interest / VENUE_SHARE[RECORDED_VENUE]), 0.0, ())


def _path(bar: Bar, count: int) -> np.ndarray:
    """Return minutes along a bar's path, (count, 4). Turns are at the end of minutes, so extremes are exact."""
    turns = bar.path
    lengths = np.abs(np.diff(np.log(turns))) + 1e-9
    ends = np.round(np.cumsum(lengths) / lengths.sum() * count).astype(int)
    ends = np.clip(np.maximum(ends, (1, 2, 3)), 1, (count - 2, count - 1, count))
    knots = np.interp(np.arange(count + 1), [0, *ends], turns)
    left, right = knots[:-1], knots[1:]
    return np.stack([left, np.maximum(left, right), np.minimum(left, right), right], axis=1)


def _forced(bar: Bar, prices: np.ndarray) -> list[Forced]:
    events = []
    sides: tuple[tuple[Side, float | None, np.ndarray], ...] = (
        ("long", bar.long_liquidations_usd, -prices[:, 2]),
        ("short", bar.short_liquidations_usd, prices[:, 1]),
    )
    for side, usd, extreme in sides:
        if not usd:
            continue
        record = np.maximum.accumulate(extreme)
        fresh = np.flatnonzero(np.diff(record, prepend=-np.inf) > 0)[:: max(len(prices) // 20, 1)]
        for minute in fresh:
            price = float(abs(extreme[minute]))
            for number, (venue, share) in enumerate(VENUE_SHARE.items()):
                at = bar.opened_at + int(minute) * MINUTE_MS + 20_000 * number + 7_000
                events.append(Forced(at, venue, side, price, usd / len(fresh) * share / price))
    return events
