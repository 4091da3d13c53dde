"""Input that is consistent but wrong, or odd in one field: units, sides, kinds, optional figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.errors import ImplausibleError
from engine.market import HOUR_MS, Liquidation, Market, Sample
from engine.venues.binance_orders import FORGET_MS, Fills
from engine.venues.bounds import AHEAD_MS, OLDEST_MS, why_impossible
from engine.venues.names import coin_of, is_name
from engine.venues.parsing import FundingHours, Listing, decoration
from engine.venues.registry import VENUES
from engine.venues.venue import Venue

NOW = 1_764_000_000_000
MARKET = Market("binanceusdm", "BTC/USDT:USDT", "BTC")
SAMPLE = Sample(MARKET, NOW, NOW, 90_000.0, 90_000.0, 90_000.0, 90_000.0, 90_000.0, 50_000.0)


@pytest.fixture
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    made = VENUES[request.param]()
    yield made
    await made.close()


def of(venue: Venue) -> Listing:
    return Listing(Market(venue.id, "BTC/USDT:USDT", "BTC"), "BTCUSDT")


BYBIT = {"markPrice": "100", "openInterest": "20", "openInterestValue": "2000", "time": NOW, "fundingRate": "0.0001"}


@pytest.mark.parametrize("venue", ["bybit"], indirect=True)
@pytest.mark.parametrize(
    ("more", "contracts"),
    [
        ({}, 10.0),
        ({"singleOpenInterest": "9.5", "singleOpenInterestValue": "950"}, 9.5),
        ({"singleOpenInterest": "", "singleOpenInterestValue": ""}, 10.0),
    ],
)
async def test_bybit_counts_each_contract_once(venue: Venue, more: dict[str, str], contracts: float) -> None:
    """We use the one-sided field if it is sent, else half of the two-sided one."""
    row = {**BYBIT, **more}
    assert venue._reading(of(venue), venue._figures(of(venue), row), NOW).contracts == contracts
    history = {"timestamp": NOW, "openInterestAmount": 20.0, "info": {"openInterest": "20", **more}}
    assert venue._open_at(of(venue), history).contracts == contracts


@pytest.mark.parametrize("venue", ["gate"], indirect=True)
async def test_gate_is_halved_if_its_figures_count_twice(venue: Venue) -> None:
    """Its list of contracts counts the positions of one side."""
    for ratio, contracts in ((2.0, 500.0), (1.0, 1000.0)):
        held = {f"C{i}_USDT": {"id": f"C{i}_USDT", "info": {"position_size": 100}} for i in range(4)}

        async def load(again: bool, markets: Any = held) -> None:
            venue._exchange.markets = markets

        async def tickers(query: Any, times: float = ratio) -> Any:
            return [{"contract": f"C{i}_USDT", "total_size": str(100 * times)} for i in range(4)]

        venue._exchange.load_markets, venue._exchange.publicFuturesGetSettleTickers = load, tickers
        await venue._load()
        row = {"mark_price": "1", "total_size": "1000"}
        assert venue._figures(of(venue), row).contracts == contracts


@pytest.mark.parametrize("venue", ["gate"], indirect=True)
async def test_a_partial_liquidation_counts_the_order_not_the_position(venue: Venue) -> None:
    row = {"size": "-1000", "order_size": "40", "left": "10", "fill_price": "5", "time": NOW / 1000}
    event = venue._liquidation(of(venue), row)
    assert (event.side, event.contracts) == ("short", 30.0)


def order(filled: float, at: int = NOW, state: str = "PARTIALLY_FILLED", **more: str) -> dict[str, Any]:
    return {"s": "BTCUSDT", "S": "SELL", "q": "10", "p": "9", "l": "1", "z": str(filled), "T": at, "X": state} | more


def test_each_fill_of_a_liquidation_order_counts_once() -> None:
    """Fills within a second have no frame of their own, and a repeated frame adds nothing."""
    fills = Fills()
    assert fills.new_amount(order(4)) == 4
    assert fills.new_amount(order(4)) == 0
    assert fills.new_amount(order(7, NOW + 1000)) == 3
    assert fills.new_amount(order(10, NOW + 2000, "FILLED")) == 3
    assert fills.new_amount(order(10, NOW + 2000, "FILLED")) == 0
    assert fills.new_amount(order(10, NOW + 3000, "FILLED")) == 10, "another order of the same size"
    assert fills.new_amount(order(2, S="BUY")) == 2, "the other side is another order"
    assert fills.new_amount(order(5, NOW + 3000 + FORGET_MS + 1)) == 5


@pytest.mark.parametrize(
    ("change", "fine"),
    [
        ({}, True),
        ({"at": NOW + AHEAD_MS}, True),
        ({"at": NOW + AHEAD_MS + 1}, False),
        ({"at": NOW - OLDEST_MS - 1}, False),
        ({"at": NOW * 1000}, False),
        ({"at": int(1e300)}, False),
        ({"price": 1e12}, False),
        ({"price": 20_000.0}, False),
        ({"contracts": 50_001.0}, False),
        ({"contracts": 1e17}, False),
    ],
)
def test_impossible_liquidations_are_recognized(change: dict[str, Any], fine: bool) -> None:
    """Its time, price and size are compared with now and the market's own last figures."""
    given = {"at": NOW, "price": 90_000.0, "contracts": 2.0} | change
    event = Liquidation(MARKET, given["at"], "long", given["price"], given["contracts"])
    assert (why_impossible(event, NOW, SAMPLE) == "") is fine


