"""Numbers: parsing what people type, formatting for display."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from handlers import numbers

MARK = 90_340.0


@pytest.mark.parametrize(
    "text",
    [
        "88000",
        "88,000",
        "88.000",
        "88 000",
        "88k",
        "88K",
        "$88000",
        "88'000",
        "$88k",
        "88.0k",
        "88\u00a0000",
        "88,000.00",
        "88.000,00",
    ],
)
def test_all_usual_notations_are_equal(text: str) -> None:
    assert numbers.parse_price(text, MARK) == pytest.approx(88_000)


@pytest.mark.parametrize(
    ("text", "mark", "price"),
    [
        ("-3%", MARK, 0.97 * MARK),
        ("1,5%", MARK, 1.015 * MARK),
        ("+2.5 %", MARK, 1.025 * MARK),
        ("$0.08m", MARK, 80_000),
        ("3.124", 3000.0, 3124),
        ("3.124", 3.0, 3.124),
        ("0,2134", 0.2, 0.2134),
    ],
)
def test_separators_give_the_price_nearest_the_mark(text: str, mark: float, price: float) -> None:
    assert numbers.parse_price(text, mark) == pytest.approx(price)


def test_a_thousandth_of_the_price_is_questioned() -> None:
    with pytest.raises(numbers.DidYouMeanError, match=r"Did you mean 88\.0k") as caught:
        numbers.parse_price("88", MARK)
    assert caught.value.price == 88_000


@pytest.mark.parametrize(
    "text", ["", "abc", "1e9", "--3", "0", "-0", "88k5", "%", "9" * 60, "-88000", "1000000000", "-99%", "1.2.3,4"]
)
def test_an_invalid_price_gets_a_short_error(text: str) -> None:
    with pytest.raises(InputError) as caught:
        numbers.parse_price(text, MARK)
    assert len(str(caught.value)) < 120


@given(st.text(max_size=80), st.floats(1e-6, 1e6))
def test_any_text_is_a_price_or_an_input_error(text: str, mark: float) -> None:
    try:
        price = numbers.parse_price(text, mark)
    except InputError:
        return
    assert math.isfinite(price)
    assert price > 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (38_123_456, "$38M"),
        (1.23e9, "$1.2B"),
        (450_000, "$450k"),
        (9.96e6, "$10M"),
        (999_999, "$1.0M"),
        (0, "$0"),
        (8.25e6, "$8.2M"),
    ],
)
def test_amounts_have_two_significant_digits(value: float, shown: str) -> None:
    assert numbers.usd(value) == shown


def test_ranges_share_a_unit_where_they_can() -> None:
    assert numbers.usd_range(20e6, 75e6) == "$20-75M"
    assert numbers.usd_range(0.9e6, 75e6) == "$900k-75M"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(88_910.4, "88,910"), (3_124.56, "3,124.6"), (0.21342, "0.2134"), (151.234, "151.23"), (4.5, "4.5")],
)
def test_prices_are_shown_with_the_digits_that_matter(value: float, shown: str) -> None:
    assert numbers.price(value) == shown


def test_a_zone_is_rounded_outward() -> None:
    assert numbers.zone(87_713.2, 88_149.9) == "87,710-88,150"


@pytest.mark.parametrize(("text", "milliseconds"), [("4h", 14_400_000), ("30m", 1_800_000), ("2d", 172_800_000)])
def test_time_spans(text: str, milliseconds: int) -> None:
    assert numbers.parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "0h", "h", "99d", "5 weeks", "-4h"])
def test_other_time_spans_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        numbers.parse_duration(text)


def test_unknown_assets_get_suggestions() -> None:
    assert numbers.find_asset("$btc", ["BTC", "ETH"]) == "BTC"
    assert numbers.find_asset("ethusdt", ["BTC", "ETH"]) == "ETH"
    with pytest.raises(InputError, match=r"Did you mean ETH\?"):
        numbers.find_asset("ehh", ["BTC", "ETH"])


@pytest.mark.parametrize(
    ("value", "shown", "short"), [(1.2345e-5, "0.00001234", "0.0000123"), (0.2134, "0.2134", "0.213")]
)
def test_small_prices_have_no_exponent(value: float, shown: str, short: str) -> None:
    assert (numbers.price(value), numbers.label(value)) == (shown, short)
