"""Where single liquidation orders occurred among the levels that price reached."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.board import AssetBoard
from engine.errors import HistoryError
from engine.history import ForcedOrder, History
from engine.liquidation.grid import bin_of, outward
from engine.market import SIDES, Bar, Side
from engine.replay import update_of
from engine.study.sweeps import untraded_hours

MIN_LEVELS = 4
SPREAD = 0.05
"""Share of each forecast that is spread evenly, so that no level has probability 0."""


def location_figures(history: History, orders: Sequence[ForcedOrder]) -> dict[str, Any]:
    """Return how well the map locates liquidation orders among the levels a bar reached, in nats.

    References are distance alone, where all reached levels are equally likely, and freshness alone, where likelihood
    follows hours since a level last traded. Figures are mean log-likelihood gains over distance alone, by USD and by
    order. The map is that from before the bar. Orders outside the levels reached from the previous close are left out.
    """
    board = AssetBoard(history.market.asset)
    gains: dict[str, list[float]] = {"map": [], "freshness": []}
    weights: list[float] = []
    waiting = deque(order for order in orders if order.at >= history.bars[0].opened_at)
    for step in history.steps():
        within = []
        while waiting and waiting[0].at < step.bar.closed_at:
            within.append(waiting.popleft())
        for side in SIDES if board.ready else ():
            mine = [order for order in within if order.side == side]
            for order, gain in _placed(board, step.bar, side, mine):
                weights.append(order.usd)
                for name, value in gain.items():
                    gains[name].append(value)
        board.advance(update_of(step), step.bar.closed_at, silent=True)
    if not weights:
        raise HistoryError("no liquidation order falls within the history's bars")
    figures: dict[str, Any] = {"asset": board.asset, "orders": len(weights), "usd": round(sum(weights))}
    for name, values in gains.items():
        figures[f"{name}_nats_by_usd"] = round(float(np.average(values, weights=weights)), 3)
        figures[f"{name}_nats_by_order"] = round(statistics.fmean(values), 3)
    return figures


def _placed(
    board: AssetBoard, bar: Bar, side: Side, orders: Sequence[ForcedOrder]
) -> list[tuple[ForcedOrder, dict[str, float]]]:
    """Return orders at levels the bar reached, with each forecast's gain over an even one, nats."""
    market_map = board.maps.markets[next(iter(board.maps.markets))]
    first = outward(side, bin_of(market_map.close)) + 1
    count = outward(side, bin_of(bar.low if side == "long" else bar.high)) - first + 1
    if count < MIN_LEVELS:
        return []
    levels = np.arange(first, first + count)
    guesses = {"map": board.maps.held_usd(side, levels), "freshness": untraded_hours(board, bar, side, levels)}
    shares = {
        name: weight / weight.sum() if weight.any() else np.full(count, 1 / count) for name, weight in guesses.items()
    }
    placed = []
    for order in orders:
        place = outward(side, bin_of(order.price)) - first
        if 0 <= place < count:
            gain = {name: math.log((1 - SPREAD) * share[place] * count + SPREAD) for name, share in shares.items()}
            placed.append((order, gain))
    return placed
