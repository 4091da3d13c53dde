"""Skill of one-hour predictions and of F(P) against reported liquidations over a history."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.board import AssetBoard
from engine.calibration.coefficients import report as report_span
from engine.calibration.hourly_model import FORM, ModelSpec, Walk, walk_forward
from engine.calibration.hours import Hours
from engine.calibration.skill import score
from engine.errors import HistoryError
from engine.history import History, iso
from engine.liquidation.baseline import Snapshot
from engine.liquidation.prior import MAP, MapPrior
from engine.market import HOUR_MS
from engine.replay import update_of


@dataclass(frozen=True)
class Walked:
    """The result of one pass through a history, without look-ahead.

    Attributes:
        snapshots: the map at each hour's close, oldest first.
    """

    asset: str
    hours: Hours
    walk: Walk
    snapshots: list[Snapshot]


def walk_history(history: History, map_prior: MapPrior = MAP, form: ModelSpec = FORM) -> Walked:
    """Step the map through a history and predict each hour from earlier data only. Return the results.

    Args:
        map_prior, form: assumptions of the map and options of the hourly model, to try others than those in use.

    Raises:
        HistoryError: when no liquidations are recorded, or bars are longer than an hour.
    """
    if history.step_ms > HOUR_MS:
        raise HistoryError(f"bars of {history.step_ms // HOUR_MS} hours are too long: predictions are by the hour")
    board = AssetBoard(history.market.asset)
    board.map_prior = map_prior
    snapshots: list[Snapshot] = []
    for step in history.steps():
        board.advance(update_of(step), step.bar.closed_at, silent=True)
        last = board.usual.past(1)
        if last and (not snapshots or last[0].at > snapshots[-1].at):
            snapshots += last
    hours = board.hours.hours()
    if np.isnan(hours.reported).all():
        raise HistoryError("no liquidations are recorded in it: there is nothing to hold a prediction against")
    return Walked(board.asset, hours, walk_forward(hours, form), snapshots)


def skill_figures(walked: Walked, start: int, end: int | None) -> dict[str, Any]:
    """Return the skill of one-hour predictions from start to end, as defined by engine.calibration.skill."""
    figures = asdict(score(walked.hours, walked.walk.expected, start, end))
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def span_figures(walked: Walked, spans: Sequence[int], start: int, end: int | None = None) -> list[dict[str, Any]]:
    """Return the skill of F(P) for each span of hours, in rolling folds from start to end."""
    rows = []
    for span in spans:
        report = report_span(walked.hours, walked.snapshots, span, start, end)
        row = {
            "span_hours": span,
            "deviance_removed": round(statistics.fmean(report.removed), 4),
            "folds": [round(value, 3) for value in report.removed],
        }
        for name in ("over", "coverage", "churn", "count"):
            row[name] = {key: _rounded(value) for key, value in getattr(report, name).items()}
        rows.append(row)
    return rows


def _rounded(value: float | None) -> float | None:
    return round(value, 3) if isinstance(value, float) else value


def write_predictions(walked: Walked, path: Path) -> None:
    """Write a CSV row for each hour with a prediction: opening time, USD expected of longs and of shorts."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(("time", "long_usd", "short_usd"))
        for at, (longs, shorts) in zip(walked.hours.at, walked.walk.expected, strict=True):
            if not np.isnan(longs):
                rows.writerow((iso(int(at)), f"{longs:.2f}", f"{shorts:.2f}"))
