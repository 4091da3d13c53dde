"""A market of leveraged traders: their positions, margins and liquidations.

Written independently of the model it tests: it uses nothing from engine.liquidation. Traders draw side, size, leverage,
isolated or cross margin, stops, targets and patience. Each trader's own margin determines the liquidation price.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

VENUES = ("binanceusdm", "bybit", "okx")
VENUE_ODDS = (0.615, 0.184, 0.201)
MAINTENANCE = 0.004
LEVERAGES = (2, 3, 5, 10, 20, 25, 50, 75, 100)
LEVERAGE_ODDS = (0.10, 0.14, 0.22, 0.24, 0.13, 0.06, 0.06, 0.02, 0.03)
PATIENCE_STEPS = (12, 120, 900, 4000)
"""Mean holding time of scalpers, day traders, swing traders and holders, five-minute steps."""

PATIENCE_ODDS = (0.30, 0.35, 0.25, 0.10)
CROSS_ODDS = 0.45
STOP_ODDS = 0.35
TARGET_ODDS = 0.30
HEDGED_SHARE = 0.15
"""Share of new positions hedged elsewhere: their owners add margin and are not liquidated."""

MEAN_SIZE_BASE = 20.0


@dataclass
class Crowd:
    """Open positions as arrays of one length.

    side is +1 or -1, amount is in base units, leaving is the chance to close in a step. forced is the liquidation
    price; stop and target are prices, 0 for none.
    """

    side: np.ndarray = field(default_factory=lambda: np.zeros(0))
    amount: np.ndarray = field(default_factory=lambda: np.zeros(0))
    entry: np.ndarray = field(default_factory=lambda: np.zeros(0))
    forced: np.ndarray = field(default_factory=lambda: np.zeros(0))
    stop: np.ndarray = field(default_factory=lambda: np.zeros(0))
    target: np.ndarray = field(default_factory=lambda: np.zeros(0))
    leaving: np.ndarray = field(default_factory=lambda: np.zeros(0))
    venue: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))

    def keep(self, which: np.ndarray) -> None:
        """Drop all other positions."""
        for name in vars(self):
            setattr(self, name, getattr(self, name)[which])

    def join(self, other: Crowd) -> None:
        """Add more positions."""
        for name in vars(self):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))


@dataclass(frozen=True, slots=True)
class Casualties:
    """Positions liquidated in a step: side, price, base units, index in VENUES. Arrays of one length."""

    side: np.ndarray
    price: np.ndarray
    amount: np.ndarray
    venue: np.ndarray


class Traders:
    """The crowd and its behaviour. step() simulates five minutes."""

    def __init__(self, rng: np.random.Generator, interest_base: float) -> None:
        self.crowd = Crowd()
        self._rng = rng
        self._wanted = interest_base

    @property
    def interest_base(self) -> float:
        """Open interest, base units: the larger side. Market makers, hedged elsewhere, fill up the smaller one."""
        longs = float(self.crowd.amount[self.crowd.side > 0].sum())
        shorts = float(self.crowd.amount[self.crowd.side < 0].sum())
        return max(longs, shorts)

    def step(self, opened: float, high: float, low: float, close: float) -> Casualties:
        """Move price from open through high and low to close. Return the positions liquidated."""
        casualties = self._force_out(high, low)
        self._enter(opened, close, low, high)
        return casualties

    def _force_out(self, high: float, low: float) -> Casualties:
        """Remove positions that are liquidated or closed. Return those liquidated."""
        crowd = self.crowd
        hit = np.where(crowd.side > 0, crowd.forced >= low, (crowd.forced <= high) & (crowd.forced > 0))
        stopped = np.where(
            crowd.side > 0,
            (crowd.stop > crowd.forced) & (crowd.stop >= low),
            (crowd.stop > 0) & (crowd.stop < crowd.forced) & (crowd.stop <= high),
        )
        hit &= ~stopped
        casualties = Casualties(crowd.side[hit], crowd.forced[hit], crowd.amount[hit], crowd.venue[hit])
        crowd.keep(~(hit | self._leaving(high, low)))
        return casualties

    def _leaving(self, high: float, low: float) -> np.ndarray:
        """Return the positions that hit a stop or target or close at random, (n,) bool."""
        crowd = self.crowd
        stopped = np.where(crowd.side > 0, crowd.stop >= low, (crowd.stop > 0) & (crowd.stop <= high))
        done = np.where(crowd.side > 0, (crowd.target > 0) & (crowd.target <= high), crowd.target >= low)
        bored = self._rng.random(len(crowd.side)) < crowd.leaving
        leaving: np.ndarray = stopped | done | bored
        return leaving

    def _enter(self, opened: float, close: float, low: float, high: float) -> None:
        """Open new positions: more while open interest is below its target, and more while price moves."""
        lacking = max(self._wanted - self.interest_base, 0.0) / self._wanted
        excitement = min((high / low - 1) / 0.0015, 4.0)
        count = self._rng.poisson((3 + 40 * lacking) * (0.5 + 0.5 * excitement))
        if not count:
            return
        rng = self._rng
        drift = np.clip((close / opened - 1) / 0.004, -0.2, 0.2)
        side = np.where(rng.random(count) < 0.5 + drift, 1.0, -1.0)
        entry = low + (high - low) * rng.random(count)
        amount = rng.lognormal(0, 1.2, count) * MEAN_SIZE_BASE / np.exp(0.72)
        self.crowd.join(self._positions(side, entry, amount))

    def _positions(self, side: np.ndarray, entry: np.ndarray, amount: np.ndarray) -> Crowd:
        rng, count = self._rng, len(side)
        leverage = rng.choice(LEVERAGES, count, p=LEVERAGE_ODDS)
        spare = np.where(rng.random(count) < CROSS_ODDS, rng.uniform(1.0, 5.0, count), 1.0)
        margin_share = np.minimum(spare / leverage, 0.95)
        # Liquidated when margin + s (P - E) per unit has fallen to the maintenance share of P.
        forced = entry * (1 - side * margin_share) / (1 - side * MAINTENANCE)
        hedged = rng.random(count) < HEDGED_SHARE
        forced = np.where(hedged, np.where(side > 0, 0.0, np.inf), forced)
        room = np.abs(forced / entry - 1)
        stop = np.where(
            rng.random(count) < STOP_ODDS, entry * (1 - side * np.minimum(room, 1) * rng.uniform(0.2, 0.9, count)), 0.0
        )
        target = np.where(rng.random(count) < TARGET_ODDS, entry * (1 + side * rng.uniform(0.005, 0.08, count)), 0.0)
        patience = rng.choice(PATIENCE_STEPS, count, p=PATIENCE_ODDS)
        venue = rng.choice(len(VENUES), count, p=VENUE_ODDS)
        return Crowd(side, amount, entry, forced, stop, target, 1 / patience, venue)
