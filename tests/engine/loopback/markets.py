"""A small synthetic market for tests, fast and deterministic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.loopback.server import LoopbackExchange
from engine.loopback.tape import OTHER_SHARE, VENUE_SHARE, Forced, Minutes, Tape
from engine.market import DAY_MS, MINUTE_MS
from engine.ports import Clock

START = 1_765_000_000_000 // DAY_MS * DAY_MS


INTEREST = 80_000.0
"""Average open interest of the three venues in recordings, in coins."""

SHARES = {**VENUE_SHARE, **OTHER_SHARE}


class WavySource:
    """A price that oscillates around a level, with the liquidation orders that a test adds."""

    end = None

    def __init__(
        self, level: float = 90_000.0, start: int = START, asset: str = "BTC", interest: float = INTEREST
    ) -> None:
        self.start, self.asset, self._open = start, asset, interest
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
        interest = self._open * (1 + 0.05 * np.sin(knots[1:] / 311.0))
        self._made += count
        orders, self.orders = self.orders, []
        return [Minutes(rows, interest, 1e-4, orders)]


def burst(at: int, count: int, venue: str) -> list[Forced]:
    """Return liquidation orders at one venue within a second, each with its own size."""
    step = 1000 / count
    return [
        Forced(at + int(i * step), venue, "long" if i % 2 else "short", 90_000.0 + i, 0.1 + i) for i in range(count)
    ]


async def exchange(clock: Clock, *sources: WavySource, inverse: bool = False) -> LoopbackExchange:
    """Start a loopback exchange and return it."""
    made = LoopbackExchange({s.asset: Tape(s) for s in sources or (WavySource(),)}, clock, inverse=inverse)
    await made.start()
    return made


def cheap() -> WavySource:
    """Return a coin worth a thousandth of a cent, which several venues quote per thousand."""
    return WavySource(1.2e-5, asset="PEPE", interest=5e12)


__all__ = ["INTEREST", "SHARES", "START", "WavySource", "burst", "cheap", "exchange"]
