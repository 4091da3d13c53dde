"""Markets add up on one grid, and levels touched since the last bar count as swept."""

from __future__ import annotations

import pytest

from engine.liquidation.market_map import MarketMap
from engine.liquidation.view import Touched, combine
from engine.market import SIDES, Bar, Market


def market_map(venue: str, contracts: float, price: float = 90_000, size: float = 1.0) -> MarketMap:
    market = Market(venue, "BTC/USDT:USDT", "BTC", "linear", size)
    made = MarketMap(market)
    made.open(Bar(0, 300_000, price, price * 1.001, price * 0.999, price, contracts), contracts)
    return made


def test_venues_add_up_with_shares_by_open_mass() -> None:
    one, two = market_map("binanceusdm", 600), market_map("okx", 40_000, size=0.01)
    both = combine("BTC", 0, 90_000, [one, two])
    for side in SIDES:
        alone = [combine("BTC", 0, 90_000, [m]).open_usd[side] for m in (one, two)]
        assert both.open_usd[side] == pytest.approx(alone[0] + alone[1])
    shares = both.venue_shares(85_000)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["binanceusdm"] == pytest.approx(0.6)
    assert both.interest_usd == pytest.approx({"binanceusdm": 54e6, "okx": 36e6})


def test_levels_touched_since_the_bar_are_swept_in_the_view_only() -> None:
    made = market_map("binanceusdm", 600)
    held = made.held("long")
    fresh = combine("BTC", 0, 90_000, [made])
    after = combine("BTC", 0, 90_000, [made], {made.market.key: Touched(87_000, 90_000)})
    assert after.curves["long"].mass_usd(87_000) == 0
    assert after.curves["long"].mass_usd(80_000) < fresh.curves["long"].mass_usd(80_000)
    assert after.open_usd["short"] == pytest.approx(fresh.open_usd["short"])
    assert made.held("long") == held


def test_levels_above_a_lower_mark_are_not_ahead() -> None:
    made = market_map("binanceusdm", 600)
    low = combine("BTC", 0, 85_000, [made])
    high = combine("BTC", 0, 90_000, [made])
    between = high.curves["long"].mass_usd(80_000) - high.curves["long"].mass_usd(85_000)
    assert low.curves["long"].mass_usd(80_000) == pytest.approx(between, rel=0.02)


def test_an_asset_without_markets_is_empty_and_not_an_error() -> None:
    view = combine("BTC", 0, 90_000, [])
    assert view.forced_usd(80_000) == 0
    assert view.venue_shares(80_000) == {}


def test_an_inverse_markets_contracts_are_usd_at_every_level() -> None:
    market = Market("binancecoinm", "BTC/USD:BTC", "BTC", "inverse", 100.0)
    inverse = MarketMap(market)
    inverse.open(Bar(0, 300_000, 90_000, 90_090, 89_910, 90_000, 540_000), 540_000)
    view = combine("BTC", 0, 90_000, [market_map("binanceusdm", 600), inverse])
    assert view.interest_usd == pytest.approx({"binanceusdm": 54e6, "binancecoinm": 54e6})
    for side in SIDES:
        assert view.by_venue[side]["binancecoinm"] == pytest.approx(inverse.windows[side].contracts * 100.0)
