"""Skill of predictions: their fit to reported liquidations against reference forecasts that use no map.

d2 is the share of Tweedie deviance that predictions remove from a reference given the distance swept. d2_path is the
same for a reference given the whole price path (both sides of the hour, six past extremes). Neither reference has open
interest or a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.calibration.hourly_model import EXTREMES, SMALL, beyond
from engine.calibration.hours import Hours
from engine.calibration.tweedie import FLOOR_USD, deviance, fit
from engine.errors import HistoryError
from engine.market import DAY_MS

MIN_SCORED = 24
MIN_KNOWN = 24 * 14
RIVAL_RIDGE = 1e-3
NOTHING = 1e-6
"""Lowest deviance of a reference, as a share of the sum of sqrt(reported), that leaves something to improve."""

BAND_DAYS = 60
BAND_NEIGHBOURS = 300
BAND_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Score:
    """Skill over one stretch of hours.

    Attributes:
        bars: hours scored.
        r, r_baseline: correlation of predicted and reported USD, both sides pooled, and that of the plain reference.
        d2, d2_path: share of deviance removed from the plain reference and from the one given the path.
        d2_scaled: d2 after scaling both forecasts to the reported total.
        spearman: rank correlation.
        bias: predicted total over reported total.
        coverage: share of reports within their 80 % band, None if there was no band.
    """

    bars: int
    r: float
    r_baseline: float
    d2: float
    d2_path: float
    d2_scaled: float
    spearman: float
    bias: float
    coverage: float | None


def score(hours: Hours, expected: np.ndarray, start: int, end: int | None = None) -> Score:
    """Score predictions of hours that opened in start <= at < end, against references fitted to earlier hours.

    Args:
        expected: (n, 2) float64, USD.
        start, end: UTC ms.

    Raises:
        HistoryError: when there is too little to score or to fit references to, or an hour has no prediction.
    """
    training = hours.at < start
    scored = (hours.at >= start) & (hours.at < (end if end is not None else np.iinfo(np.int64).max))
    reported = ~np.isnan(hours.reported).any(axis=1)
    training, scored = training & reported, scored & reported
    if scored.sum() < MIN_SCORED or training.sum() < MIN_KNOWN:
        raise HistoryError("a score needs 24 hours with reports, and two weeks of them before")
    missing = scored & np.isnan(expected).any(axis=1)
    if missing.any():
        raise HistoryError(f"{int(missing.sum())} hours have no prediction: too little came before them")
    plain, path = (reference_forecast(hours, training, path=flag)[scored].ravel() for flag in (False, True))
    x, y = expected[scored].ravel(), hours.reported[scored].ravel()
    if y.sum() < FLOOR_USD * len(y):
        raise HistoryError("too little was liquidated to tell predictions apart")
    if min(deviance(plain, y), deviance(path, y)) <= NOTHING * np.sqrt(y).sum():
        raise HistoryError("reports are too much alike to tell predictions apart")
    low, high = bands(hours, expected)
    inside = (hours.reported >= low) & (hours.reported <= high)
    banded = scored & ~np.isnan(low).any(axis=1)
    scaled = deviance(x * y.sum() / x.sum(), y) / deviance(plain * y.sum() / plain.sum(), y)
    return Score(
        int(scored.sum()),
        float(np.corrcoef(x, y)[0, 1]),
        float(np.corrcoef(plain, y)[0, 1]),
        1 - deviance(x, y) / deviance(plain, y),
        1 - deviance(x, y) / deviance(path, y),
        1 - scaled,
        float(np.corrcoef(ranks(x), ranks(y))[0, 1]),
        float(x.sum() / y.sum()),
        float(inside[banded].mean()) if banded.any() else None,
    )


def reference_forecast(hours: Hours, training: np.ndarray, *, path: bool) -> np.ndarray:
    """Return the reference forecast, a regression without a map fitted to some hours, (n, 2) float64, USD."""
    swept, seen = hours.swept, hours.reported
    width = np.log(swept.sum(axis=1) + SMALL)
    out = np.zeros_like(seen)
    for side in (0, 1):
        if path:
            share = swept[:, side] / (swept.sum(axis=1) + 1e-9)
            columns = [width, width**2, share, share**2, width * share, width * share**2]
            for bars in EXTREMES:
                gone = beyond(hours, bars)[:, side]
                columns += [np.log(gone + SMALL), (gone > 0).astype(float)]
        else:
            size = np.log(np.maximum(swept[:, side], 1e-5))
            edge = (beyond(hours, 24)[:, side] > 0).astype(float)
            columns = [size, size**2, edge, edge * size]
        if not seen[training, side].any():
            out[:, side] = FLOOR_USD  # no reports of that side to fit to
            continue
        features = np.stack([np.ones(len(hours)), *columns], axis=1)
        model = fit(features[training], seen[training, side], np.ones(int(training.sum())), RIVAL_RIDGE)
        out[:, side] = np.clip(model.predict(features), FLOOR_USD, 4 * seen[training, side].max())
    return out


def bands(hours: Hours, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 80 % bands of one-hour predictions, two (n, 2) float64 arrays, USD, NaN while there are too few.

    Recomputed daily from the ratios of reported to expected of the 300 past predictions closest in size, both sides,
    over 60 days.
    """
    low, high = np.full_like(expected, np.nan), np.full_like(expected, np.nan)
    tail = (1 - BAND_SHARE) / 2
    days = hours.at // DAY_MS
    for day in np.unique(days):
        today = days == day
        past = (hours.at < hours.at[today][0]) & (hours.at >= hours.at[today][0] - BAND_DAYS * DAY_MS)
        pairs = past[:, None] & ~np.isnan(expected) & ~np.isnan(hours.reported)
        if pairs.sum() < BAND_NEIGHBOURS:
            continue
        size, ratio = np.log(expected[pairs]), hours.reported[pairs] / expected[pairs]
        order = np.argsort(size, kind="stable")
        size, ratio = size[order], ratio[order]
        here = np.searchsorted(size, np.log(np.nan_to_num(expected[today], nan=1.0)))
        first = np.clip(here - BAND_NEIGHBOURS // 2, 0, len(size) - BAND_NEIGHBOURS)
        near = np.lib.stride_tricks.sliding_window_view(ratio, BAND_NEIGHBOURS)[first]
        low[today] = np.quantile(near, tail, axis=-1) * expected[today]
        high[today] = np.quantile(near, 1 - tail, axis=-1) * expected[today]
    return low, high


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0, ties at their mean."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first, last = (np.searchsorted(ordered, ordered, side) for side in ("left", "right"))
    out = np.empty(len(values))
    out[order] = (first + last - 1) / 2
    return out
