"""The grid in log price: absolute, the same for every market, never re-centred.

bin = floor(ln(price) / 0.0005). Sides use outward coordinates, which make both look alike: outward means a lower price
for longs and a higher price for shorts.
"""

from __future__ import annotations

import math

import numpy as np

from engine.market import Side

BIN = 0.0005
"""Width of a level in log price: five basis points."""

WINDOW = 2048
"""Levels stored per side, from its edge outwards: a log distance of 1.024."""


def bin_of(price: float) -> int:
    """Return the level that contains a price."""
    return math.floor(math.log(price) / BIN)


def price_of(level: float) -> float:
    """Return the price at the lower bound of a level; level + 0.5 gives its middle."""
    return math.exp(level * BIN)


def outward(side: Side, level: int) -> int:
    """Convert a level to its outward coordinate, which grows away from price, or back."""
    return -level if side == "long" else level


def prices_outward(side: Side, first: int, count: int) -> np.ndarray:
    """Return the middle prices of `count` levels from outward coordinate `first` on, (count,) float64, USD."""
    steps = np.arange(first, first + count)
    prices: np.ndarray = np.exp((outward(side, 1) * steps + 0.5) * BIN)
    return prices


def distance_outward(side: Side, price: float, level_price: float) -> float:
    """Return the log distance from price out to a level, negative if price is past it."""
    return outward(side, 1) * math.log(level_price / price)
