"""Number, width, lifetime and turnover of clusters over a history."""

from __future__ import annotations

import statistics
from typing import Any

from engine.board import AssetBoard
from engine.history import History
from engine.liquidation.grid import BIN
from engine.liquidation.peaks import REACH
from engine.liquidation.prior import MAP, MapPrior
from engine.market import DAY_MS, HOUR_MS, SIDES
from engine.replay import update_of

WARM_UP_DAYS = 30
"""Days left out at the start of a history, while clusters and the baseline are still forming."""


def cluster_figures(history: History, map_prior: MapPrior = MAP) -> dict[str, Any]:
    """Return number, width, lifetime and turnover of clusters over a history, leaving out a warm-up.

    The warm-up is the first 30 days, or half of a shorter history.
    """
    board = AssetBoard(history.market.asset)
    board.map_prior = map_prior
    first, end = history.bars[0].opened_at, history.bars[-1].closed_at
    start = first + min(WARM_UP_DAYS * DAY_MS, (end - first) // 2)
    born_at: dict[str, int] = {}
    lives: list[float] = []
    numbers: list[int] = []
    widths: list[float] = []
    counted: tuple[int, int, int] | None = None
    for step in history.steps():
        bar = step.bar
        board.advance(update_of(step), bar.closed_at)
        live = {cluster.id: cluster for cluster in board.clusters}
        for gone in [key for key in born_at if key not in live]:
            if born_at[gone] >= start:
                lives.append((bar.closed_at - born_at[gone]) / HOUR_MS)
            del born_at[gone]
        born_at |= {key: cluster.born_at for key, cluster in live.items()}
        if bar.closed_at < start:
            continue
        counted = counted or (board.tracker.born, board.tracker.ended, board.tracker.relabelled)
        for side in SIDES:
            near = [c for c in live.values() if c.side == side and c.distance(bar.close) <= REACH]
            numbers.append(len(near))
            widths += [(c.last - c.first + 1) * BIN for c in near]
    days = (end - start) / DAY_MS
    born, ended, relabelled = counted or (0, 0, 0)
    tracker = board.tracker
    return {
        "asset": board.asset,
        "days": round(days, 2),
        "number_per_side": round(statistics.fmean(numbers), 3) if numbers else 0.0,
        "width_fraction": round(statistics.fmean(widths), 5) if widths else 0.0,
        "median_life_hours": round(statistics.median(lives), 2) if lives else 0.0,
        "births_per_day_and_side": round((tracker.born - born) / days / 2, 3),
        "deaths_per_day_and_side": round((tracker.ended - ended) / days / 2, 3),
        "label_moves_per_cluster_day": round(
            (tracker.relabelled - relabelled) / max(sum(numbers) * history.step_ms / DAY_MS, 1e-9), 3
        ),
    }
