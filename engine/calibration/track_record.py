"""An asset's track record: how the last month's hours were predicted, each from what came before it."""

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
"""Of reports, before there is anything to say."""


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """How an asset's hours were predicted.

    Attributes:
        asset: what people call it.
        at: end of the last hour in it, UTC ms.
        days: of reports there have been.
        score: None where there is none; why says the reason.
        expected_usd, reported_usd: totals over the hours scored, longs and shorts.
        days_usd: by day: UTC ms, then USD expected of longs and shorts, and reported of each.
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
        """JSON values."""
        return asdict(self)


def track_record(asset: str, hours: Hours) -> TrackRecord:
    """Walk through the hours that are known. Takes seconds for half a year: not for the event loop."""
    heard = ~np.isnan(hours.reported).any(axis=1)
    at = int(hours.at[-1]) + HOUR_MS if len(hours) else 0
    days = float(heard.sum()) / 24
    first = int(hours.at[heard][0]) if heard.any() else at
    start = max(at - SCORED_DAYS * DAY_MS, first + MIN_KNOWN * HOUR_MS)
    expected = walk_forward(hours).expected
    found, why = None, f"{days:.0f} of {MIN_DAYS:.0f} days of liquidation reports so far"
    if days >= MIN_DAYS:
        try:
            found, why = score(hours, expected, start), ""
        except HistoryError as error:
            why = str(error)
    scored = heard & ~np.isnan(expected).any(axis=1) & (hours.at >= (start if found else at - SCORED_DAYS * DAY_MS))
    return TrackRecord(
        asset,
        at,
        days,
        found,
        (float(expected[scored, 0].sum()), float(expected[scored, 1].sum())),
        (float(hours.reported[scored, 0].sum()), float(hours.reported[scored, 1].sum())),
        _by_day(hours.at[scored], expected[scored], hours.reported[scored]) if found else (),
        why,
    )


def _by_day(at: np.ndarray, expected: np.ndarray, reported: np.ndarray) -> tuple[tuple[float, ...], ...]:
    days, which = np.unique(at // DAY_MS * DAY_MS, return_inverse=True)
    columns = [np.bincount(which, weights=column) for column in (*expected.T, *reported.T)]
    return tuple(tuple(float(value) for value in row) for row in np.stack([days, *columns], axis=1))
