"""TradedLevels keeps the last trade time of levels over any range of prices."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.liquidation.traded import TradedLevels

touches = st.lists(st.tuples(st.integers(-5000, 25_000), st.integers(0, 300)), min_size=1, max_size=20)


@given(touches, st.integers(-6000, 26_000), st.integers(0, 400))
def test_it_agrees_with_a_dictionary(given_touches: list[tuple[int, int]], low: int, width: int) -> None:
    levels = TradedLevels()
    plain: dict[int, int] = {}
    for at, (first, count) in enumerate(given_touches, start=1):
        levels.touch(first, first + count, at)
        plain |= dict.fromkeys(range(first, first + count + 1), at)
    expected = max((plain.get(level, 0) for level in range(low, low + width + 1)), default=0)
    assert levels.last(low, low + width) == (expected or None)
    assert TradedLevels.restore(levels.snapshot()).last(low, low + width) == (expected or None)
