"""The grid in log price: absolute, the same for every market, never re-centred.

bin = floor(ln(price) / 0.0005). A side is handled in outward coordinates, in which both sides look alike:
a long level lies outward when its price is lower, a short level when it is higher.
"""

from __future__ import annotations

import math

import numpy as np

from engine.market import Side

BIN = 0.0005
"""Width of a level in log price: five basis points."""

WINDOW = 2048
"""Levels a side keeps, from its edge outwards: a log distance of 1.024."""


def bin_of(price: float) -> int:
    """The level that a price lies in."""
    return math.floor(math.log(price) / BIN)


def price_of(level: float) -> float:
    """Price at the lower bound of a level; level + 0.5 gives its middle."""
    return math.exp(level * BIN)


def outward(side: Side, level: int) -> int:
    """Outward coordinate of a level, and back again: it grows away from price."""
    return -level if side == "long" else level


def prices_outward(side: Side, first: int, count: int) -> np.ndarray:
    """Middle prices of `count` levels from outward coordinate `first` on, (count,) float64, USD."""
    steps = np.arange(first, first + count)
    prices: np.ndarray = np.exp((outward(side, 1) * steps + 0.5) * BIN)
    return prices


def distance_outward(side: Side, price: float, level_price: float) -> float:
    """Log distance from price out to a level; negative when price has gone past it."""
    return outward(side, 1) * math.log(level_price / price)
