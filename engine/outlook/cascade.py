"""A simple cascade estimate: where liquidation orders that start at a price would be absorbed by resting orders.

Price at P liquidates the positions there. Their orders consume resting orders further out, which liquidates more
levels, until resting orders absorb them all: the smallest d from P on with L + F(d) - F(P) <= B(d) - B(P). Order books
reach a few per cent; beyond, B is extrapolated with the power of distance that fits its outer part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.liquidation.curve import LiquidationCurve
from engine.liquidation.grid import BIN
from engine.market import Side
from engine.outlook.depth import Depth

REACH = 0.3
"""Log distance searched for an end."""

AT_LEVEL = 0.0025
"""Log distance around P, on either side, within which positions count as liquidated once price reaches P."""

POWERS = (0.5, 2.0)
"""Lower and upper limit of the fitted power of distance."""

FITTED_FROM = 0.25
"""Start of the outer part of a book, to which the power is fitted, as a share of its reach."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """The estimated cascade if price reaches a level.

    Attributes:
        start, end: log distances from the mark, outward.
        first_usd: expected liquidations at the level itself.
        total_usd: expected liquidations in total.
        resting_usd: resting orders between start and end.
        ends: True if there is an end within REACH.
    """

    side: Side
    start: float
    end: float
    first_usd: float
    total_usd: float
    resting_usd: float
    ends: bool

    @property
    def amplification(self) -> float:
        """Total liquidations as a multiple of those at the level."""
        return self.total_usd / self.first_usd if self.first_usd else 1.0


def resting_curve(books: Sequence[Depth], side: Side, distances: np.ndarray) -> np.ndarray | None:
    """Return USD of resting orders up to log distances, summed over extrapolated books, or None without books.

    Args:
        distances: (n,) float64, rising.
    """
    shown = [book for book in books if book.reach[0 if side == "long" else 1] >= 2 * BIN]
    if not shown:
        return None
    total = np.zeros(len(distances))
    for book in shown:
        reach = min(book.reach[0 if side == "long" else 1], REACH)
        levels = np.cumsum(book.bids_usd if side == "long" else book.asks_usd)
        at = np.clip((distances / BIN).astype(int) - 1, 0, len(levels) - 1)
        inside = np.where(distances >= BIN, levels[at], 0.0)
        outer = levels[min(max(round(reach / BIN) - 1, 0), len(levels) - 1)]
        beyond = outer * (np.maximum(distances, reach) / reach) ** _power(levels, reach)
        total += np.where(distances <= reach, inside, beyond)
    return total


def _power(levels: np.ndarray, reach: float) -> float:
    """Return the power of distance with which a book's running sum grows in its outer part."""
    last = min(round(reach / BIN), len(levels))
    first = max(round(FITTED_FROM * reach / BIN), 1)
    if last - first < 2 or levels[first - 1] <= 0:
        return 1.0
    logs = np.log(np.arange(first, last + 1) * BIN)
    slope = float(np.polyfit(logs, np.log(levels[first - 1 : last]), 1)[0])
    return min(max(slope, POWERS[0]), POWERS[1])


def cascade(curve: LiquidationCurve, books: Sequence[Depth], start: float) -> Cascade | None:
    """Return the cascade if price goes to a log distance from the mark, or None without order books."""
    steps = math.ceil((REACH - start) / BIN)
    distances = start + BIN * np.arange(max(steps, 1))
    resting = resting_curve(books, curve.side, distances)
    if resting is None:
        return None
    forced = curve.at_distances(distances)
    near = curve.at_distances(np.array([max(start - AT_LEVEL, 0.0), start + AT_LEVEL]))
    first = float(near[1] - near[0])
    pushed = first + forced - forced[0]
    met = resting - resting[0]
    stopped = np.flatnonzero(pushed <= met)
    at = int(stopped[0]) if len(stopped) else len(distances) - 1
    return Cascade(
        curve.side, start, float(distances[at]), first, float(pushed[at]), float(met[at]), bool(len(stopped))
    )
