"""What is reported when clusters are swept, against like moves."""

from __future__ import annotations

import numpy as np
import pytest

from engine.history import History
from engine.market import DAY_MS, HOUR_MS
from engine.study.sweeps import SweptMoves, ratio_over, sweep_figures
from tests.conftest import needs_history


def moves_of(days: int, over: float) -> SweptMoves:
    """Ten moves a day on each side whose reports grow with their length; each fifth swept a cluster."""
    rng = np.random.default_rng(1)
    count = days * 20
    length = rng.lognormal(-5, 0.5, count)
    cluster = np.arange(count) % 5 == 0
    reported = 1e9 * length**1.5 * np.where(cluster, over, 1.0) * rng.gamma(4, 0.25, count)
    at = np.arange(count) // 20 * DAY_MS + np.arange(count) % 10 * HOUR_MS
    short = np.arange(count) % 20 >= 10
    return SweptMoves(at, short, length, np.log(rng.uniform(1, 90, count)), reported, cluster, ~cluster)


@pytest.mark.parametrize("over", [1.0, 2.3])
def test_the_ratio_finds_what_was_put_in(over: float) -> None:
    moves = moves_of(60, over)
    found = ratio_over(moves, ~moves.cluster, [np.log(moves.length)])
    low, high = found["middle_90"]
    assert found["ratio"] == pytest.approx(over, rel=0.1)
    assert low < over < high
    assert high / low < 1.6


def test_longer_moves_are_not_taken_for_better_ones() -> None:
    moves = moves_of(60, 1.0)
    longer = np.where(moves.cluster, 3.0, 1.0)
    stretched = SweptMoves(
        moves.at,
        moves.short,
        moves.length * longer,
        moves.untraded,
        moves.reported * longer**1.5,
        moves.cluster,
        moves.placebo,
    )
    plain = stretched.reported[stretched.cluster].mean() / stretched.reported[~stretched.cluster].mean()
    found = ratio_over(stretched, ~stretched.cluster, [np.log(stretched.length)])
    assert plain > 4
    assert found["ratio"] < 1.6


@needs_history
def test_recorded_clusters_beat_equal_moves_and_placebos_do_not(recorded: History) -> None:
    found = sweep_figures(recorded)
    assert found["cluster_sweeps"] > 50
    assert found["over_equal_moves"]["middle_90"][0] > 1
    low, high = found["placebo_over_equal_moves"]["middle_90"]
    assert low < 1 < high
    # May not be said: that a cluster beats a level that has gone untraded for as long.
    assert found["over_equally_untraded"]["middle_90"][0] < 1.05
    assert found["median_usd_untraded_4-12h"] < found["median_usd_untraded_over_120h"]
