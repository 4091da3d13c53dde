"""Liquidations reported when clusters are swept, compared with similar moves."""

from __future__ import annotations

import numpy as np
import pytest

from engine.history import History
from engine.market import DAY_MS, HOUR_MS
from engine.study.sweeps import SweptMoves, ratio_over, sweep_figures
from tests.conftest import needs_history


def moves_of(days: int, over: float) -> SweptMoves:
    """Return ten moves a day on each side, with reports that grow with length. Every fifth swept a cluster."""
    rng = np.random.default_rng(1)
    count = days * 20
    length = rng.lognormal(-5, 0.5, count)
    cluster = np.arange(count) % 5 == 0
    reported = 1e9 * length**1.5 * np.where(cluster, over, 1.0) * rng.gamma(4, 0.25, count)
    at = np.arange(count) // 20 * DAY_MS + np.arange(count) % 10 * HOUR_MS
    short = np.arange(count) % 20 >= 10
    return SweptMoves(at, short, length, np.log(rng.uniform(1, 90, count)), reported, cluster, ~cluster)


@pytest.mark.parametrize("over", [1.0, 2.3])
def test_the_ratio_recovers_the_input(over: float) -> None:
    moves = moves_of(60, over)
    figures = ratio_over(moves, ~moves.cluster, [np.log(moves.length)])
    low, high = figures["middle_90"]
    assert figures["ratio"] == pytest.approx(over, rel=0.1)
    assert low < over < high
    assert high / low < 1.6


def test_longer_moves_do_not_raise_the_ratio_much() -> None:
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
    figures = ratio_over(stretched, ~stretched.cluster, [np.log(stretched.length)])
    assert plain > 4
    assert figures["ratio"] < 1.6


@needs_history
def test_recorded_clusters_beat_equal_moves_and_placebos_do_not(recorded: History) -> None:
    figures = sweep_figures(recorded)
    assert figures["cluster_sweeps"] > 50
    assert figures["over_equal_moves"]["middle_90"][0] > 1
    low, high = figures["placebo_over_equal_moves"]["middle_90"]
    assert low < 1 < high
    # We may not claim that a cluster beats a level that has been untraded for as long.
    assert figures["over_equally_untraded"]["middle_90"][0] < 1.05
    assert figures["median_usd_untraded_4-12h"] < figures["median_usd_untraded_over_120h"]
