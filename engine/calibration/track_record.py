"""An asset's track record: skill of the last month's hourly predictions, each made from earlier hours only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.calibration.hourly_model import walk_forward
from engine.calibration.hours import Hours
from engine.calibration.skill import MIN_KNOWN, MIN_SCORED, Score, score
from engine.errors import HistoryError
from engine.market import DAY_MS, HOUR_MS

SCORED_DAYS = 30
MIN_DAYS = (MIN_KNOWN + MIN_SCORED) / 24
"""Days of reports needed for a score."""


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """Skill of an asset's hourly predictions.

    Attributes:
        asset: the coin's ticker.
        at: end of its last hour, UTC ms.
        days: days of reports so far.
        score: skill, or None if there is none yet.
        expected_usd, reported_usd: totals over the hours counted, longs and shorts.
        days_usd: one row per day: UTC ms, then USD expected of longs and shorts, and reported of each.
        why: reason for having no score, for people, empty with one.
    """

    asset: str
    at: int
    days: float
    score: Score | None
    expected_usd: tuple[float, float] = (0.0, 0.0)
    reported_usd: tuple[float, float] = (0.0, 0.0)
    days_usd: tuple[tuple[float, ...], ...] = ()
    why: str = ""

    @property
    def figures(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)


def track_record(asset: str, hours: Hours) -> TrackRecord:
    """Predict and score an asset's hours. Takes seconds for half a year: do not run it on the event loop."""
    complete = ~np.isnan(hours.reported).any(axis=1)
    at = int(hours.at[-1]) + HOUR_MS if len(hours) else 0
    days = float(complete.sum()) / 24
    first = int(hours.at[complete][0]) if complete.any() else at
    start = max(at - SCORED_DAYS * DAY_MS, first + MIN_KNOWN * HOUR_MS)
    expected = walk_forward(hours).expected
    skill, why = None, f"{days:.0f} of {MIN_DAYS:.0f} days of liquidation reports so far"
    if days >= MIN_DAYS:
        try:
            skill, why = score(hours, expected, start), ""
        except HistoryError as error:
            why = str(error)
    scored = complete & ~np.isnan(expected).any(axis=1) & (hours.at >= (start if skill else at - SCORED_DAYS * DAY_MS))
    return TrackRecord(
        asset,
        at,
        days,
        skill,
        (float(expected[scored, 0].sum()), float(expected[scored, 1].sum())),
        (float(hours.reported[scored, 0].sum()), float(hours.reported[scored, 1].sum())),
        _by_day(hours.at[scored], expected[scored], hours.reported[scored]) if skill else (),
        why,
    )


def _by_day(at: np.ndarray, expected: np.ndarray, reported: np.ndarray) -> tuple[tuple[float, ...], ...]:
    days, which = np.unique(at // DAY_MS * DAY_MS, return_inverse=True)
    columns = [np.bincount(which, weights=column) for column in (*expected.T, *reported.T)]
    return tuple(tuple(float(value) for value in row) for row in np.stack([days, *columns], axis=1))
