"""The tie between the map and what feeds report: one hour ahead, given the hour's own high and low.

ln mu = b · [1, w, w², S, S², wS, wS², m, m², m·w, m of the other side, stir, sin hour, cos hour, short,
             how far beyond each of six past extremes, level]

w is the hour's whole log range over its usual one, S this side's share of it, m the log of what the map held at the
levels reached, stir how restless open interest has been, level how reports have lately run over what was expected.
Everything but the hour's own high and low was known before it opened. Form and first coefficients: a study of four
months of hourly Bitcoin; docs/model.md says what was tried and what each part is worth.
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
"""Log distance added before a logarithm is taken: a tick or two."""

USUAL_RANGE = 0.006
HELD_FLOOR = 0.02
"""Share of the median positive mass that is added before the logarithm."""

EXTREMES = (1, 3, 12, 24, 48, 168)
"""Hours of the past whose extremes tell which prices are fresh."""

STIR_HALF_LIFE = 168.0
LEVEL_HALF_LIFE = 6.0
LEVEL_CALM = 8.0
"""Means of sqrt(mu) with which the level is drawn to nothing."""

WEIGHT_HALF_LIFE = 45 * 24.0
RIDGE = 1e-3
WARM_UP = 24
"""First hours of a history, whose map is still the guess it began with."""

MIN_HOURS = 14 * 24
"""Hours before a fit of one's own: with fewer, or too few reports in them, it is the shipped prior that speaks."""

PRIOR_HOURS = 48
"""Hours before even the prior speaks: it needs to know how much the map usually holds at the levels reached."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the tie is made of; the study it starts from had neither of the last two and a refit a day.

    Attributes:
        refit_hours: how often it is fitted anew.
        extremes: whether it knows how far an hour went beyond each of six past extremes.
        other_side: whether it knows what the map held on the side that was not reached.
    """

    refit_hours: int = 6
    extremes: bool = True
    other_side: bool = True

    def columns(self, count: int) -> np.ndarray:
        """Which of so many columns it uses, (count,) bool."""
        used = np.ones(count, dtype=bool)
        used[FIXED : FIXED + len(EXTREMES)] = self.extremes
        used[FIXED + len(EXTREMES) + 3] = self.other_side
        return used


FORM = Form()
FIXED = 11
"""Columns before those of past extremes; after these come three of this side's mass and one of the other's."""


@dataclass(frozen=True)
class Walk:
    """Predictions made hour by hour, each from what was known before.

    Attributes:
        expected: (n, 2) float64, USD, long and short; NaN before there was enough to fit on.
        level: (n,) float64, the online level as it stood before each hour.
        fits: the fit that made the last prediction, None where there was none.
    """

    expected: np.ndarray
    level: np.ndarray
    last: Fit | None


def walk_forward(hours: Hours, form: Form = FORM) -> Walk:
    """Predict every hour from the ones before it.

    Two passes, as the level is measured against predictions that knew nothing of it: the first without, the second
    with. Each hour's prediction uses reports of earlier hours only.
    """
    first = MIN_HOURS
    count = len(hours)
    bare = _walk(hours, np.zeros((count, 0)), first, WARM_UP, form)
    unknown = np.isnan(bare.expected)
    bare.expected[unknown] = by_prior(hours)[unknown]
    level = online_level(hours, bare.expected)
    start = first + 2 * 24
    return Walk(_second(hours, bare, level, start, form).expected, level, bare.last)


def _second(hours: Hours, bare: Walk, level: np.ndarray, start: int, form: Form) -> Walk:
    walked = _walk(hours, level[:, None], start, MIN_HOURS, form)
    # Until the level has been followed for two days, what was said without it stands.
    early = np.isnan(walked.expected) & ~np.isnan(bare.expected)
    walked.expected[early] = bare.expected[early]
    return walked


def _walk(hours: Hours, extra: np.ndarray, first: int, skip: int, form: Form) -> Walk:
    count = len(hours)
    expected, made = np.full((count, 2), np.nan), None
    fixed = _fixed(hours)
    for start in range(first, count, form.refit_hours):
        stop = min(start + form.refit_hours, count)
        features = _with_mass(fixed[:stop], hours.reached[:stop], start, extra[:stop])
        features = features[:, :, form.columns(features.shape[2])]
        made = _fit(features[:start], hours.reported[:start], skip, made)
        if made is not None:
            expected[start:stop] = made.predict(features[start:stop])
    return Walk(expected, np.zeros(count), made)


