"""F(P): the liquidations that feeds are expected to report if price goes straight from the mark to P.

F = scale · side · [M(d) + c · min(M(d), M10) + f · OI · (d / 1 %)^r] is additive over levels, never falls with
distance or mass, and is zero at the mark. The last term is for positions opened during the move, which the map cannot
contain.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from engine.liquidation.grid import BIN, WINDOW, bin_of, distance_outward, outward
from engine.liquidation.prior import (
    BAND_DISTANCES,
    BAND_HIGH,
    BAND_LOW,
    BAND_WIDER_BEYOND,
    BAND_WIDER_BY,
    FORCED,
    ForcedPrior,
)
from engine.market import Side


class LiquidationCurve:
    """F on one side of a mark.

    Args:
        side: side of the positions.
        mark: reference price, USD.
        open_usd: (WINDOW,) float64, USD by level outward from the mark's own level.
        interest_usd: open interest summed over venues, USD.
        scale: ratio of reported to open, for these venues.
    """

    def __init__(
        self,
        side: Side,
        mark: float,
        open_usd: np.ndarray,
        interest_usd: float,
        scale: float,
        prior: ForcedPrior = FORCED,
    ) -> None:
        self.side: Side = side
        self.mark = mark
        self._origin = outward(side, bin_of(mark))
        self._mass = np.concatenate([[0.0], np.cumsum(open_usd)])
        self._interest_usd = interest_usd
        self._factor = scale * prior.side_factor(side)
        self._prior = prior
        self._near_levels = round(prior.near_distance / BIN)

    def levels_to(self, price: float) -> int:
        """Return the number of levels between the mark's own (excluded) and the price's own (included)."""
        return min(max(outward(self.side, bin_of(price)) - self._origin, 0), WINDOW)

    def mass_usd(self, price: float) -> float:
        """Return M(d), the USD open between the mark and the price."""
        return float(self._mass[self.levels_to(price)])

    def forced_usd(self, price: float) -> float:
        """Return F(P), USD, 0 for prices on the other side of the mark."""
        return float(self._forced(np.array([self.levels_to(price)]), np.array([self._distance(price)]))[0])

    def map_share(self, price: float) -> float:
        """Return the share of F that comes from the map, not from positions opened during the move. 0 where F is 0."""
        total = self.forced_usd(price)
        return 1 - float(self._ground(np.array([self._distance(price)]))[0]) / total if total else 0.0

    def between(self, first: int, last: int) -> float:
        """Return F over the levels first..last (outward coordinates), as a difference of F so that shares add up."""
        ends = np.array([first - 1, last])
        levels = np.clip(ends - self._origin, 0, WINDOW)
        bounds = np.array([self._inner_bound(first), self._inner_bound(last + 1)])
        inner, outer = self._forced(levels, np.maximum(bounds, 0.0))
        return float(outer - inner)

    def from_level(self, start: int, last: int) -> float:
        """Return F up to and including the level `last` if the mark were just inside the level `start`, USD.

        Both are outward coordinates. Levels inward of this curve's own mark count as empty.
        """
        levels = np.clip(np.array([start, start + self._near_levels, last]) - self._origin, 0, WINDOW)
        inside, near, all_of_it = self._mass[levels]
        mass = all_of_it - inside
        boosted = mass + self._prior.near_boost * min(mass, near - inside)
        ground = self._ground(np.array([(last - start) * BIN]))
        return float(self._factor * boosted + ground[0])

    def forced_from(self, price: float, last: int) -> tuple[float, float, float]:
        """Return F from a mark at `price` up to and including the level `last`, with its 80 % band, USD."""
        start = outward(self.side, bin_of(price))
        forced = self.from_level(start, last)
        low, high = band_factors(np.array([max(last - start, 1) * BIN]))
        return forced, forced * float(low[0]), forced * float(high[0])

    def at_distances(self, distances: np.ndarray) -> np.ndarray:
        """Return F at log distances outward from the mark, (n,) float64, USD."""
        step = outward(self.side, 1)
        prices = np.log(self.mark) + step * distances
        levels = step * np.floor(prices / BIN).astype(int) - self._origin
        return self._forced(np.clip(levels, 0, WINDOW), distances)

    def band(self, price: float) -> tuple[float, float]:
        """Return the 80 % band of F(P) from the prior's spread, USD. It never falls with distance."""
        distance, levels = self._distance(price), self.levels_to(price)
        if distance <= 0:
            return 0.0, 0.0
        low, high = band_factors(np.array([distance]))
        here = self.forced_usd(price)
        least, most = self._running_band
        before = max(min(levels, WINDOW) - 1, 0)
        return max(here * float(low[0]), float(least[before])), max(here * float(high[0]), float(most[before]))

    @cached_property
    def _running_band(self) -> tuple[np.ndarray, np.ndarray]:
        levels = np.arange(WINDOW)
        distances = levels * BIN
        forced = self._forced(levels, distances)
        low, high = band_factors(np.maximum(distances, BIN))
        return np.maximum.accumulate(forced * low), np.maximum.accumulate(forced * high)

    def _forced(self, levels: np.ndarray, distances: np.ndarray) -> np.ndarray:
        mass = self._mass[levels]
        near = np.minimum(mass, self._mass[self._near_levels])
        forced: np.ndarray = self._factor * (mass + self._prior.near_boost * near) + self._ground(distances)
        return forced

    def _ground(self, distances: np.ndarray) -> np.ndarray:
        share = self._prior.ground * (np.maximum(distances, 0.0) / 0.01) ** self._prior.ground_power
        return np.asarray(self._factor * self._interest_usd * share)

    def _distance(self, price: float) -> float:
        return max(distance_outward(self.side, self.mark, price), 0.0)

    def _inner_bound(self, coordinate: int) -> float:
        """Return the log distance from the mark to a level's inner bound."""
        level = outward(self.side, coordinate)
        edge = (level + 1 if self.side == "long" else level) * BIN
        return outward(self.side, 1) * (edge - math.log(self.mark))


def band_factors(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 80 % band as factors of F, interpolated in log distance and widened beyond the measured range."""
    logs, log_knots = np.log(distances), np.log(BAND_DISTANCES)
    low, high = np.interp(logs, log_knots, BAND_LOW), np.interp(logs, log_knots, BAND_HIGH)
    far = distances > BAND_WIDER_BEYOND
    return np.where(far, low / BAND_WIDER_BY, low), np.where(far, high * BAND_WIDER_BY, high)
