"""Hourly model: expected reported liquidations in an hour, given that hour's high and low.

ln mu = b · [1, w, w², S, S², wS, wS², m, m², m·w, m of the other side, stir, sin hour, cos hour, short,
             how far beyond each of six past extremes, level]

w is the hour's log range relative to a typical one, S this side's share of it, m the log of USD on the map at levels
reached, stir the recent variation of open interest, level the recent ratio of reported to expected liquidations.
All inputs except the hour's own high and low are available before it opens. Form and first coefficients come from a
study of four months of hourly Bitcoin; docs/model.md lists the variants tried and the worth of each part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.calibration.hours import Hours
from engine.calibration.tweedie import Fit, fit
from engine.errors import HistoryError
from engine.liquidation.prior import TIE, HourlyPrior
from engine.market import HOUR_MS

SMALL = 3e-4
"""Log distance added before taking a logarithm: a tick or two."""

USUAL_RANGE = 0.006
HELD_FLOOR = 0.02
"""Share of the median positive USD that is added before taking a logarithm."""

EXTREMES = (1, 3, 12, 24, 48, 168)
"""Look-backs, in hours, whose extremes separate fresh prices from revisited ones."""

STIR_HALF_LIFE = 168.0
LEVEL_HALF_LIFE = 6.0
LEVEL_CALM = 8.0
"""Shrinkage of the level towards 0, in means of sqrt(mu)."""

WEIGHT_HALF_LIFE = 45 * 24.0
RIDGE = 1e-3
WARM_UP = 24
"""Hours left out at the start of a history, while the map is still the initial guess."""

MIN_HOURS = 14 * 24
"""Minimum history, in hours, for an asset's own fit. With less, or too few reports, the shipped prior is used."""

PRIOR_HOURS = 48
"""Minimum history, in hours, for the shipped prior, which is scaled by typical USD at the levels reached."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Options of the hourly model. The original study used neither of the last two and refitted daily.

    Attributes:
        refit_hours: hours between refits.
        extremes: use how far an hour went beyond each of six past extremes.
        other_side: use the USD on the map at the levels reached on the other side.
    """

    refit_hours: int = 6
    extremes: bool = True
    other_side: bool = True

    def columns(self, count: int) -> np.ndarray:
        """Return which of `count` feature columns are used, (count,) bool."""
        used = np.ones(count, dtype=bool)
        used[FIXED : FIXED + len(EXTREMES)] = self.extremes
        used[FIXED + len(EXTREMES) + 3] = self.other_side
        return used


FORM = ModelSpec()
FIXED = 11
"""Columns before those of past extremes. Three of this side's USD and one of the other side's follow."""


@dataclass(frozen=True)
class Walk:
    """Predictions made hour by hour, each from earlier hours only.

    Attributes:
        expected: (n, 2) float64, USD, long and short, NaN while there is too little to fit.
        level: (n,) float64, the online level before each hour.
        last: the latest fit without the level, or None.
    """

    expected: np.ndarray
    level: np.ndarray
    last: Fit | None


def walk_forward(hours: Hours, form: ModelSpec = FORM) -> Walk:
    """Predict every hour from earlier hours only. Return the predictions.

    Two passes, because the level compares reports with predictions made without it: the first pass leaves it out, the
    second includes it.
    """
    first = MIN_HOURS
    count = len(hours)
    bare = _walk(hours, np.zeros((count, 0)), first, WARM_UP, form)
    unknown = np.isnan(bare.expected)
    bare.expected[unknown] = predict_from_prior(hours)[unknown]
    level = online_level(hours, bare.expected)
    start = first + 2 * 24
    return Walk(_second(hours, bare, level, start, form).expected, level, bare.last)


def _second(hours: Hours, bare: Walk, level: np.ndarray, start: int, form: ModelSpec) -> Walk:
    walked = _walk(hours, level[:, None], start, MIN_HOURS, form)
    # Until the level has run for two days, use predictions without it.
    early = np.isnan(walked.expected) & ~np.isnan(bare.expected)
    walked.expected[early] = bare.expected[early]
    return walked


def _walk(hours: Hours, extra: np.ndarray, first: int, skip: int, form: ModelSpec) -> Walk:
    count = len(hours)
    expected, model = np.full((count, 2), np.nan), None
    fixed = _fixed(hours)
    for start in range(first, count, form.refit_hours):
        stop = min(start + form.refit_hours, count)
        features = _with_mass(fixed[:stop], hours.reached[:stop], start, extra[:stop])
        features = features[:, :, form.columns(features.shape[2])]
        model = _fit(features[:start], hours.reported[:start], skip, model)
        if model is not None:
            expected[start:stop] = model.predict(features[start:stop])
    return Walk(expected, np.zeros(count), model)


def fit_prior(hours: Hours) -> HourlyPrior:
    """Fit the hourly model without its level to all of an asset's hours. Return the coefficients to ship.

    Raises:
        HistoryError: when there are too few reports to fit to.
    """
    count = len(hours)
    features = _with_mass(_fixed(hours), hours.reached, count, np.zeros((count, 0)))
    model = _fit(features, hours.reported, WARM_UP, None)
    if model is None:
        raise HistoryError("too few reports to fit a prior to")
    return HourlyPrior(
        int(hours.at[-1]) + HOUR_MS, _held_scale(hours.reached, count)[1], tuple(map(float, model.coefficients))
    )


