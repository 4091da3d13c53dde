"""Clusters: detected by unusual density, matched by overlap, swept by share, faded when no longer detected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.liquidation.clusters import FADE_MS, FOLLOWED_MS, ClusterTracker
from engine.liquidation.grid import BIN, WINDOW, bin_of, outward
from engine.liquidation.peaks import find_peaks
from engine.liquidation.view import MapView
from engine.market import HOUR_MS, Side

MARK = 90_000.0


def density(*bumps: tuple[float, float], base: float = 1e6) -> np.ndarray:
    """Return USD by level: a flat floor with bumps, each a log distance and a height."""
    distance = np.arange(WINDOW) * BIN
    usd = np.full(WINDOW, base)
    for centre, height in bumps:
        usd += height * np.exp(-0.5 * ((distance - centre) / 0.0015) ** 2)
    return usd


def view(mass: np.ndarray, at: int = 0, mark: float = MARK, side: Side = "long") -> MapView:
    other: Side = "short" if side == "long" else "long"
    return MapView("BTC", at, mark, {side: {"v": mass}, other: {"v": np.zeros(WINDOW)}}, {"v": 8e9})


def tracked(mass: np.ndarray) -> ClusterTracker:
    tracker = ClusterTracker("BTC")
    tracker.detect(view(mass), {})
    tracker.measure(view(mass), 0.01)
    return tracker


def price_at(distance: float) -> float:
    return MARK * math.exp(-distance)


def test_a_bump_is_one_peak_and_a_flat_map_has_none() -> None:
    flat = density()
    assert find_peaks(flat[:400], flat[:400]) == []
    peaks = find_peaks(density((0.03, 5e6))[:400], flat[:400])
    assert len(peaks) == 1
    assert abs(peaks[0].peak - 60) <= 2
    assert 4 <= peaks[0].last - peaks[0].first + 1 <= 12


def test_density_is_compared_with_its_baseline() -> None:
    shape = density((0.03, 5e6))
    assert find_peaks(shape[:400], density((0.03, 30e6))[:400]) != find_peaks(shape[:400], density()[:400])


def test_two_bumps_are_two_clusters_that_do_not_overlap() -> None:
    live = tracked(density((0.02, 4e6), (0.05, 6e6))).live
    assert len(live) == 2
    assert live[0].last < live[1].first
    assert live[0].forced_usd > 0
    assert live[0].forced_low_usd < live[0].forced_usd < live[0].forced_high_usd


def test_identity_survives_growth_and_the_label_is_frozen() -> None:
    tracker = tracked(density((0.03, 5e6)))
    (before,) = tracker.live
    tracker.detect(view(density((0.0315, 7e6)), HOUR_MS), {})
    (after,) = tracker.live
    assert after.id == before.id
    assert after.peak != before.peak
    assert after.label_price == before.label_price
    assert tracker.born == 1


def test_identity_survives_a_gradual_shift_and_the_label_follows_late() -> None:
    tracker = tracked(density((0.03, 5e6)))
    (first,) = tracker.live
    for hour in range(1, 11):
        tracker.detect(view(density((0.03 + 0.0005 * hour, 5e6)), hour * HOUR_MS), {})
        (after,) = tracker.live
        assert after.low <= after.label_price <= after.high
    assert after.id == first.id
    assert tracker.born == 1
    assert tracker.relabelled == 2  # only when the label no longer fits, not at each of ten steps
    assert after.label_price < first.label_price


def test_when_one_splits_the_larger_share_keeps_the_id() -> None:
    tracker = tracked(density((0.030, 5e6), (0.0325, 4e6)))
    (whole,) = tracker.live
    tracker.detect(view(density((0.0295, 7e6), (0.038, 6e6)), HOUR_MS), {})
    nearer, farther = tracker.live
    assert nearer.id == whole.id
    assert farther.id != whole.id
    assert nearer.last < farther.first
    assert tracker.born == 2


def test_when_two_merge_one_stays_and_the_other_fades() -> None:
    tracker = tracked(density((0.028, 5e6), (0.036, 5e6)))
    nearer, farther = tracker.live
    merged = density((0.030, 8e6))
    tracker.detect(view(merged, HOUR_MS), {})
    assert {cluster.id for cluster in tracker.live} == {nearer.id, farther.id}
    for hour in range(2, 9):
        tracker.detect(view(merged, hour * HOUR_MS), {})
    (left,) = tracker.live
    assert left.id == nearer.id
    assert tracker.born == 2


def test_it_fades_after_six_hours() -> None:
    tracker = tracked(density((0.03, 5e6)))
    for hour in range(1, FADE_MS // HOUR_MS + 1):
        assert tracker.live
        tracker.detect(view(density(), hour * HOUR_MS), {})
    assert not tracker.live


def faded_after(tracker: ClusterTracker, mass: np.ndarray, until: int = FADE_MS) -> int:
    for at in range(HOUR_MS, until + 1, HOUR_MS):
        tracker.detect(view(mass, at), {})
    return until


def test_a_faded_cluster_is_tracked_for_a_day_and_swept() -> None:
    tracker = tracked(density((0.03, 5e6)))
    (before,) = tracker.live
    faded_after(tracker, density())
    assert [c.id for c in tracker.faded] == [before.id]
    again = ClusterTracker.restore("BTC", tracker.snapshot())
    marks = again.follow([price_at(0.01), price_at(0.06)], view(density()))
    assert [(mark.kind, mark.cluster.id) for mark in marks] == [("entered", before.id), ("swept", before.id)]
    assert not again.faded
    faded_after(tracker, density(), FADE_MS + FOLLOWED_MS)
    assert not tracker.faded
    assert tracker.follow([price_at(0.01), price_at(0.06)], view(density())) == []


def test_a_new_cluster_succeeds_a_faded_one() -> None:
    tracker = tracked(density((0.03, 5e6)))
    (before,) = tracker.live
    at = faded_after(tracker, density())
    assert tracker.take_successors() == {}
    tracker.detect(view(density((0.031, 5e6)), at + HOUR_MS), {})
    (after,) = tracker.live
    assert after.id != before.id
    assert not tracker.faded
    assert ClusterTracker.restore("BTC", tracker.snapshot()).take_successors() == {before.id: after.id}
    assert tracker.take_successors() == {before.id: after.id}
    assert tracker.take_successors() == {}


def test_passing_through_is_entered_then_swept_once() -> None:
    mass = density((0.03, 5e6))
    tracker = tracked(mass)
    kinds = [mark.kind for mark in tracker.follow([price_at(0.01), price_at(0.029), price_at(0.06)], view(mass))]
    assert kinds == ["entered", "swept"]
    assert tracker.follow([price_at(0.01), price_at(0.06)], view(mass)) == []


def test_sweeping_adds_up_over_ticks() -> None:
    mass = density((0.03, 5e6))
    tracker = tracked(mass)
    (cluster,) = tracker.live
    kinds: list[str] = []
    for level in range(cluster.first, cluster.last + 1):
        price = math.exp((outward("long", level) + 0.5) * BIN)
        kinds += [mark.kind for mark in tracker.follow([price], view(mass))]
    assert kinds == ["entered", "swept"]


def test_in_and_out_is_a_wick_and_clears_entry() -> None:
    mass = density((0.03, 5e6))
    tracker = tracked(mass)
    (cluster,) = tracker.live
    inside = cluster.near_price * 0.9999
    kinds = [mark.kind for mark in tracker.follow([inside, cluster.near_price * 1.011], view(mass))]
    assert kinds == ["entered", "wick"]
    assert not tracker.live[0].entered


def test_the_same_map_gives_the_same_ids_again() -> None:
    mass = density((0.02, 4e6), (0.05, 6e6))
    assert [c.id for c in tracked(mass).live] == [c.id for c in tracked(mass).live]


def test_a_tracker_survives_a_snapshot() -> None:
    tracker = tracked(density((0.02, 4e6), (0.05, 6e6)))
    again = ClusterTracker.restore("BTC", tracker.snapshot())
    assert again.live == tracker.live


def test_short_clusters_are_the_mirror_image() -> None:
    tracker = ClusterTracker("BTC")
    tracker.detect(view(density((0.03, 5e6)), side="short"), {})
    (cluster,) = tracker.live
    assert cluster.side == "short"
    assert cluster.low > MARK
    assert cluster.near_price == pytest.approx(cluster.low)
    assert bin_of(cluster.peak_price) == cluster.peak