def test_before_the_first_figures_only_an_absurd_size_is_refused() -> None:
    assert not why_impossible(Liquidation(MARKET, NOW, "long", 90_000.0, 5.0), NOW, None)
    assert why_impossible(Liquidation(MARKET, NOW, "long", 90_000.0, 1e9), NOW, None)


@pytest.mark.parametrize(
    "name", ["$\\FRAC{1}{2}", "discord.gg/x", "A\x1b[31m", "", " ", "A" * 21, "BTC-USD", "A\u202eB", "@everyone"]
)
def test_invalid_names_are_refused(name: str) -> None:
    """Names are shown in messages, pictures and terminals."""
    with pytest.raises(ImplausibleError):
        coin_of(name)


def test_names_are_letters_and_digits_of_any_script() -> None:
    assert all(is_name(name) for name in ("BTC", "1INCH", "币安人生", "ЖЖ", "A" * 20))


def test_funding_intervals_follow_the_next_payment() -> None:
    """Venues may shorten them during the day, and we read their list only once a day."""
    clock, at = FundingHours(), NOW // (8 * HOUR_MS) * 8 * HOUR_MS
    assert clock.hours("a", 8.0, at) == 8.0
    assert clock.hours("a", 8.0, at + HOUR_MS) == 1.0
    assert clock.hours("a", 8.0, at + 2 * HOUR_MS) == 1.0
    assert clock.hours("b", 8.0, at + 4 * HOUR_MS) == 4.0, "eight hours would not end there"
    assert clock.hours("c", 8.0, None) == 8.0
    assert clock.hours("c", 4.0, at) == 4.0


@pytest.mark.parametrize("odd", ["abc", None, [], {}, "nan", "inf", "1e400", ""])
def test_an_invalid_optional_figure_is_none(odd: Any) -> None:
    assert decoration(odd) is None


@pytest.mark.parametrize("venue", ["bybit"], indirect=True)
@pytest.mark.parametrize("name", ["fundingRate", "indexPrice", "openInterestValue", "fundingIntervalHour"])
async def test_a_bad_extra_figure_keeps_the_reading(venue: Venue, name: str) -> None:
    reading = venue._reading(of(venue), venue._figures(of(venue), {**BYBIT, name: "what"}), NOW)
    assert (reading.mark, reading.contracts) == (100.0, 10.0)


@pytest.mark.parametrize("venue", ["bybit"], indirect=True)
async def test_an_absurd_funding_rate_is_dropped_alone(venue: Venue) -> None:
    row = {**BYBIT, "fundingRate": "17"}
    assert venue._reading(of(venue), venue._figures(of(venue), row), NOW).funding_rate is None
    assert venue.refusals["funding"] == 1


KINDS = [
    ("binanceusdm", {"underlyingType": "COIN"}, True),
    ("binanceusdm", {"underlyingType": "EQUITY"}, False),
    ("binanceusdm", {"underlyingType": "INDEX"}, False),
    ("binanceusdm", {"underlyingType": "COIN", "contractType": "TRADIFI_PERPETUAL"}, False),
    ("bybit", {"symbolType": "forex"}, False),
    ("bybit", {"symbolType": "what comes next year"}, False),
    ("bybit", {"symbolType": "", "marketRegion": "US"}, False),
    ("bybit", {"symbolType": "innovation"}, True),
    ("okx", {"instCategory": "1"}, True),
    ("okx", {"instCategory": "3"}, False),
    ("okx", {"instCategory": ""}, False),
    ("bitget", {"isRwa": "YES"}, False),
    ("bitget", {"isRwa": "NO"}, True),
    ("gate", {"contract_type": ""}, True),
    ("gate", {"contract_type": "stocks"}, False),
    ("deribit", {"underlying_type": "equity"}, False),
    ("krakenfutures", {"tradfi": True}, False),
    ("krakenfutures", {"tradfi": False, "category": "Forex"}, False),
    ("kucoinfutures", {"assetClass": "STOCK"}, False),
    ("kucoinfutures", {"assetClass": "CRYPTO"}, True),
    ("htx", {"tradfi_labels": ["Metals"]}, False),
    ("htx", {"tradfi_labels": [], "labels": ["stock", "hot"]}, False),
    ("htx", {"tradfi_labels": [], "labels": ["hot"]}, True),
]


@pytest.mark.parametrize(("venue", "info", "coin"), KINDS, indirect=["venue"])
async def test_only_known_kinds_of_coins_are_coins(venue: Venue, info: dict[str, Any], coin: bool) -> None:
    assert venue._is_coin({"info": info}) is coin