def predict_from_prior(hours: Hours, prior: HourlyPrior = TIE) -> np.ndarray:
    """Return predictions of the shipped coefficients, (n, 2) float64, USD, for assets with too few reports.

    They are scaled by the USD on the map relative to the data they were fitted on. NaN for the first two days and for
    hours within the fitted period.
    """
    count = len(hours)
    expected = np.full((count, 2), np.nan)
    fixed = _fixed(hours)
    coefficients = np.array(prior.coefficients)
    for start in range(PRIOR_HOURS, count, FORM.refit_hours):
        stop = min(start + FORM.refit_hours, count)
        features = _with_mass(fixed[:stop], hours.reached[:stop], start, np.zeros((stop, 0)))[start:]
        here = _held_scale(hours.reached, start)[1] - prior.mean_log_held
        model = Fit(coefficients, np.zeros(0), np.zeros(0))
        expected[start:stop] = model.predict(features) * np.exp(here)
    expected[hours.at < prior.until] = np.nan
    return expected


def _fit(features: np.ndarray, reported: np.ndarray, skip: int, before: Fit | None) -> Fit | None:
    """Fit to hours with a report, weighting recent ones more. Return the fit, or None if there are too few."""
    count, _, width = features.shape
    weights = 0.5 ** ((count - np.arange(count)) / WEIGHT_HALF_LIFE)
    weights[:skip] = 0.0
    rows = np.repeat(weights, 2)
    seen = reported.ravel()
    usable = ~np.isnan(seen) & (rows > 0)
    if usable.sum() < 2 * 24 * 10 or not seen[usable].any():
        return None
    return fit(features.reshape(-1, width)[usable], seen[usable], rows[usable], RIDGE, before)


def _fixed(hours: Hours) -> np.ndarray:
    """Return the features that do not depend on the map, (n, 2, k) float64."""
    swept = hours.swept
    whole = swept.sum(axis=1)
    w = np.log(whole + SMALL) - np.log(USUAL_RANGE)
    share = swept / (whole[:, None] + 1e-9)
    angle = (hours.at // HOUR_MS % 24) * np.pi / 12
    stir = past_mean(hours.stir, STIR_HALF_LIFE)
    ones = np.ones_like(share)
    columns = [
        ones,
        _both(w),
        _both(w**2),
        share,
        share**2,
        share * w[:, None],
        share**2 * w[:, None],
        _both(stir),
        _both(np.sin(angle)),
        _both(np.cos(angle)),
        ones * np.array([0.0, 1.0]),
        *(np.log(beyond(hours, bars) + SMALL) for bars in EXTREMES),
    ]
    return np.stack(columns, axis=2)


def _with_mass(fixed: np.ndarray, reached: np.ndarray, cutoff: int, extra: np.ndarray) -> np.ndarray:
    """Return the features plus those of USD on the map, relative to the rows before `cutoff`."""
    floor, mean = _held_scale(reached, cutoff)
    m = np.log(reached + floor) - mean
    w = fixed[:, :, 1]
    mass = np.stack([m, m**2, m * w, m[:, ::-1]], axis=2)
    return np.concatenate([fixed, mass, np.repeat(extra[:, None, :], 2, axis=1)], axis=2)


def _held_scale(reached: np.ndarray, cutoff: int) -> tuple[float, float]:
    """Return the floor added to USD before its logarithm, and the mean log, from the rows before `cutoff`."""
    past = reached[WARM_UP:cutoff]
    positive = past[past > 0]
    floor = HELD_FLOOR * float(np.median(positive)) if len(positive) else 1.0
    return floor, float(np.log(past + floor).mean())


def online_level(hours: Hours, expected: np.ndarray) -> np.ndarray:
    """Return the recent log ratio of reported to expected, (n,) float64, as available before each hour.

    ln((A + k) / (B + k)), where A and B are sums over past hours and both sides of 0.5^(age / 6 h) times y / sqrt(mu)
    and sqrt(mu), and k is eight means of sqrt(mu).
    """
    level = np.zeros(len(hours))
    fade = 0.5 ** (1 / LEVEL_HALF_LIFE)
    over = under = total = 0.0
    count = 0
    for t in range(len(hours)):
        if np.isnan(expected[t]).any():
            continue
        root = np.sqrt(expected[t])
        calm = LEVEL_CALM * (total / count if count else float(root.mean()))
        level[t] = np.log((over + calm) / (under + calm))
        over, under = over * fade, under * fade
        if not np.isnan(hours.reported[t]).any():
            over += float((hours.reported[t] / root).sum())
            under += float(root.sum())
        total += float(root.sum())
        count += 2
    return level


def past_mean(values: np.ndarray, half_life: float) -> np.ndarray:
    """Return the exponentially weighted mean of earlier values, skipping NaN, (n,) float64, 0 for the first."""
    out = np.zeros(len(values))
    fade, total, weight = 0.5 ** (1 / half_life), 0.0, 0.0
    for i, value in enumerate(values):
        out[i] = total / weight if weight else 0.0
        total, weight = total * fade, weight * fade
        if not np.isnan(value):
            total, weight = total + value, weight + 1.0
    return out


def beyond(hours: Hours, bars: int) -> np.ndarray:
    """Return the log distance by which each hour exceeded the extreme of the previous `bars`, (n, 2) float64."""
    out = np.zeros((len(hours), 2))
    low, high = np.log(hours.low), np.log(hours.high)
    out[1:, 0] = _running(-low, bars)
    out[1:, 1] = _running(high, bars)
    return np.maximum(out, 0.0)


def _running(values: np.ndarray, bars: int) -> np.ndarray:
    """Return each value from the second on, minus the largest of up to `bars` values before it."""
    padded = np.concatenate([np.full(bars - 1, -np.inf), values[:-1]])
    most = np.lib.stride_tricks.sliding_window_view(padded, bars).max(axis=1)
    difference: np.ndarray = values[1:] - most
    return difference


def _both(column: np.ndarray) -> np.ndarray:
    return np.repeat(column[:, None], 2, axis=1)
