"""Liquidation prices published by the venues: worked examples from help pages, and position samples from API
documentation that give entry, margin and liquidation price together.

We found no complete example for Deribit (its sample omits the equity), for the isolated formulas of Bitget, OKX's
linear and Bybit's inverse contracts, or for KuCoin's current formula. KuCoin's published one is for its old formula.
"""

from __future__ import annotations

import pytest

from engine.liquidation.margin import Tier, isolated_price, position_price, valued_at_entry
from engine.market import Kind, Market, Side

TICK = 0.01

PUBLISHED: list[tuple[str, Kind, Side, float, float, float, float, float, float, float]] = [
    # source, kind, side, entry, amount, margin, rate with fee, maintenance amount, published price, tolerance
    ("Binance USDT, calculator, ETH", "linear", "long", 1456.84, 3683.979, 1535443.01, 0.10, 135365, 1114.78, 0.006),
    ("Binance USDT, calculator, BTC", "linear", "long", 32481.98, 109.488, 1535443.01, 0.025, 16300, 18778.73, 0.006),
    (
        "Binance USDT, cross, ETH",
        "linear",
        "long",
        1456.84,
        3683.979,
        1535443.01 - 71200.81144 - 56354.57,
        0.10,
        135365,
        1153.26,
        0.006,
    ),
    (
        "Binance coin, position sample",
        "inverse",
        "long",
        37643.10000021,
        200,
        0.00268058,
        0.004,
        0,
        25119.9744576,
        1e-6,
    ),
    ("Binance coin, calculator", "inverse", "long", 45000, 1e7, 101, 0.125, 11.605, 33599.40, 0.1),
    ("OKX linear, position sample", "linear", "long", 34131.1, 0.01, 215.78881, 0.0045, 0, 12608.959083877446, 1e-3),
    (
        "OKX inverse, sample, a tick",
        "inverse",
        "long",
        2566.31,
        10,
        0.0003896645377994,
        0.0085,
        0,
        2352.8497,
        1.1 * TICK,
    ),
    ("Gate linear, position sample", "linear", "long", 1203.45, 0.01, 5.415925875, 0.00575, 0, 665.69, TICK),
    ("Hyperliquid, position sample", "linear", "long", 2213.9, 0.2259, 24.88097, 0.01, 0, 2125.00856238, 1e-5),
    ("Hyperliquid, SOL long", "linear", "long", 173.06, 0.6, 20.735658, 0.025, 0, 142.05186667, 1e-6),
    ("Hyperliquid, BTC short", "linear", "short", 67400, 0.00031, 20.887308, 0.01, 0, 133443.97317151, 1e-3),
    ("Hyperliquid, DOGE short", "linear", "short", 0.14333, 351, 25.136807, 0.025, 0, 0.20970228, 1e-7),
    ("Kraken inverse, help page", "inverse", "long", 8000, 1000, 0.01, 0.01, 0, 7481, 0.5),
    ("HTX linear, position sample", "linear", "long", 47151.3, 0.001, 24.96572007, 0.0075, 0, 22353.2291486146, 1e-6),
    ("HTX coin, position sample", "inverse", "long", 0.39456, 10, 12.022979096123276, 0.015, 0, 0.2716252004938, 1e-9),
]


@pytest.mark.parametrize(
    ("kind", "side", "entry", "amount", "margin", "rate", "maintenance_amount", "published", "tolerance"),
    [row[1:] for row in PUBLISHED],
    ids=[row[0] for row in PUBLISHED],
)
def test_published_prices(
    kind: Kind,
    side: Side,
    entry: float,
    amount: float,
    margin: float,
    rate: float,
    maintenance_amount: float,
    published: float,
    tolerance: float,
) -> None:
    price = position_price(entry, amount, margin, side, [Tier(0, rate, maintenance_amount)], kind)
    assert price == pytest.approx(published, abs=tolerance, rel=0)


@pytest.mark.parametrize(
    ("source", "side", "entry", "amount", "margin", "rate", "published", "tolerance"),
    [
        ("Bybit, help page, long", "long", 20_000, 1, 400, 0.005, 19_700, 1e-6),
        ("Bybit, help page, short with 3,000 added", "short", 20_000, 1, 3_400, 0.005, 23_300, 1e-6),
        ("Bybit, help page, 200 of funding taken", "long", 20_000, 1, 200, 0.005, 19_900, 1e-6),
        ("Bybit, position sample, rounded up to 0.05", "long", 1198.45, 0.1, 119.845 / 4.2, 0.005, 919.10, 0.05),
        ("KuCoin's form until 2025, help page", "short", 28_000, 0.005, 1.4, 0.004, 28_168, 1e-6),
    ],
)
def test_published_prices_with_maintenance_at_entry_value(
    source: str,  # names the case
    side: Side,
    entry: float,
    amount: float,
    margin: float,
    rate: float,
    published: float,
    tolerance: float,
) -> None:
    price = position_price(entry, amount, margin, side, [Tier(0, rate)], at_entry=True)
    assert price == pytest.approx(published, abs=tolerance, rel=0)


def test_bybits_usdt_contracts_are_valued_at_entry() -> None:
    assert valued_at_entry(Market("bybit", "BTC/USDT:USDT", "BTC"))
    assert not valued_at_entry(Market("bybit", "BTC/USD:BTC", "BTC", "inverse"))
    assert not valued_at_entry(Market("binanceusdm", "BTC/USDT:USDT", "BTC"))


def test_valuation_at_entry_uses_the_tier_at_entry() -> None:
    tiers = [Tier(0, 0.005), Tier(2e6, 0.01, 1e4)]
    price = position_price(50_000, 39, 195_000, "long", tiers, at_entry=True)
    # By hand: 1.95M at entry is in the first tier, with 9,750 of maintenance: 50,000 - (195,000 - 9,750) / 39.
    assert price == pytest.approx(45_250)
    above = position_price(50_000, 41, 205_000, "long", tiers, at_entry=True)
    assert above == pytest.approx(50_000 - (205_000 - (2_050_000 * 0.01 - 10_000)) / 41)


def test_the_two_formulas_differ_by_about_a_level_from_10x_up() -> None:
    # The map places Bybit's positions by the other venues' formula: from 10x up they differ by about one level at most.
    for leverage in (10, 25, 50, 100):
        here = isolated_price(90_000, leverage, "long", 0.005)
        there = position_price(90_000, 1, 90_000 / leverage, "long", [Tier(0, 0.005)], at_entry=True)
        assert there is not None
        assert abs(here / there - 1) < 0.0006
