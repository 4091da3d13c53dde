"""A cascade ends where what is forced out is no more than what rests on the way."""

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
    """So much forced out at each level."""
    return LiquidationCurve(side, 90_000.0, np.full(WINDOW, per_level), 1e9, 1.0, PLAIN)


def book(per_level: float, reach: float = 0.05) -> Depth:
    """So much resting at each level as far as it is shown."""
    shown = np.where(np.arange(LEVELS) < round(reach / BIN), per_level, 0.0)
    return Depth(MARKET, 0, 90_000.0, shown, shown, (reach, reach))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("forced", "resting"), [(1e5, 3e5), (1e5, 1.2e5), (2e5, 1e6)])
def test_it_ends_where_resting_orders_have_taken_all(side: Side, forced: float, resting: float) -> None:
    found = cascade(curve(side, forced), [book(resting, 0.3)], 0.01)
    assert found is not None
    # By hand: what lies at the level, over what each further level takes more than it gives.
    first = forced * 2 * AT_LEVEL / BIN
    levels = first / (resting - forced)
    assert found.ends
    assert found.first_usd == pytest.approx(first, rel=0.15)
    assert (found.end - found.start) / BIN == pytest.approx(levels, abs=3, rel=0.2)
    assert found.total_usd == pytest.approx(first + levels * forced, rel=0.2)
    assert found.total_usd <= found.resting_usd
    assert found.amplification >= 1


def test_where_more_is_forced_than_rests_no_end_is_found() -> None:
    found = cascade(curve("long", 2e5), [book(1e5)], 0.01)
    assert found is not None
    assert not found.ends
    assert found.amplification > 10


def test_more_resting_never_makes_it_longer() -> None:
    ends = []
    for resting in (1.2e5, 2e5, 4e5, 1e6, 1e7):
        found = cascade(curve("long", 1e5), [book(resting)], 0.01)
        assert found is not None
        ends.append(found.end)
    assert ends == sorted(ends, reverse=True)


def test_without_a_book_nothing_is_said() -> None:
    assert cascade(curve("long", 1e5), [], 0.01) is None


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_beyond_what_is_shown_a_book_goes_on_by_its_own_shape(power: float) -> None:
    edges = (np.arange(LEVELS + 1) * BIN) ** power
    inside = np.where(np.arange(LEVELS) < 40, np.diff(edges) * 1e9, 0.0)
    shown = Depth(MARKET, 0, 90_000.0, inside, inside, (0.02, 0.02))
    found = resting_curve([shown, shown], "long", np.array([0.01, 0.02, 0.04]))
    assert found is not None
    assert found == pytest.approx(2e9 * np.array([0.01, 0.02, 0.04]) ** power, rel=0.05)


def test_risk_is_the_mean_of_what_is_known_and_needs_three_parts() -> None:
    assert risk(0.5, None, None, (1.0, 1.0), None) is None
    found = risk(0.5, -0.001, 1.5, (3e6, 1e6), None)
    assert found is not None
    assert dict(found.parts) == {"open interest": 0.5, "funding": 1.0, "mass near price": 0.5, "one-sidedness": 0.5}
    assert found.score == pytest.approx(62.5)
