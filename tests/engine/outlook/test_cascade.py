"""A cascade ends where resting orders on its path have absorbed all liquidations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.liquidation.curve import LiquidationCurve
from engine.liquidation.grid import BIN, WINDOW
from engine.liquidation.prior import FORCED
from engine.market import SIDES, Market, Side
from engine.outlook.cascade import AT_LEVEL, cascade, resting_curve
from engine.outlook.depth import LEVELS, Depth
from engine.outlook.risk import risk

MARKET = Market("okx", "BTC/USDT:USDT", "BTC")
PLAIN = replace(FORCED, near_boost=0.0, ground=0.0, short_factor=1.0)


def curve(side: Side, per_level: float) -> LiquidationCurve:
    """Return a curve with the same mass to liquidate at each level, USD."""
    return LiquidationCurve(side, 90_000.0, np.full(WINDOW, per_level), 1e9, 1.0, PLAIN)


def book(per_level: float, reach: float = 0.05) -> Depth:
    """Return a book with the same USD at each level, shown up to `reach`, a log distance."""
    shown = np.where(np.arange(LEVELS) < round(reach / BIN), per_level, 0.0)
    return Depth(MARKET, 0, 90_000.0, shown, shown, (reach, reach))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("forced", "resting"), [(1e5, 3e5), (1e5, 1.2e5), (2e5, 1e6)])
def test_it_ends_where_the_book_has_absorbed_all(side: Side, forced: float, resting: float) -> None:
    result = cascade(curve(side, forced), [book(resting, 0.3)], 0.01)
    assert result is not None
    # By hand: USD liquidated at the level, over the surplus of resting orders at each further level.
    first = forced * 2 * AT_LEVEL / BIN
    levels = first / (resting - forced)
    assert result.ends
    assert result.first_usd == pytest.approx(first, rel=0.15)
    assert (result.end - result.start) / BIN == pytest.approx(levels, abs=3, rel=0.2)
    assert result.total_usd == pytest.approx(first + levels * forced, rel=0.2)
    assert result.total_usd <= result.resting_usd
    assert result.amplification >= 1


def test_a_book_that_is_too_thin_gives_no_end() -> None:
    result = cascade(curve("long", 2e5), [book(1e5)], 0.01)
    assert result is not None
    assert not result.ends
    assert result.amplification > 10


def test_a_deeper_book_never_lengthens_it() -> None:
    ends = []
    for resting in (1.2e5, 2e5, 4e5, 1e6, 1e7):
        result = cascade(curve("long", 1e5), [book(resting)], 0.01)
        assert result is not None
        ends.append(result.end)
    assert ends == sorted(ends, reverse=True)


def test_no_result_without_a_book() -> None:
    assert cascade(curve("long", 1e5), [], 0.01) is None


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_a_book_is_extrapolated_by_its_own_shape(power: float) -> None:
    edges = (np.arange(LEVELS + 1) * BIN) ** power
    inside = np.where(np.arange(LEVELS) < 40, np.diff(edges) * 1e9, 0.0)
    shown = Depth(MARKET, 0, 90_000.0, inside, inside, (0.02, 0.02))
    resting = resting_curve([shown, shown], "long", np.array([0.01, 0.02, 0.04]))
    assert resting is not None
    assert resting == pytest.approx(2e9 * np.array([0.01, 0.02, 0.04]) ** power, rel=0.05)


def test_risk_is_the_mean_of_at_least_three_known_parts() -> None:
    assert risk(0.5, None, None, (1.0, 1.0), None) is None
    result = risk(0.5, -0.001, 1.5, (3e6, 1e6), None)
    assert result is not None
    assert dict(result.parts) == {"open interest": 0.5, "funding": 1.0, "mass near price": 0.5, "one-sidedness": 0.5}
    assert result.score == pytest.approx(62.5)
