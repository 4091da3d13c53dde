"""A history, measured: its clusters, the skill of the map hour by hour, and F(P) against new ground."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.board import AssetBoard
from engine.errors import HistoryError
from engine.history import History, iso
from engine.liquidation.grid import BIN
from engine.liquidation.hours import Hours
from engine.liquidation.peaks import REACH
from engine.liquidation.skill import score
from engine.liquidation.spans import report as report_span
from engine.liquidation.tie import Walk, walk_forward
from engine.liquidation.usual import Snapshot
from engine.market import DAY_MS, HOUR_MS, SIDES
from engine.replay import update_of

WARM_UP_DAYS = 30


def cluster_figures(history: History) -> dict[str, Any]:
    """Number, width, life and churn of clusters over a history, the first 30 days left out of the counts."""
    board = AssetBoard(history.market.asset)
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


@dataclass(frozen=True)
class Walked:
    """A history gone through once, without looking ahead.

    Attributes:
        snapshots: the map at each hour's close, oldest first.
    """

    asset: str
    hours: Hours
    walk: Walk
    snapshots: list[Snapshot]


def walk_history(history: History) -> Walked:
    """Step the map through a history and predict each hour from what came before it."""
    board = AssetBoard(history.market.asset)
    snapshots: list[Snapshot] = []
    for step in history.steps():
        board.advance(update_of(step), step.bar.closed_at, silent=True)
        last = board.usual.past(1)
        if last and (not snapshots or last[0].at > snapshots[-1].at):
            snapshots += last
    hours = board.hours.hours()
    if np.isnan(hours.reported).all():
        raise HistoryError("no liquidations are recorded in it: there is nothing to hold a prediction against")
    return Walked(board.asset, hours, walk_forward(hours), snapshots)


def skill_figures(walked: Walked, start: int, end: int | None) -> dict[str, Any]:
    """Skill of one-hour predictions from start to end, as engine.liquidation.skill defines it."""
    figures = asdict(score(walked.hours, walked.walk.expected, start, end))
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def span_figures(walked: Walked, spans: Sequence[int], start: int) -> list[dict[str, Any]]:
    """F(P) against new ground for each span of hours, rolling folds from start on."""
    found = []
    for span in spans:
        report = report_span(walked.hours, walked.snapshots, span, start)
        row = {
            "span_hours": span,
            "deviance_removed": round(statistics.fmean(report.removed), 4),
            "folds": [round(value, 3) for value in report.removed],
        }
        for name in ("over", "coverage", "count"):
            row[name] = {key: _rounded(value) for key, value in getattr(report, name).items()}
        found.append(row)
    return found


def _rounded(value: float | None) -> float | None:
    return round(value, 3) if isinstance(value, float) else value


def write_predictions(walked: Walked, path: Path) -> None:
    """One row an hour that has a prediction: its opening time, and the USD expected of longs and of shorts."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(("time", "long_usd", "short_usd"))
        for at, (longs, shorts) in zip(walked.hours.at, walked.walk.expected, strict=True):
            if not np.isnan(longs):
                rows.writerow((iso(int(at)), f"{longs:.2f}", f"{shorts:.2f}"))
