"""Order books as depth in log price: the resting orders that liquidation orders would hit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import ImplausibleError
from engine.liquidation.grid import BIN
from engine.market import Market, Side, positive

LEVELS = 1000
"""Levels per side: to 50 % either way. Order books from venues seldom reach further than a few per cent."""


@dataclass(frozen=True)
class Depth:
    """One market's order book.

    Attributes:
        at: UTC ms.
        middle: mid price between best bid and best ask, USD.
        bids_usd, asks_usd: (LEVELS,) float64, USD of resting orders by level outward from the middle.
        reach: log distance that the book covers, bids and asks.
    """

    market: Market
    at: int
    middle: float
    bids_usd: np.ndarray
    asks_usd: np.ndarray
    reach: tuple[float, float]

    def within(self, side: Side, distance: float) -> float:
        """Return USD of resting orders up to a log distance: bids, which absorb liquidated longs, for long."""
        book = self.bids_usd if side == "long" else self.asks_usd
        return float(book[: max(round(distance / BIN), 0)].sum())


def aggregate(
    market: Market, at: int, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]
) -> Depth:
    """Return an order book by level.

    Args:
        bids, asks: price and USD of each row, best first.

    Raises:
        ImplausibleError: when a side is empty, a figure not positive, or the best bid is not below the best ask.
    """
    sides = [[(positive(price, "price"), positive(usd, "size")) for price, usd in rows if usd] for rows in (bids, asks)]
    if not sides[0] or not sides[1]:
        raise ImplausibleError("one side of the order book is empty")
    best_bid, best_ask = max(price for price, _ in sides[0]), min(price for price, _ in sides[1])
    if best_bid >= best_ask:
        raise ImplausibleError(f"best bid {best_bid} is not below best ask {best_ask}")
    middle = (best_bid + best_ask) / 2
    below, above = (_by_level(rows, middle) for rows in sides)
    reach = (math.log(middle / min(p for p, _ in sides[0])), math.log(max(p for p, _ in sides[1]) / middle))
    return Depth(market, at, middle, below, above, reach)


def _by_level(rows: Sequence[tuple[float, float]], middle: float) -> np.ndarray:
    prices, usd = np.array(rows).T
    levels = np.floor(np.abs(np.log(prices / middle)) / BIN).astype(int)
    inside = levels < LEVELS
    return np.bincount(levels[inside], weights=usd[inside], minlength=LEVELS)


def resting_usd(books: Iterable[Depth], side: Side, distance: float) -> float:
    """Return USD of resting orders in several books up to a log distance from each one's own middle."""
    return sum(book.within(side, distance) for book in books)