def fit_prior(hours: Hours) -> HourlyPrior:
    """Coefficients to ship: the bare tie fitted to all of an asset's hours.

    Raises:
        HistoryError: when there are too few reports to fit to.
    """
    count = len(hours)
    features = _with_mass(_fixed(hours), hours.reached, count, np.zeros((count, 0)))
    made = _fit(features, hours.reported, WARM_UP, None)
    if made is None:
        raise HistoryError("too few reports to fit a prior to")
    return HourlyPrior(
        int(hours.at[-1]) + HOUR_MS, _held_scale(hours.reached, count)[1], tuple(map(float, made.coefficients))
    )


def by_prior(hours: Hours, prior: HourlyPrior = TIE) -> np.ndarray:
    """What the shipped coefficients predict, (n, 2) float64, USD: where there are too few reports of one's own.

    They are scaled by how much more or less the map holds here than where they were fitted. NaN for the first two days,
    and for hours that the coefficients have seen.
    """
    count = len(hours)
    expected = np.full((count, 2), np.nan)
    fixed = _fixed(hours)
    coefficients = np.array(prior.coefficients)
    for start in range(PRIOR_HOURS, count, FORM.refit_hours):
        stop = min(start + FORM.refit_hours, count)
        features = _with_mass(fixed[:stop], hours.reached[:stop], start, np.zeros((stop, 0)))[start:]
        here = _held_scale(hours.reached, start)[1] - prior.mean_log_held
        made = Fit(coefficients, np.zeros(0), np.zeros(0))
        expected[start:stop] = made.predict(features) * np.exp(here)
    expected[hours.at < prior.until] = np.nan
    return expected


def _fit(features: np.ndarray, reported: np.ndarray, skip: int, before: Fit | None) -> Fit | None:
    """A fit on rows that have a report, the younger the heavier; None where there are too few."""
    count, _, width = features.shape
    weights = 0.5 ** ((count - np.arange(count)) / WEIGHT_HALF_LIFE)
    weights[:skip] = 0.0
    rows = np.repeat(weights, 2)
    seen = reported.ravel()
    known = ~np.isnan(seen) & (rows > 0)
    if known.sum() < 2 * 24 * 10 or not seen[known].any():
        return None
    return fit(features.reshape(-1, width)[known], seen[known], rows[known], RIDGE, before)


def _fixed(hours: Hours) -> np.ndarray:
    """(n, 2, k) float64: the features that need no history of the map."""
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


def _with_mass(fixed: np.ndarray, reached: np.ndarray, known: int, extra: np.ndarray) -> np.ndarray:
    """The features with what the map held, measured against the rows before `known`."""
    floor, mean = _held_scale(reached, known)
    m = np.log(reached + floor) - mean
    w = fixed[:, :, 1]
    mass = np.stack([m, m**2, m * w, m[:, ::-1]], axis=2)
    return np.concatenate([fixed, mass, np.repeat(extra[:, None, :], 2, axis=1)], axis=2)


def _held_scale(reached: np.ndarray, known: int) -> tuple[float, float]:
    """From the rows before `known`: what is added to what the map held before its logarithm, and that one's mean."""
    past = reached[WARM_UP:known]
    positive = past[past > 0]
    floor = HELD_FLOOR * float(np.median(positive)) if len(positive) else 1.0
    return floor, float(np.log(past + floor).mean())


def online_level(hours: Hours, expected: np.ndarray) -> np.ndarray:
    """How reports have lately run over what was expected, (n,) float64, as known before each hour.

    ln((A + k) / (B + k)), A and B sums over past hours and both sides of 0.5^(age / 6 h) times y / sqrt(mu) and
    sqrt(mu), k eight means of sqrt(mu).
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
    """Exponentially weighted mean of the values before each, (n,) float64; 0 before the first, NaN values left out."""
    out = np.zeros(len(values))
    fade, total, weight = 0.5 ** (1 / half_life), 0.0, 0.0
    for i, value in enumerate(values):
        out[i] = total / weight if weight else 0.0
        total, weight = total * fade, weight * fade
        if not np.isnan(value):
            total, weight = total + value, weight + 1.0
    return out


def beyond(hours: Hours, bars: int) -> np.ndarray:
    """Log distance by which each hour went past the extreme of those before it, (n, 2) float64, 0 where it did not."""
    out = np.zeros((len(hours), 2))
    low, high = np.log(hours.low), np.log(hours.high)
    out[1:, 0] = _running(-low, bars)
    out[1:, 1] = _running(high, bars)
    return np.maximum(out, 0.0)


def _running(values: np.ndarray, bars: int) -> np.ndarray:
    """Each value from the second on, less the largest of up to so many before it."""
    padded = np.concatenate([np.full(bars - 1, -np.inf), values[:-1]])
    most = np.lib.stride_tricks.sliding_window_view(padded, bars).max(axis=1)
    difference: np.ndarray = values[1:] - most
    return difference


def _both(column: np.ndarray) -> np.ndarray:
    return np.repeat(column[:, None], 2, axis=1)
