"""The consensus of one, two, three and eleven venues, one of which may be wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.consensus import (
    Spread,
    agreed_price,
    agreed_rate,
    continues,
    contracts_doubtful,
    other_coins,
    path_of_bars,
    second_highest,
    second_lowest,
    vet_bars,
)
from engine.market import Bar, Market

VENUES = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k")
PRICES = st.floats(1e-3, 1e6)


def market(venue: str) -> Market:
    return Market(venue, "BTC/USDT:USDT", "BTC")


def bar(close: float = 100.0, low: float | None = None, high: float | None = None, opened: float = 100.0) -> Bar:
    lowest, highest = min(opened, close), max(opened, close)
    return Bar(0, 300_000, opened, high or highest, low or lowest, close, 1000.0)


def rows(*bars: Bar) -> list[tuple[Market, Bar]]:
    return [(market(venue), each) for venue, each in zip(VENUES, bars, strict=False)]


def test_one_venue_is_trusted() -> None:
    assert agreed_price({"a": 90.0}, 100.0, 0.01).value == 90.0


def test_one_of_two_cannot_move_the_price() -> None:
    """It moves only as far as both venues confirm."""
    assert agreed_price({"a": 90.0, "b": 100.0}, 100.0, 0.01).value == 100.0
    assert agreed_price({"a": 90.0, "b": 95.0}, 100.0, 0.01).value == 95.0
    assert agreed_price({"a": 90.0, "b": 63.0}, 91.0, 0.01).disputed
    assert not agreed_price({"a": 90.0, "b": 90.1}, 91.0, 0.01).disputed


def test_three_venues_give_the_median_and_name_the_outlier() -> None:
    price = agreed_price({"a": 100.0, "b": 100.1, "c": 109.0}, 100.0, 0.01)
    assert price.value == 100.1
    assert set(price.far) == {"c"}
    assert not price.disputed


@given(
    st.lists(PRICES, min_size=3, max_size=10, unique=True),
    st.floats(1e-6, 1e9),
    st.one_of(st.just(0.0), PRICES),
)
def test_a_liar_cannot_move_price_out_of_the_truthful_range(truth: list[float], lie: float, last: float) -> None:
    marks = dict(zip(VENUES, truth, strict=False)) | {"liar": lie}
    assert min(truth) <= agreed_price(marks, last, 0.01).value <= max(truth)


@given(st.lists(PRICES, min_size=2, max_size=10), st.floats(1e-6, 1e9))
def test_a_liar_cannot_confirm_itself(truth: list[float], lie: float) -> None:
    assert second_lowest([*truth, lie]) >= min(truth)
    assert second_highest([*truth, lie]) <= max(truth)
    assert second_lowest([*truth, lie]) <= second_lowest(truth)


def test_one_value_confirms_itself() -> None:
    assert second_lowest([5.0]) == second_highest([5.0]) == 5.0
    with pytest.raises(ValueError, match="no values"):
        second_lowest([])


@pytest.mark.parametrize("count", [2, 3, 11])
@pytest.mark.parametrize("factor", [0.8, 0.97])
def test_one_venues_wick_is_clipped_and_named(count: int, factor: float) -> None:
    """A low 20% or 3% too deep, which no other venue confirms."""
    vetted = vet_bars(rows(bar(low=100 * factor), *[bar(low=99.9)] * (count - 1)), 100.0, Spread())
    assert all(each.low == pytest.approx(99.9) for _, each in vetted.rows)
    assert vetted.wicks == {market("a").key: pytest.approx(100 * factor)}
    assert min(path_of_bars(vetted.rows, 100.0)) == pytest.approx(99.9)


@pytest.mark.parametrize("count", [2, 3, 11])
def test_a_crash_on_all_venues_is_kept_at_any_depth(count: int) -> None:
    crash = bar(0.87, low=0.37, high=6.2, opened=6.13)
    vetted = vet_bars(rows(*[crash] * count), 6.13, Spread())
    assert [each for _, each in vetted.rows] == [crash] * count
    assert min(path_of_bars(vetted.rows, 6.13)) == 0.37


def test_a_lone_venues_crash_from_the_last_price_is_kept_and_a_wrong_unit_is_not() -> None:
    assert continues(bar(0.87, low=0.37, high=6.2, opened=6.13), 6.13)
    assert not continues(bar(1000.0, opened=1000.0), 100.0)
    assert continues(bar(1000.0, opened=1000.0), 0.0), "there is no earlier price"


@pytest.mark.parametrize("count", [3, 11])
@pytest.mark.parametrize("factor", [10.0, 1e6, 0.1, 1.09, 0.98])
def test_a_bar_far_from_the_others_is_a_gap(count: int, factor: float) -> None:
    wrong = bar(100 * factor, opened=100 * factor)
    vetted = vet_bars(rows(wrong, *[bar()] * (count - 1)), 100.0, Spread())
    assert set(vetted.refused) == {market("a").key}
    assert len(vetted.rows) == count - 1


def test_of_two_bars_the_one_far_from_the_last_price_is_a_gap() -> None:
    vetted = vet_bars(rows(bar(250.0, opened=250.0), bar()), 100.0, Spread())
    assert set(vetted.refused) == {market("a").key}
    both = vet_bars(rows(bar(70.0, opened=100.0), bar()), 100.0, Spread())
    assert len(both.rows) == 2, "less than twofold: we cannot tell which is wrong"


def test_in_a_fast_market_venues_may_differ_by_the_bars_range() -> None:
    fast = [bar(close, low=80.0, high=100.0) for close in (82.0, 84.0, 88.0)]
    assert not vet_bars(rows(*fast), 100.0, Spread()).refused


def test_two_coins_of_one_name_are_never_added_up() -> None:
    """The group around the last price is kept, else the one with more venues, else the larger."""
    prices = {"a X": 1.0, "b X": 1.01, "c X": 100.0}
    sizes = {"a X": 1e6, "b X": 1e6, "c X": 1e9}
    assert other_coins(prices, sizes, 99.0) == {"a X", "b X"}
    assert other_coins(prices, sizes, 0.0) == {"c X"}
    assert other_coins({"a X": 1.0, "c X": 100.0}, {"a X": 1e6, "c X": 1e9}, 0.0) == {"a X"}
    assert other_coins({"a X": 1.0, "b X": 3.0}, {}, 0.0) == set()


@pytest.mark.parametrize(
    ("change", "others", "doubtful"),
    [
        (math.log(1.5), [0.01, 0.0], True),
        (math.log(0.5), [0.01, 0.0], True),
        (math.log(1.25), [0.0], False),
        (math.log(0.5), [math.log(0.6), math.log(0.7)], False),
        (math.log(10), [], True),
        (math.log(1.5), [], False),
    ],
)
def test_a_lone_jump_in_contracts_is_doubted(change: float, others: list[float], doubtful: bool) -> None:
    assert contracts_doubtful(change, others) is doubtful


def test_a_lone_market_may_lose_contracts_in_a_price_crash() -> None:
    assert not contracts_doubtful(math.log(0.2), [], price_change=math.log(0.5))


def test_no_venue_alone_sets_funding() -> None:
    weights = dict.fromkeys("abc", 1.0)
    assert agreed_rate({"a": 1e-4, "b": 1e-4, "c": 0.5}, weights) == pytest.approx(1e-4)
    assert agreed_rate({"a": 1e-4, "b": 2e-4}, weights) == pytest.approx(1.5e-4)
    assert agreed_rate({"a": 1e-4, "b": 0.5}, weights) == pytest.approx(1e-4)
    assert agreed_rate({"a": -0.01, "b": 0.5}, weights) == 0.0
    assert agreed_rate({"a": 0.01}, weights) == pytest.approx(0.01)
    assert agreed_rate({}, {}) is None


def test_the_tolerance_follows_the_venues_own_spread() -> None:
    tight, wide = Spread(), Spread()
    for _ in range(300):
        tight.see([100.0, 100.01, 100.02])
        wide.see([100.0, 101.0, 102.0])
    assert tight.tolerance == 0.01
    assert wide.tolerance > 0.05
    wide.see([100.0, 1e6, 1.0])
    assert wide.tolerance <= 0.1
