"""Skill: share of deviance removed against references, coverage of the bands, and F at fresh levels."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.calibration.coefficients import Moves, calibrate, churn_usd, expected, moves, refit
from engine.calibration.hourly_model import MIN_HOURS
from engine.calibration.skill import bands, score
from engine.errors import HistoryError
from engine.history import History, parse_time
from engine.liquidation.baseline import DENSITY_LEVELS, Snapshot
from engine.liquidation.prior import FORCED
from engine.market import DAY_MS, HOUR_MS, SIDES, Side
from engine.study.skill import Walked, skill_figures, span_figures, walk_history, write_predictions
from tests.conftest import HISTORY, RECORDED, needs_history
from tests.engine.calibration.test_hourly_model import START, made_up


def test_a_perfect_forecast_scores_one_and_a_tenfold_one_below_zero() -> None:
    hours = made_up(count=MIN_HOURS + 24 * 20)
    start = int(hours.at[MIN_HOURS + 48])
    perfect = score(hours, np.maximum(hours.reported, 1e3), start)
    assert perfect.d2 == pytest.approx(1, abs=2e-3)
    assert perfect.bias == pytest.approx(1, abs=1e-3)
    assert perfect.spearman == pytest.approx(1, abs=1e-3)
    tenfold = score(hours, hours.reported * 10 + 1e3, start)
    assert tenfold.d2 < 0
    assert tenfold.d2_scaled > 0.99


def test_a_score_needs_enough_predictions() -> None:
    hours = made_up()
    with pytest.raises(HistoryError, match="two weeks"):
        score(hours, hours.reported, int(hours.at[20]))
    missing = hours.reported.copy()
    missing[-5] = np.nan
    with pytest.raises(HistoryError, match="1 hours have no prediction"):
        score(hours, missing, int(hours.at[MIN_HOURS + 5]))


def test_bands_cover_four_in_five_and_use_only_the_past() -> None:
    hours = made_up(count=MIN_HOURS + 24 * 20)
    guess = np.maximum(hours.reached * 0.05, 1e4)
    low, high = bands(hours, guess)
    has_band = ~np.isnan(low)
    assert 0.7 < ((hours.reported >= low) & (hours.reported <= high))[has_band].mean() < 0.9
    later = replace(hours, reported=hours.reported.copy())
    later.reported[400:] *= 9
    again, _ = bands(later, guess)
    assert np.array_equal(low[:400], again[:400], equal_nan=True)


def some_moves(count: int = 3000, days: float = 60.0) -> Moves:
    rng = np.random.default_rng(2)
    distance = 0.001 + 0.02 * rng.random(count)
    at = np.sort(START + (days * DAY_MS * rng.random(count)).astype(np.int64))
    mass = 2e8 * distance / 0.01 * rng.gamma(2.0, 0.5, count)
    made = Moves(
        at, rng.random(count) < 0.5, distance, mass, mass * 0.02, np.full(count, 7e9), np.zeros(count), np.zeros(count)
    )
    return replace(made, forced=expected(made) * rng.gamma(3.0, 1 / 3, count))


def test_a_refit_finds_the_level_and_stays_near_the_prior() -> None:
    of = some_moves()
    twice = replace(of, forced=of.forced * 2)
    made = refit(twice)
    assert made.scale / FORCED.scale == pytest.approx(2, rel=0.15)
    assert made.near_boost == FORCED.near_boost
    few = refit(twice.where(np.arange(len(twice)) < 5))
    assert 1 < few.scale / FORCED.scale < made.scale / FORCED.scale


@pytest.mark.parametrize(
    ("of", "fitted", "why"),
    [
        (replace(some_moves(), forced=some_moves().forced * 3), True, "fitted to reports"),
        (some_moves(days=20.0), False, "too few days of reports"),
        (replace(some_moves(), forced=np.zeros(3000)), False, "too few liquidations to fit to"),
        (some_moves(90), False, "too few liquidations to fit to"),
    ],
)
def test_a_calibration_states_its_basis(of: Moves, fitted: bool, why: str) -> None:
    made = calibrate(of)
    assert (made.fitted, made.why) == (fitted, why)
    if not fitted:
        assert made.coefficients == FORCED


def test_a_fit_that_does_worse_on_held_out_data_is_rejected() -> None:
    of = some_moves()
    early = of.at < of.at.max() - 15 * DAY_MS
    made = calibrate(replace(of, forced=np.where(early, of.forced * 4, of.forced)))
    assert not made.fitted
    assert made.coefficients == FORCED
    assert made.held_out is not None
    assert made.held_out_prior is not None
    assert made.held_out > made.held_out_prior


EVEN: dict[Side, np.ndarray] = {side: np.full(DENSITY_LEVELS, 1e5, dtype=np.float32) for side in SIDES}


def test_only_new_levels_count() -> None:
    hours = made_up()
    table = replace(
        hours,
        before=np.full(len(hours.at), 100.0),
        high=np.full(len(hours.at), 100.0),
        low=np.full(len(hours.at), 99.0),
        reported=np.tile([1e6, 0.0], (len(hours.at), 1)),
    )
    table.low[101] = 98.0
    shot = Snapshot(int(hours.at[99]) + HOUR_MS, 100.0, 7e9, 1.0, EVEN)
    (move,) = [m for m in (moves(table, [shot], 3),) if len(m) == 1]
    # The first hour is all fresh levels, the second about half, the third none.
    fresh = np.log(99 / 98) / np.log(100 / 98)
    assert move.forced[0] == pytest.approx(1e6 + 1e6 * fresh)
    assert move.distance[0] == pytest.approx(np.log(100 / 98))
    assert move.mass[0] == pytest.approx(1e5 * round(np.log(100 / 98) / 0.0005), rel=0.03)


def test_reports_at_swept_levels_are_churn_and_both_add_up() -> None:
    hours = made_up()
    churn = churn_usd(hours, 24)
    assert churn is not None
    shot = Snapshot(int(hours.at[-25]) + HOUR_MS, float(hours.before[-24]), 7e9, 1.0, EVEN)
    of = moves(hours, [shot], 24)
    assert len(of)
    for row, short in enumerate(of.short):
        whole = hours.reported[-24:, int(short)].sum()
        assert of.forced[row] + of.churn[row] == pytest.approx(whole)
        assert of.churn[row] == pytest.approx(churn[SIDES[int(short)]])
        assert 0 < of.churn[row] < whole
    deaf = replace(hours, reported=hours.reported.copy())
    deaf.reported[-3] = np.nan
    assert churn_usd(deaf, 24) is None
    gap = replace(hours, at=hours.at.copy())
    gap.at[-5:] += HOUR_MS
    assert churn_usd(gap, 24) is None
    assert churn_usd(gap, 5) is not None


@pytest.fixture(scope="module")
def walked(recorded: History) -> Walked:
    return walk_history(recorded)


@needs_history
@pytest.mark.parametrize(
    ("start", "end", "d2", "d2_path"),
    [("2026-02-01", "2026-03-01", 0.47, 0.24), ("2026-03-01", None, 0.43, 0.16)],
)
def test_skill_meets_its_targets(walked: Walked, start: str, end: str | None, d2: float, d2_path: float) -> None:
    figures = skill_figures(walked, parse_time(start), parse_time(end) if end else None)
    assert figures["d2"] >= d2
    assert figures["d2_path"] >= d2_path
    assert 0.7 <= figures["coverage"] <= 0.9


@needs_history
def test_our_score_matches_the_scripts(walked: Walked, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    write_predictions(walked, out)
    with out.open(encoding="utf-8") as handle:
        assert next(csv.reader(handle)) == ["time", "long_usd", "short_usd"]
    script = [sys.executable, str(RECORDED / "skill" / "score.py"), "--history", str(HISTORY)]
    options = ["--predictions", str(out), "--from", "2026-03-01T00:00:00Z"]
    run = subprocess.run([*script, *options], capture_output=True, text=True, check=True)
    theirs = json.loads(run.stdout)
    ours = skill_figures(walked, parse_time("2026-03-01"), None)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=0.002), name


@needs_history
def test_forced_usd_beats_distance_on_every_span(walked: Walked) -> None:
    rows = span_figures(walked, (1, 4, 24), parse_time("2026-01-03"))
    for row, least in zip(rows, (0.35, 0.46, 0.43), strict=True):
        assert row["deviance_removed"] >= least
        for name, share in row["coverage"].items():
            if not name.endswith("over 3%"):
                assert 0.7 <= share <= 0.9, name


def test_the_bands_of_a_day_do_not_change_with_that_days_reports() -> None:
    hours = made_up(count=MIN_HOURS + 24 * 20)
    guess = np.maximum(hours.reached * 0.05, 1e4)
    days = hours.at // DAY_MS
    today = days == days[-1] - 2
    before = bands(hours, guess)
    assert not np.isnan(before[0][today]).any()
    for factor in (0.0, 9.0):
        changed = replace(hours, reported=hours.reported.copy())
        changed.reported[today] *= factor
        after = bands(changed, guess)
        assert np.array_equal(before[0][today], after[0][today])
        assert np.array_equal(before[1][today], after[1][today])
