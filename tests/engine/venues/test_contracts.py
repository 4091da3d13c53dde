"""Venues' raw answers are parsed into contracts, kind, side and time in the right units, without a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.errors import ImplausibleError
from engine.market import Kind, Market
from engine.venues.names import coin_of
from engine.venues.parsing import Listing
from engine.venues.registry import VENUES
from engine.venues.venue import Venue
from tests.conftest import FIXTURES, needs_fixtures


def raw(path: str) -> Any:
    return json.loads((FIXTURES / f"{path}.raw.json").read_text())["raw"]


@pytest.fixture
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    made = VENUES[request.param]()
    yield made
    await made.close()


def listing(
    venue: Venue, size: float, kind: Kind = "linear", coin: str = "BTC", name: str = "", lot: float = 1
) -> Listing:
    symbol = f"{coin}/USDT:USDT" if kind == "linear" else f"{coin}/USD:{coin}"
    return Listing(Market(venue.id, symbol, coin, kind, size), name or coin, lot)


BINANCE = {"markPrice": "1604.5", "indexPrice": "1604.1", "lastFundingRate": "0.0001"}
KUCOIN = {
    "symbol": "XBTUSDTM",
    "markPrice": 67193.51,
    "indexPrice": 67184.81,
    "openInterest": "8033200",
    "fundingFeeRate": 0.000297,
    "fundingRateGranularity": 28800000,
}
DERIBIT = {
    "instrument_name": "BTC-PERPETUAL",
    "open_interest": 9978911260,
    "mark_price": 87102.01,
    "estimated_delivery_price": 87047.2,
    "creation_timestamp": 1763674177068,
    "funding_8h": -8.1069e-4,
}
KRAKEN = {
    "symbol": "PF_XBTUSD",
    "markPrice": 60020.5,
    "indexPrice": 60010.5,
    "openInterest": 1500.25,
    "fundingRate": 0.6002,
    "at": 1763674177068,
}
HTX = {
    "contract_code": "BTC-USDT",
    "amount": 32476.092,
    "volume": 32476092,
    "value": 2063137924.9668,
    "ts": 1763674177068,
}


@pytest.mark.parametrize(
    ("venue", "size", "kind", "row", "contracts", "usd", "funding"),
    [
        ("binanceusdm", 1.0, "linear", {**BINANCE, "openInterest": "23581.677", "time": 5}, 23581.677, 37.837e6, 1e-4),
        ("binancecoinm", 10.0, "inverse", {**BINANCE, "openInterest": "26542436", "time": 5}, 26542436, 265.42e6, 1e-4),
        ("kucoinfutures", 0.001, "linear", KUCOIN, 8033200, 539.78e6, 2.97e-4),
        ("kucoinfutures", 1.0, "inverse", KUCOIN, 8033200, 8.0332e6, 2.97e-4),
        ("kucoinfutures", 0.001, "linear", {**KUCOIN, "fundingRateGranularity": 14400000}, 8033200, 539.78e6, 5.94e-4),
        ("deribit", 10.0, "inverse", DERIBIT, 997891126, 9978.9e6, -8.1069e-4),
        ("deribit", 0.0001, "linear", {**DERIBIT, "open_interest": 850.5}, 8505000, 74.08e6, -8.1069e-4),
        ("krakenfutures", 1.0, "linear", KRAKEN, 1500.25, 90.0458e6, 8e-5),
        ("krakenfutures", 1.0, "inverse", {**KRAKEN, "openInterest": 5e6, "fundingRate": 1.6663e-10}, 5e6, 5e6, 8e-5),
        ("htx", 0.001, "linear", HTX, 32476092, 2063.1e6, None),
        ("htx", 100.0, "inverse", {"volume": 1200000, "amount": 1888.9, "ts": 1763674177068}, 1200000, 120e6, None),
    ],
    indirect=["venue"],
)
async def test_documented_answers(
    venue: Venue, size: float, kind: Kind, row: Any, contracts: float, usd: float, funding: float | None
) -> None:
    reading = venue._reading(listing(venue, size, kind), venue._figures(listing(venue, size, kind), row), None)
    assert reading.contracts == pytest.approx(contracts)
    assert reading.market.usd(reading.contracts, reading.mark) == pytest.approx(usd, rel=1e-3)
    assert reading.funding_rate == (None if funding is None else pytest.approx(funding, rel=1e-3))
    assert reading.timed == (venue.id != "kucoinfutures")


@needs_fixtures
@pytest.mark.parametrize(
    ("venue", "path", "pick", "size", "kind", "contracts", "usd", "funding"),
    [
        ("bitget", "bitget/fetchTicker", lambda r: r[1]["data"][0], 1.0, "linear", 7452.6421, 781.22e6, -1.4e-5),
        ("gate", "gate/fetchTicker", lambda r: r[1], 0.0001, "linear", 32323904, 21.12e6, 1e-4),
        ("gate", "gate/fetchTicker", lambda r: r[1], 1.0, "inverse", 32323904, 32.32e6, 1e-4),
        (
            "hyperliquid",
            "hyperliquid/fetchFundingRates",
            lambda r: r[0][1][0],
            1.0,
            "linear",
            10764.48,
            1.16299e6,
            1.584e-4,
        ),
        (
            "bybit",
            "bybit/fetchTicker",
            lambda r: {**r[0]["result"]["list"][0], "time": r[0]["time"]},
            1.0,
            "inverse",
            373504107 / 2,  # the answer counts both sides
            373.5e6 / 2,
            -0.001034,
        ),
        (
            "okx",
            "okx/fetchOpenInterest",
            lambda r: {**r[0]["data"][0], "markPx": "19000", "fundingRate": "0.0001"},
            0.01,
            "linear",
            2125419,
            403.83e6,
            1e-4,
        ),
    ],
    indirect=["venue"],
)
async def test_recorded_answers(
    venue: Venue, path: str, pick: Any, size: float, kind: Kind, contracts: float, usd: float, funding: float
) -> None:
    of = listing(venue, size, kind)
    reading = venue._reading(of, venue._figures(of, pick(raw(path))), None)
    assert reading.contracts == pytest.approx(contracts)
    assert reading.market.usd(reading.contracts, reading.mark) == pytest.approx(usd, rel=1e-3)
    assert reading.funding_rate == pytest.approx(funding)


@needs_fixtures
@pytest.mark.parametrize(
    ("venue", "path", "pick", "size", "kind", "contracts", "usd"),
    [
        ("binanceusdm", "binance/fetchOpenInterestHistory", lambda r: r[0][0], 1.0, "linear", 75375.617, 3248.83e6),
        ("binancecoinm", "binance/fetchOpenInterestHistory", lambda r: r[1][0], 100.0, "inverse", 13069401, 1306.94e6),
        ("okx", "okx/fetchOpenInterestHistory", lambda r: r[0]["data"][0], 0.01, "linear", 2800476.45, 2360.9e6),
        ("gate", "gate/fetchOpenInterestHistory", lambda r: r[0][0], 10.0, "linear", 2851725, 9.8724e6),
    ],
    indirect=["venue"],
)
async def test_recorded_histories(
    venue: Venue, path: str, pick: Any, size: float, kind: Kind, contracts: float, usd: float
) -> None:
    exchange, row = venue._exchange, pick(raw(path))
    of = listing(venue, size, kind)
    market = {
        "symbol": of.market.symbol,
        "id": of.id,
        "swap": True,
        "contract": True,
        "linear": kind == "linear",
        "inverse": kind == "inverse",
    }
    point = venue._open_at(of, exchange.parse_open_interest(row, market))
    assert point.contracts == pytest.approx(contracts)
    price = usd / (contracts * size)
    assert of.market.usd(point.contracts or 0, price) == pytest.approx(usd, rel=1e-3)


@needs_fixtures
@pytest.mark.parametrize("venue", ["gate"], indirect=True)
async def test_a_recorded_liquidation_of_gate_was_a_short(venue: Venue) -> None:
    event = venue._liquidation(listing(venue, 0.0001), raw("gate/fetchLiquidations")[0][0])
    assert (event.side, event.price, event.contracts, event.at) == ("short", 28070.0, 165.0, 1696736132000)
    assert event.notional_usd == pytest.approx(165 * 0.0001 * 28070)


@pytest.mark.parametrize("venue", ["gate"], indirect=True)
async def test_gates_unfilled_part_is_not_counted(venue: Venue) -> None:
    row = {"contract": "BTC_USDT", "left": "3", "size": "-10", "fill_price": "100", "time": "5"}
    assert venue._liquidation(listing(venue, 1.0), row).contracts == 7


@pytest.mark.parametrize("venue", ["htx"], indirect=True)
async def test_htx_states_the_side(venue: Venue) -> None:
    linear = {
        "liquidation_time": "5",
        "side": "buy",
        "position_side": "short",
        "volume": "2",
        "bankrupt_price": "62978.5",
    }
    event = venue._liquidation(listing(venue, 0.001), linear)
    assert (event.side, event.contracts) == ("short", 2)
    assert event.notional_usd == pytest.approx(125.957)
    inverse = {"direction": "sell", "volume": 12.0, "price": 51441.7, "created_at": 5}
    event = venue._liquidation(listing(venue, 100.0, "inverse"), inverse)
    assert (event.side, event.notional_usd) == ("long", 1200)


FRAMES = [
    (
        "binanceusdm",
        {"o": {"s": "BTC", "S": "SELL", "ap": "9910.5", "l": "0.014", "z": "0.5", "T": 5}},
        [("long", 0.5, 4955.25)],
    ),
    (
        "binancecoinm",
        {"o": {"s": "BTC", "S": "BUY", "ap": "9496.5", "l": "1", "z": "3", "T": 5}},
        [("short", 3, 300)],
    ),
    (
        "bybit",
        {
            "data": [
                {"s": "BTC", "S": "Buy", "v": "0.5", "p": "9911", "T": 5},
                {"s": "BTC", "S": "Sell", "v": "2", "p": "9911", "T": 5},
            ]
        },
        [("long", 0.5, 4955.5), ("short", 2, 19822)],
    ),
    (
        "okx",
        {
            "data": [
                {
                    "instId": "BTC",
                    "details": [
                        {"side": "sell", "posSide": "net", "bkPx": "10000", "sz": "13", "ts": "5"},
                        {"side": "buy", "posSide": "short", "bkPx": "10000", "sz": "2", "ts": "5"},
                    ],
                }
            ]
        },
        [("long", 13, 1300), ("short", 2, 200)],
    ),
]


@pytest.mark.parametrize(("venue", "frame", "expected"), FRAMES, indirect=["venue"])
async def test_sides_of_liquidation_orders(venue: Venue, frame: Any, expected: list[Any]) -> None:
    sizes = {"binancecoinm": 100.0, "okx": 0.01}
    kind: Kind = "inverse" if venue.id == "binancecoinm" else "linear"
    venue._ids = {"BTC": listing(venue, sizes.get(venue.id, 1.0), kind)}
    orders = list(venue._liquidations(frame))
    assert [(event.side, event.contracts) for event in orders] == [(side, contracts) for side, contracts, _ in expected]
    assert [event.notional_usd for event in orders] == pytest.approx([usd for *_, usd in expected])
    assert all(event.at == 5 for event in orders)


@pytest.mark.parametrize("venue", ["bybit"], indirect=True)
async def test_a_rate_given_as_a_percentage_is_converted(venue: Venue) -> None:
    of = listing(venue, 1.0, "inverse")
    for rate in (0.5, 0.005):
        tier = venue._tier(of, {"minNotional": 0, "maintenanceMarginRate": rate, "maxLeverage": 100})
        assert tier.maintenance_rate == 0.005


@pytest.mark.parametrize("venue", ["bybit"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        {"markPrice": "NaN"},
        {"markPrice": ""},
        {"markPrice": "-1"},
        {"openInterest": "0"},
        {"openInterest": "inf"},
        {"openInterestValue": "900"},
        {"indexPrice": "150"},
    ],
)
async def test_impossible_values_are_refused(venue: Venue, change: dict[str, str]) -> None:
    of = listing(venue, 1.0)
    row = {
        "markPrice": "100",
        "indexPrice": "100",
        "openInterest": "5",
        "openInterestValue": "500",
        "fundingRate": "0.0001",
        "fundingIntervalHour": "8",
        "time": 5,
    }
    assert venue._reading(of, venue._figures(of, row), None).contracts == 2.5
    with pytest.raises(ImplausibleError):
        venue._reading(of, venue._figures(of, row | change), None)


@pytest.mark.parametrize(
    ("base", "coin", "lot"),
    [
        ("BTC", "BTC", 1),
        ("1000PEPE", "PEPE", 1000),
        ("kPEPE", "PEPE", 1000),
        ("1000000MOG", "MOG", 1e6),
        ("1MBABYDOGE", "BABYDOGE", 1e6),
        ("10000SATS", "SATS", 1e4),
        ("SHIB1000", "SHIB", 1000),
        ("1INCH", "1INCH", 1),
        ("1000X", "1000X", 1),
        ("KAVA", "KAVA", 1),
        ("C98", "C98", 1),
    ],
)
def test_lots_of_a_coin_are_one_asset(base: str, coin: str, lot: float) -> None:
    assert coin_of(base) == (coin, lot)
