"""Market values refuse impossible numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ImplausibleError
from engine.market import Bar, Market, Sample, positive


def bar(**given: float | None) -> Bar:
    values: dict[str, float | None] = {"open": 100.0, "high": 102.0, "low": 99.0, "close": 101.0, "contracts": 10.0}
    return Bar(0, 300_000, **(values | given))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 0.0, -1.0, math.nan, math.inf, -math.inf])
def test_only_positive_finite_numbers_pass(value: float | None) -> None:
    with pytest.raises(ImplausibleError):
        positive(value, "it")


@pytest.mark.parametrize(
    "given",
    [
        {"high": 100.5},
        {"low": 100.5},
        {"close": math.nan},
        {"contracts": 0.0},
        {"open": -1.0},
        {"high": 1e300},
        {"contracts": 1e300},
    ],
)
def test_an_impossible_bar_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ImplausibleError):
        bar(**given)


def test_a_wide_range_is_no_reason_to_refuse_a_bar() -> None:
    assert bar(low=6.0).low == 6.0


def test_a_bar_may_lack_open_interest() -> None:
    assert bar(contracts=None).contracts is None


@given(st.floats(90, 110), st.floats(90, 110), st.floats(0, 5), st.floats(0, 5))
def test_the_path_has_all_four_prices_and_ends_at_the_close(o: float, c: float, up: float, down: float) -> None:
    made = bar(open=o, close=c, high=max(o, c) + up, low=min(o, c) - down)
    assert sorted(made.path) == sorted((made.open, made.high, made.low, made.close))
    assert made.path[0] == made.open
    assert made.path[-1] == made.close


def test_the_path_visits_the_extreme_against_the_close_first() -> None:
    assert bar(close=101.0).path == (100.0, 99.0, 102.0, 101.0)
    assert bar(close=99.5).path == (100.0, 102.0, 99.0, 99.5)


def test_notional_of_linear_and_inverse_contracts() -> None:
    linear = Market("okx", "BTC/USDT:USDT", "BTC", "linear", 0.01)
    inverse = Market("binancecoinm", "BTC/USD:BTC", "BTC", "inverse", 100.0)
    assert linear.usd(200, 90_000) == 180_000
    assert inverse.usd(200, 90_000) == 20_000


def test_a_sample_refuses_a_nan_mark() -> None:
    market = Market("okx", "BTC/USDT:USDT", "BTC")
    with pytest.raises(ImplausibleError, match="okx BTC/USDT:USDT: mark"):
        Sample(market, 0, 0, math.nan, 1, 1, 1, 1, 1)
