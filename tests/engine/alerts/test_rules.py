"""Rules are parsed from what people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.alerts.rule_syntax import parse_rule
from engine.alerts.rules import default_distance
from engine.errors import InputError


@pytest.mark.parametrize(
    ("text", "kind", "distance", "size"),
    [
        ("near 1% normal", "near", 0.01, "normal"),
        ("near 1,5% $20m", "near", 0.015, 20e6),
        ("near normal 2%", "near", 0.02, "normal"),
        ("swept calm", "swept", None, "calm"),
        ("entered 750k", "entered", None, 750e3),
        ("near", "near", None, "normal"),
    ],
)
def test_a_rule_is_a_kind_a_distance_and_a_size(text: str, kind: str, distance: float | None, size: object) -> None:
    rule = parse_rule(text)
    assert (rule.kind, rule.size) == (kind, size)
    assert rule.distance == pytest.approx(distance) if distance else rule.distance is None
    assert parse_rule(rule.text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with one of near"),
        ("nearby 1%", "starts with one of near"),
        ("near 50% normal", "must be 0.1% to 20%"),
        ("near 1% huge", "not 'huge'"),
        ("near 1% $1", r"must be \$1k"),
        ("swept 1% calm", "Only near takes a distance"),
    ],
)
def test_a_bad_rule_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rule(text)


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_an_input_error(text: str) -> None:
    try:
        parse_rule(text)
    except InputError:
        return


def test_small_coins_have_wider_distances() -> None:
    assert default_distance("BTC") < default_distance("ETH") < default_distance("SOL") < default_distance("PEPE")
