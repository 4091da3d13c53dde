"""F(P) adds up over levels, never falls with distance or mass, and follows its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.liquidation.curve import LiquidationCurve
from engine.liquidation.grid import WINDOW, bin_of, outward
from engine.liquidation.prior import FORCED, VENUE_SHARE, scale_for
from engine.market import SIDES, Side

MARK = 90_000.0
sides = st.sampled_from(["long", "short"])


def curve(side: Side, seed: int = 1, scale: float = FORCED.scale) -> LiquidationCurve:
    mass = np.random.default_rng(seed).gamma(0.5, 4e6, WINDOW)
    return LiquidationCurve(side, MARK, mass, 8e9, scale)


def at(side: Side, distance: float) -> float:
    return MARK * math.exp(distance if side == "short" else -distance)


@given(sides, st.floats(0, 0.6), st.floats(0, 0.3))
def test_it_never_falls_with_distance(side: Side, near: float, more: float) -> None:
    made = curve(side)
    assert made.forced_usd(at(side, near + more)) >= made.forced_usd(at(side, near))


@given(sides, st.floats(0.0005, 0.5), st.integers(0, 1000))
def test_it_never_falls_with_mass(side: Side, distance: float, level: int) -> None:
    mass = np.full(WINDOW, 1e5)
    more = mass.copy()
    more[level] += 1e6
    less, larger = (
        LiquidationCurve(side, MARK, m, 8e9, FORCED.scale).forced_usd(at(side, distance)) for m in (mass, more)
    )
    assert larger >= less


def test_it_is_zero_at_the_mark_and_on_the_other_side() -> None:
    for side in SIDES:
        made = curve(side)
        assert made.forced_usd(MARK) == 0
        assert made.forced_usd(at("short" if side == "long" else "long", 0.05)) == 0


@given(sides, st.integers(2, 800), st.integers(0, 60), st.integers(1, 60))
def test_shares_of_levels_add_up(side: Side, first: int, width: int, rest: int) -> None:
    made = curve(side)
    start = outward(side, bin_of(MARK)) + first
    middle, last = start + width, start + width + rest
    whole = made.between(start, last)
    assert made.between(start, middle) + made.between(middle + 1, last) == pytest.approx(whole)
    assert whole >= 0


@given(sides, st.floats(0.001, 0.5), st.floats(0, 0.2))
def test_the_band_encloses_it_and_never_falls(side: Side, distance: float, more: float) -> None:
    made = curve(side)
    low, high = made.band(at(side, distance))
    assert low <= made.forced_usd(at(side, distance)) * 1.0001
    assert high >= made.forced_usd(at(side, distance)) * 0.9999
    farther = made.band(at(side, distance + more))
    assert farther[0] >= low * 0.9999
    assert farther[1] >= high * 0.9999


def test_distances_give_the_same_as_prices() -> None:
    for side in SIDES:
        made = curve(side)
        distances = np.array([0.0102, 0.0333, 0.12])
        single = [made.forced_usd(at(side, float(d))) for d in distances]
        assert made.at_distances(distances) == pytest.approx(single)


def test_the_formula_by_hand() -> None:
    mass = np.zeros(WINDOW)
    mass[0], mass[50] = 2e6, 10e6
    made = LiquidationCurve("short", MARK, mass, 8e9, 0.058)
    expected = 0.058 * 0.83 * (12e6 + 6.1 * 2e6 + 0.0046 * 8e9 * (0.05 / 0.01) ** 1.60)
    assert made.forced_usd(at("short", 0.05)) == pytest.approx(expected)


def test_the_scale_is_consistent_whatever_venues_are_in_the_sum() -> None:
    assert scale_for({"binanceusdm": 5e9}) == pytest.approx(FORCED.scale)
    for venues in (["bybit", "okx"], ["binanceusdm", "okx"], list(VENUE_SHARE)):
        mass = sum(VENUE_SHARE[venue] for venue in venues) / VENUE_SHARE["binanceusdm"]
        interest = {venue: 9e9 * VENUE_SHARE[venue] for venue in venues}
        assert scale_for(interest) * mass == pytest.approx(FORCED.scale)
    assert scale_for({"elsewhere": 1e9}) == FORCED.scale
    # Other venues' contracts shape the map, but do not make the three venues' feeds report more.
    with_others = {"binanceusdm": 5.2e9, "bitget": 2e9, "gate": 1e9}
    assert scale_for(with_others) * 8.2 == pytest.approx(FORCED.scale * 5.2)
