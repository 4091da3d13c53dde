"""Liquidation prices: worked examples and what must hold for every position."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ImplausibleError
from engine.liquidation.margin import Tier, isolated_price, position_price
from engine.market import Kind, Side

sides = st.sampled_from(["long", "short"])
kinds = st.sampled_from(["linear", "inverse"])
leverages = st.floats(1.5, 150)


def test_a_hundredfold_long_at_0_4_percent_sits_0_602_percent_away() -> None:
    assert 1 - isolated_price(90_000, 100, "long", 0.004) / 90_000 == pytest.approx(0.00602, abs=5e-6)


@given(entry=st.floats(1e-6, 1e6), leverage=leverages, side=sides, kind=kinds)
def test_longs_lie_below_entry_and_shorts_above(entry: float, leverage: float, side: Side, kind: Kind) -> None:
    price = isolated_price(entry, leverage, side, 0.004, kind)
    assert math.isfinite(price)
    assert (price < entry) == (side == "long")


@given(leverage=leverages, more=st.floats(1.01, 1.5), side=sides, kind=kinds)
def test_more_leverage_is_nearer(leverage: float, more: float, side: Side, kind: Kind) -> None:
    near = isolated_price(100, leverage * more, side, 0.004, kind)
    far = isolated_price(100, leverage, side, 0.004, kind)
    assert abs(math.log(near / 100)) < abs(math.log(far / 100))


@given(leverage=leverages, side=sides)
def test_margin_is_down_to_maintenance_there(leverage: float, side: Side) -> None:
    price, s = isolated_price(100, leverage, side, 0.005), 1 if side == "long" else -1
    assert 100 / leverage + s * (price - 100) == pytest.approx(0.005 * price, abs=1e-9)


@given(leverage=st.floats(1.5, 100), side=sides)
def test_one_tier_without_amounts_gives_the_isolated_form(leverage: float, side: Side) -> None:
    price = position_price(100, 2, 200 / leverage, side, [Tier(0, 0.004)])
    assert price == pytest.approx(isolated_price(100, leverage, side, 0.004))


def test_the_tier_is_that_of_the_notional_at_the_liquidation_price() -> None:
    tiers = [Tier(0, 0.004), Tier(50_000, 0.005, 50), Tier(250_000, 0.01, 1300)]
    price = position_price(90_000, 1, 9_000, "long", tiers)
    # By hand: nine thousand of margin and fifty of amount against ninety thousand, over 0.995.
    assert price == pytest.approx(81_356.78, abs=0.01)


def test_a_long_with_all_its_value_as_margin_is_never_forced_out() -> None:
    assert position_price(100, 1, 150, "long", [Tier(0, 0.004)]) is None


@pytest.mark.parametrize(
    ("entry", "leverage", "rate"), [(0, 10, 0.004), (math.nan, 10, 0.004), (100, 0.5, 0.004), (100, 300, 0.004)]
)
def test_what_cannot_be_is_refused(entry: float, leverage: float, rate: float) -> None:
    with pytest.raises(ImplausibleError):
        isolated_price(entry, leverage, "long", rate)
