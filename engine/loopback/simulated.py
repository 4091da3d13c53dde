"""A simulated market as a source: a random price near 90,000 and a crowd of leveraged traders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.loopback.tape import Forced, Minutes
from engine.loopback.traders import VENUES, Crowd, Traders
from engine.market import DAY_MS, MINUTE_MS

STEP_MINUTES = 5
SUBSTEPS = 4
"""Price moves four times a minute."""

DAILY_VOLATILITY = 0.02
INTEREST_BASE = 90_000.0
WARM_UP_STEPS = 1000
"""Steps before the first minute, in which traders open positions around a constant price."""


class SimulatedSource:
    """Minutes of a simulated market. The same arguments give the same market, bit for bit.

    Args:
        now: start of the demo, UTC ms. The market begins `days` earlier and has reached `price` by then.
    """

    def __init__(self, seed: int, now: int, days: int, price: float = 90_400.0, asset: str = "BTC") -> None:
        self._seed, self._asset = seed, asset
        self._start = (now - days * DAY_MS) // MINUTE_MS // STEP_MINUTES * MINUTE_MS * STEP_MINUTES
        self._minute = 0
        self._days: dict[int, np.ndarray] = {}
        self._volatility = 0.0
        self._rng = np.random.default_rng([seed, 1])
        minutes_before = (now - self._start) // MINUTE_MS
        # Prices are generated in logs; the level makes the price equal `price` when the demo begins.
        self._level = math.log(price) - self._log_close(minutes_before - 1)
        self._traders = Traders(np.random.default_rng([seed, 2]), INTEREST_BASE)
        first = math.exp(self._level)
        for _ in range(WARM_UP_STEPS):
            wiggle = first * math.exp(0.01 * self._rng.standard_normal())
            self._traders.step(wiggle, wiggle * 1.001, wiggle * 0.999, wiggle)

    @property
    def asset(self) -> str:
        return self._asset

    @property
    def start(self) -> int:
        return self._start

    @property
    def end(self) -> int | None:
        return None

    @property
    def crowd(self) -> Crowd:
        """Open positions as of the last minute generated: the truth to score a map against."""
        return self._traders.crowd

    def minutes(self, until: int) -> Sequence[Minutes]:
        wanted = (until - self._start) // MINUTE_MS + 1
        runs = []
        while self._minute < wanted:
            runs.append(self._five_minutes())
        return runs

    def _five_minutes(self) -> Minutes:
        prices = np.stack([self._minute_prices(self._minute + i) for i in range(STEP_MINUTES)])
        before = self._traders.interest_base
        out = self._traders.step(prices[0, 0], prices[:, 1].max(), prices[:, 2].min(), prices[-1, 3])
        after = self._traders.interest_base
        forced = []
        for side, price, amount, venue in zip(out.side, out.price, out.amount, out.venue, strict=True):
            reached = prices[:, 2] <= price if side > 0 else prices[:, 1] >= price
            minute = self._minute + int(np.argmax(reached))
            at = self._start + minute * MINUTE_MS + int(self._rng.integers(0, MINUTE_MS))
            forced.append(Forced(at, VENUES[venue], "long" if side > 0 else "short", float(price), float(amount)))
        self._minute += STEP_MINUTES
        funding = 1e-4 + 0.3 * (prices[-1, 3] / prices[0, 0] - 1) * 0.01
        interest = np.linspace(before, after, STEP_MINUTES + 1)[1:]
        return Minutes(prices, interest, float(funding), sorted(forced, key=lambda event: event.at))

    def _minute_prices(self, minute: int) -> np.ndarray:
        day, index = divmod(minute, DAY_MS // MINUTE_MS)
        logs = self._day(day)[index * SUBSTEPS : (index + 1) * SUBSTEPS + 1] + self._level
        prices: np.ndarray = np.exp(np.array([logs[0], logs.max(), logs.min(), logs[-1]]))
        return prices

    def _log_close(self, minute: int) -> float:
        day, index = divmod(minute, DAY_MS // MINUTE_MS)
        return float(self._day(day)[(index + 1) * SUBSTEPS])

    def _day(self, day: int) -> np.ndarray:
        """Return the log prices of one day, from its first moment to the next day's first, generated once."""
        if day not in self._days:
            start = float(self._day(day - 1)[-1]) if day else 0.0
            self._days[day] = self._make_day(day, start)
        return self._days[day]

    def _make_day(self, day: int, start: float) -> np.ndarray:
        rng = np.random.default_rng([self._seed, 3, day])
        count = DAY_MS // MINUTE_MS * SUBSTEPS
        self._volatility = 0.8 * self._volatility + 0.15 * rng.standard_normal()
        scale = DAILY_VOLATILITY * math.exp(self._volatility) / math.sqrt(count)
        hours = np.repeat(np.exp(0.35 * rng.standard_normal(24)), count // 24)
        steps = rng.standard_t(4, count) / math.sqrt(2) * scale * hours
        # A weak pull towards the starting price keeps a long demo near it.
        steps -= 0.1 * start / count
        return np.concatenate([[start], start + np.cumsum(steps)])
