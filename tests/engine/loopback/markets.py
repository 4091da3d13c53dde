"""A small made-up market for tests: quick to make, and always the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.loopback.server import LoopbackExchange
from engine.loopback.tape import VENUE_SHARE, Forced, Minutes, Tape
from engine.market import DAY_MS, MINUTE_MS
from engine.ports import Clock

START = 1_765_000_000_000 // DAY_MS * DAY_MS


class WavySource:
    """A price that swings round a level, with forced orders whenever it is told to have some."""

    asset = "BTC"
    end = None

    def __init__(self, level: float = 90_000.0, start: int = START) -> None:
        self.start = start
        self.orders: list[Forced] = []
        self._level = level
        self._made = 0

    def minutes(self, until: int) -> Sequence[Minutes]:
        count = (until - self.start) // MINUTE_MS + 1 - self._made
        if count <= 0:
            return []
        knots = np.arange(self._made, self._made + count + 1)
        logs = 0.01 * np.sin(knots / 173.0) + 0.004 * np.sin(knots / 17.0)
        prices = self._level * np.exp(logs)
        left, right = prices[:-1], prices[1:]
        rows = np.stack([left, np.maximum(left, right), np.minimum(left, right), right], axis=1)
        interest = 80_000.0 * (1 + 0.05 * np.sin(knots[1:] / 311.0))
        self._made += count
        orders, self.orders = self.orders, []
        return [Minutes(rows, interest, 1e-4, orders)]


def burst(at: int, count: int, venue: str) -> list[Forced]:
    """Many forced orders at one venue within a second, each of its own size."""
    step = 1000 / count
    return [
        Forced(at + int(i * step), venue, "long" if i % 2 else "short", 90_000.0 + i, 0.1 + i) for i in range(count)
    ]


async def exchange(clock: Clock, source: WavySource | None = None) -> LoopbackExchange:
    """A running loopback exchange."""
    made = LoopbackExchange({"BTC": Tape(source or WavySource())}, clock)
    await made.start()
    return made


__all__ = ["START", "VENUE_SHARE", "WavySource", "burst", "exchange"]
