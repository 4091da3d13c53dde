"""Liquidation prices: worked examples, and properties of every position."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ImplausibleError
from engine.liquidation.margin import Tier, isolated_price, position_price, with_amounts
from engine.market import Kind, Side

sides = st.sampled_from(["long", "short"])
kinds = st.sampled_from(["linear", "inverse"])
leverages = st.floats(1.5, 150)


def test_a_100x_long_at_0_4_percent_is_0_602_percent_away() -> None:
    assert 1 - isolated_price(90_000, 100, "long", 0.004) / 90_000 == pytest.approx(0.00602, abs=5e-6)


@given(entry=st.floats(1e-6, 1e6), leverage=leverages, side=sides, kind=kinds)
def test_longs_are_below_entry_and_shorts_above(entry: float, leverage: float, side: Side, kind: Kind) -> None:
    price = isolated_price(entry, leverage, side, 0.004, kind)
    assert math.isfinite(price)
    assert (price < entry) == (side == "long")


@given(leverage=leverages, more=st.floats(1.01, 1.5), side=sides, kind=kinds)
def test_more_leverage_is_nearer(leverage: float, more: float, side: Side, kind: Kind) -> None:
    near = isolated_price(100, leverage * more, side, 0.004, kind)
    far = isolated_price(100, leverage, side, 0.004, kind)
    assert abs(math.log(near / 100)) < abs(math.log(far / 100))


@given(leverage=leverages, side=sides)
def test_it_is_where_margin_hits_maintenance(leverage: float, side: Side) -> None:
    price, s = isolated_price(100, leverage, side, 0.005), 1 if side == "long" else -1
    assert 100 / leverage + s * (price - 100) == pytest.approx(0.005 * price, abs=1e-9)


@given(leverage=st.floats(1.5, 100), side=sides)
def test_one_tier_without_amounts_is_the_isolated_formula(leverage: float, side: Side) -> None:
    price = position_price(100, 2, 200 / leverage, side, [Tier(0, 0.004)])
    assert price == pytest.approx(isolated_price(100, leverage, side, 0.004))


def test_the_tier_is_that_of_the_size_at_the_liquidation_price() -> None:
    tiers = [Tier(0, 0.004), Tier(50_000, 0.005, 50), Tier(250_000, 0.01, 1300)]
    price = position_price(90_000, 1, 9_000, "long", tiers)
    # By hand: 90,000 less 9,000 of margin and 50 of maintenance amount, over 0.995.
    assert price == pytest.approx(81_356.78, abs=0.01)


def test_a_fully_margined_long_is_never_liquidated() -> None:
    assert position_price(100, 1, 150, "long", [Tier(0, 0.004)]) is None


@pytest.mark.parametrize(
    ("entry", "leverage", "rate"), [(0, 10, 0.004), (math.nan, 10, 0.004), (100, 0.5, 0.004), (100, 300, 0.004)]
)
def test_bad_positions_are_refused(entry: float, leverage: float, rate: float) -> None:
    with pytest.raises(ImplausibleError):
        isolated_price(entry, leverage, "long", rate)


def test_amounts_follow_from_floors_and_rates_as_at_binance() -> None:
    # Binance's page: tier 5 of BTCUSD starts at 50 BTC with 5%, after 2.5%. From 0.56 BTC below it follows 1.81 BTC.
    rates = [(0.0, 0.004), (5.0, 0.005), (10.0, 0.01), (20.0, 0.025), (50.0, 0.05)]
    made = with_amounts([Tier(floor, rate) for floor, rate in reversed(rates)])
    assert [round(tier.maintenance_amount, 3) for tier in made] == [0.0, 0.005, 0.055, 0.355, 1.605]
    assert pytest.approx(1.81) == 50 * (0.05 - 0.025) + 0.56
    for lower, upper in itertools.pairwise(made):
        below = upper.floor * lower.maintenance_rate - lower.maintenance_amount
        assert upper.floor * upper.maintenance_rate - upper.maintenance_amount == pytest.approx(below)


def test_inverse_prices_match_bybits_formula() -> None:
    # Bybit's formula for a long: size (1 + rate) / (size/entry + size/entry/leverage). 60,000 USD at 50,000, 10x.
    price = position_price(50_000, 60_000, 0.12, "long", [Tier(0, 0.005)], "inverse")
    assert price == pytest.approx(60_000 * 1.005 / (1.2 + 0.12))
    short = position_price(50_000, 60_000, 0.12, "short", [Tier(0, 0.005)], "inverse")
    assert short == pytest.approx(60_000 * 0.995 / (1.2 - 0.12))


@given(leverage=st.floats(1.5, 100), side=sides, kind=kinds, fee=st.floats(0, 0.001))
def test_one_tier_is_the_isolated_formula_of_either_kind(leverage: float, side: Side, kind: Kind, fee: float) -> None:
    amount, margin = (2.0, 200 / leverage) if kind == "linear" else (200.0, 2.0 / leverage)
    price = position_price(100, amount, margin, side, [Tier(0, 0.004)], kind, fee)
    assert price == pytest.approx(isolated_price(100, leverage, side, 0.004 + fee, kind))


@given(entry=st.floats(1, 1e5), size=st.floats(1e3, 5e7), leverage=st.floats(2, 50), side=sides, kind=kinds)
def test_at_the_liquidation_price_margin_meets_the_requirement(
    entry: float, size: float, leverage: float, side: Side, kind: Kind
) -> None:
    scale = 1.0 if kind == "linear" else 1 / entry
    ladder = [Tier(0, 0.004), Tier(5e4, 0.005), Tier(2.5e5, 0.01), Tier(1e6, 0.019)]
    tiers = with_amounts([replace(tier, floor=tier.floor * scale) for tier in ladder])
    amount = size / entry if kind == "linear" else size
    margin = size * scale / leverage
    price = position_price(entry, amount, margin, side, tiers, kind)
    assert price is not None
    assert (price < entry) == (side == "long")
    s = 1 if side == "long" else -1
    notional = amount * price if kind == "linear" else amount / price
    tier = max((t for t in tiers if t.floor <= notional * (1 + 1e-9)), key=lambda t: t.floor)
    profit = amount * (price - entry) if kind == "linear" else amount * (1 / entry - 1 / price)
    demanded = tier.maintenance_rate * notional - tier.maintenance_amount
    assert margin + s * profit == pytest.approx(demanded, abs=1e-9 * size * scale, rel=1e-6)
