"""Calibration of F(P): liquidations reported beyond a span's earlier extreme, compared with F.

From each hour's close, each span has a furthest price on either side, and F gives the liquidations expected up to it.
Of each hour's reports, only the share beyond the span's earlier extreme counts. The rest is churn: positions opened and
liquidated again at already-swept levels, which belong to no level and are shown beside F.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from engine.calibration.hours import Hours
from engine.calibration.tweedie import POWER, deviance, fit
from engine.errors import HistoryError
from engine.liquidation.baseline import Snapshot
from engine.liquidation.curve import band_factors
from engine.liquidation.grid import BIN
from engine.liquidation.prior import FORCED, ForcedPrior
from engine.market import HOUR_MS, SIDES, Side

MIN_DISTANCE = 0.001
"""Shortest move used, log distance: under two levels, rounding matters more than the map."""

DISTANCES = ((MIN_DISTANCE, 0.01), (0.01, 0.03), (0.03, 1.0))
SPANS = (1, 4, 24)
FOLDS = 5
PRIOR_SPREAD = (0.3, 0.2, 0.4)
"""Spread of the coefficients a, g and f around the prior's: standard deviations of their logs."""

STEPS = 25
HELD_OUT_DAYS = 14
MIN_DAYS = 28


@dataclass(frozen=True)
class Moves:
    """Moves of one span, both sides.

    Attributes:
        at: (n,) int64, start of the span, UTC ms.
        short: (n,) bool, upward moves.
        distance: (n,) float64, log distance to the furthest price.
        mass, near: (n,) float64, USD open over the move, and within ten basis points of its start, both scaled by
            Snapshot.weight.
        interest: (n,) float64, open interest, USD, scaled alike.
        forced: (n,) float64, USD reported at newly reached levels.
        churn: (n,) float64, USD reported at levels the span had already swept.
    """

    at: np.ndarray
    short: np.ndarray
    distance: np.ndarray
    mass: np.ndarray
    near: np.ndarray
    interest: np.ndarray
    forced: np.ndarray
    churn: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    def where(self, which: np.ndarray) -> Moves:
        """Return the selected moves."""
        return Moves(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def moves(hours: Hours, snapshots: Sequence[Snapshot], span: int, prior: ForcedPrior = FORCED) -> Moves:
    """Return the moves of every gapless span of `span` hours that begins at a snapshot."""
    by_close = {int(at) + HOUR_MS: i for i, at in enumerate(hours.at)}
    near_levels = round(prior.near_distance / BIN)
    rows = []
    for shot in snapshots:
        first = by_close.get(shot.at)
        if (
            first is None
            or not shot.weight
            or first + span >= len(hours)
            or hours.at[first + span] - hours.at[first] != span * HOUR_MS
        ):
            continue
        later = slice(first + 1, first + span + 1)
        for number, side in enumerate(SIDES):
            distance, forced, churn = _split_by_new_extreme(hours, later, number, shot.mark)
            if distance < MIN_DISTANCE or np.isnan(forced):
                continue
            density = shot.density[side]
            step = -1 if side == "long" else 1
            start = np.floor(np.log(shot.mark) / BIN)
            levels = int(step * (np.floor((np.log(shot.mark) + step * distance) / BIN) - start))
            mass, near = float(density[:levels].sum()), float(density[: min(levels, near_levels)].sum())
            weighed = (shot.weight * value for value in (mass, near, shot.interest_usd))
            rows.append((shot.at, number, distance, *weighed, forced, churn))
    table = np.array(rows, dtype=np.float64).reshape(-1, 8)
    return Moves(table[:, 0].astype(np.int64), table[:, 1] > 0, *table[:, 2:].T)


def churn_usd(hours: Hours, span: int) -> dict[Side, float] | None:
    """Return the churn of the last `span` hours by side: USD reported at levels they had already swept.

    None if an hour is missing or its reports are incomplete.
    """
    first = len(hours) - span
    if first < 1 or hours.at[-1] - hours.at[first] != (span - 1) * HOUR_MS:
        return None
    later = slice(first, len(hours))
    if np.isnan(hours.reported[later]).any():
        return None
    mark = float(hours.before[first])
    return {side: _split_by_new_extreme(hours, later, number, mark)[2] for number, side in enumerate(SIDES)}


def _split_by_new_extreme(hours: Hours, later: slice, side: int, mark: float) -> tuple[float, float, float]:
    """Return the log distance price went, and USD reported beyond earlier extremes and at already-swept levels."""
    step = -1 if side == 0 else 1
    reached = step * np.log((hours.low if side == 0 else hours.high)[later] / mark)
    before = np.concatenate([[0.0], np.maximum.accumulate(np.maximum(reached, 0.0))[:-1]])
    own = np.maximum(step * np.log((hours.low if side == 0 else hours.high)[later] / hours.before[later]), 1e-12)
    fresh = np.clip((reached - before) / own, 0.0, 1.0)
    reported = hours.reported[later, side]
    return float(max(reached.max(), 0.0)), float((fresh * reported).sum()), float(((1 - fresh) * reported).sum())


def expected(of: Moves, prior: ForcedPrior = FORCED) -> np.ndarray:
    """Return F of each move, (n,) float64, USD."""
    held = of.mass + prior.near_boost * np.minimum(of.mass, of.near)
    factor = prior.scale * np.where(of.short, prior.short_factor, prior.long_factor)
    forced: np.ndarray = factor * (held + prior.ground * _ground(of, prior))
    return forced


def _ground(of: Moves, prior: ForcedPrior) -> np.ndarray:
    ground: np.ndarray = of.interest * (of.distance / 0.01) ** prior.ground_power
    return ground


def refit(of: Moves, prior: ForcedPrior = FORCED) -> ForcedPrior:
    """Fit a, g and f to moves, shrunk towards the prior. Return the prior with these three replaced.

    Gauss-Newton on the penalised Tweedie deviance in the logs of the three, with Pearson's dispersion.
    """
    shift, refitted = np.zeros(3), prior
    for _ in range(STEPS):
        refitted = replace(
            prior,
            scale=prior.scale * float(np.exp(shift[0])),
            short_factor=prior.short_factor * float(np.exp(shift[1])),
            ground=prior.ground * float(np.exp(shift[2])),
        )
        mean = expected(of, refitted)
        factor = refitted.scale * np.where(of.short, refitted.short_factor, refitted.long_factor)
        slopes = np.stack([np.ones(len(of)), of.short, factor * refitted.ground * _ground(of, refitted) / mean], axis=1)
        weight = mean ** (2 - POWER)
        residual = (of.forced - mean) / mean
        dispersion = float((weight * residual**2).mean())
        pull = dispersion / np.square(PRIOR_SPREAD)
        left = slopes.T @ (weight[:, None] * slopes) + np.diag(pull)
        step = np.linalg.solve(left, slopes.T @ (weight * residual) - pull * shift)
        shift = shift + np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < 1e-6:
            break
    return refitted


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients for one asset and where they come from.

    Attributes:
        coefficients: fitted, or the prior's if a fit was impossible or did worse on held-out data.
        fitted: True if they are fitted.
        why: reason for the choice, for people.
        start, end: the window fitted on, UTC ms, both 0 for the prior.
        held_out, held_out_prior: mean deviance on the last two weeks, of a fit to earlier data and of the prior.
    """

    coefficients: ForcedPrior
    fitted: bool
    why: str
    start: int = 0
    end: int = 0
    held_out: float | None = None
    held_out_prior: float | None = None


def calibrate_from(hours: Hours, snapshots: Sequence[Snapshot]) -> Calibration:
    """Fit an asset's coefficients to its own hours, one fit for all spans. Return the calibration."""
    by_span = [moves(hours, snapshots, span) for span in SPANS]
    columns = (np.concatenate([getattr(of, name) for of in by_span]) for name in Moves.__dataclass_fields__)
    return calibrate(Moves(*columns))


def calibrate(of: Moves, prior: ForcedPrior = FORCED) -> Calibration:
    """Fit an asset's own coefficients, or keep the prior if a fit does worse on two held-out weeks."""
    if not len(of) or of.at.max() - of.at.min() < MIN_DAYS * 24 * HOUR_MS:
        return Calibration(prior, fitted=False, why="too few days of reports")
    start, end = int(of.at.min()), int(of.at.max())
    cut = end - HELD_OUT_DAYS * 24 * HOUR_MS
    seen, unseen = of.where(of.at < cut - 24 * HOUR_MS), of.where(of.at >= cut)
    if (seen.forced > 0).sum() < 100 or not len(unseen):
        return Calibration(prior, fitted=False, why="too few liquidations to fit to")
    scores = [deviance(expected(unseen, trial), unseen.forced) / len(unseen) for trial in (refit(seen, prior), prior)]
    if not scores[0] <= scores[1]:
        return Calibration(prior, False, "a fit did worse than the shipped coefficients", 0, 0, *scores)
    trial = refit(of, prior)
    if not np.isfinite([trial.scale, trial.short_factor, trial.ground]).all():
        return Calibration(prior, False, "a fit did not settle", 0, 0, *scores)
    return Calibration(trial, True, "fitted to reports", start, end, *scores)


@dataclass(frozen=True, slots=True)
class SpanReport:
    """Skill of F over one span.

    Attributes:
        removed: share of deviance removed from c·d^p per side, by rolling fold, both fitted to earlier data only.
        over: reported over expected, by distance and side, None without moves.
        coverage: share of moves within the 80 % band, by distance and side, None for fewer than twenty moves.
        churn: mean churn per move, USD, by distance and side, None without moves.
        count: moves, by distance and side.
    """

    hours: int
    removed: tuple[float, ...]
    over: dict[str, float | None]
    coverage: dict[str, float | None]
    churn: dict[str, float | None]
    count: dict[str, int]


def report(
    hours: Hours,
    snapshots: Sequence[Snapshot],
    span: int,
    start: int,
    end: int | None = None,
    prior: ForcedPrior = FORCED,
) -> SpanReport:
    """Score F at newly reached levels from start to end, in rolling folds fitted to earlier data only."""
    every = moves(hours, snapshots, span, prior)
    last = end if end is not None else np.iinfo(np.int64).max
    later = every.where((every.at >= start) & (every.at + span * HOUR_MS <= last))
    if not len(later) or not (every.at < start - span * HOUR_MS).any():
        raise HistoryError(f"no moves over {span} h to hold F against, or none before them")
    edges = np.linspace(start, int(later.at.max()) + 1, FOLDS + 1)
    removed, guesses = [], np.full(len(later), np.nan)
    for left, right in pairwise(edges):
        earlier = every.where(every.at < left - span * HOUR_MS)
        which = (later.at >= left) & (later.at < right)
        fold = later.where(which)
        fitted = calibrate(earlier, prior).coefficients
        guesses[which] = expected(fold, fitted)
        removed.append(
            1 - deviance(guesses[which], fold.forced) / deviance(_reference_forecast(earlier, fold), fold.forced)
        )
    low, high = band_factors(later.distance)
    inside = (later.forced >= guesses * low) & (later.forced <= guesses * high)
    over: dict[str, float | None] = {}
    coverage: dict[str, float | None] = {}
    churn: dict[str, float | None] = {}
    count: dict[str, int] = {}
    for nearest, farthest in DISTANCES:
        for number, side in enumerate(SIDES):
            which = (later.distance >= nearest) & (later.distance < farthest) & (later.short == bool(number))
            name = f"{side} {_named(nearest, farthest)}"
            count[name] = int(which.sum())
            enough = count[name] >= 20
            over[name] = float(later.forced[which].sum() / guesses[which].sum()) if count[name] else None
            coverage[name] = float(inside[which].mean()) if enough else None
            churn[name] = float(later.churn[which].mean()) if count[name] else None
    return SpanReport(span, tuple(removed), over, coverage, churn, count)


def _reference_forecast(earlier: Moves, of: Moves) -> np.ndarray:
    """Return the reference forecast c·d^p per side, fitted to earlier moves, (n,) float64, USD."""
    out = np.zeros(len(of))
    for short in (False, True):
        if not earlier.forced[earlier.short == short].any():
            continue  # no reports on that side: predict 0
        mine, theirs = earlier.short == short, of.short == short
        features = np.stack([np.ones(len(earlier)), np.log(earlier.distance)], axis=1)
        regression = fit(features[mine], earlier.forced[mine], np.ones(int(mine.sum())), 0.0)
        out[theirs] = regression.predict(np.stack([np.ones(int(theirs.sum())), np.log(of.distance[theirs])], axis=1))
    return out


def _named(nearest: float, farthest: float) -> str:
    if farthest >= 1:
        return f"over {nearest:.0%}"
    return f"under {farthest:.0%}" if nearest < farthest / 5 else f"{nearest * 100:.0f}-{farthest:.0%}"
