"""What the loopback exchange answers has the keys and types of recorded raw answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.clock import ManualClock
from engine.loopback.binanceusdm import BinanceUsdm
from engine.loopback.bybit import Bybit
from engine.loopback.format import Format, Subscription
from engine.loopback.okx import Okx
from engine.loopback.tape import Forced, Tape
from engine.market import DAY_MS
from tests.conftest import FIXTURES, needs_fixtures
from tests.engine.loopback.markets import START, WavySource

NOW = START + 2 * DAY_MS + 17_000


def made(kind: type[Format]) -> Format:
    return kind({"BTC": Tape(WavySource())}, ManualClock(NOW))


def raw(venue: str, name: str) -> list[Any]:
    found: list[Any] = json.loads((FIXTURES / venue / f"{name}.raw.json").read_text())["raw"]
    return found


def shape(value: Any, path: str = "") -> dict[str, type]:
    """Every key path of a JSON value with the type found there; list items share a path."""
    if isinstance(value, dict):
        return {p: t for key, item in value.items() for p, t in shape(item, f"{path}.{key}").items()} | {path: dict}
    if isinstance(value, list):
        found: dict[str, type] = {path: list}
        for item in value:
            found |= shape(item, f"{path}[]")
        return found
    return {path: type(value)}


CASES = [
    (
        BinanceUsdm,
        "binance",
        "fetchFundingRate",
        0,
        "/fapi/v1/premiumIndex",
        {"symbol": "BTCUSDT"},
        {"nextFundingTime", "time"},
    ),
    (BinanceUsdm, "binance", "fetchOpenInterest", 0, "/fapi/v1/openInterest", {"symbol": "BTCUSDT"}, set()),
    (
        BinanceUsdm,
        "binance",
        "fetchOpenInterestHistory",
        0,
        "/futures/data/openInterestHist",
        {"symbol": "BTCUSDT", "period": "5m"},
        set(),
    ),
    (
        BinanceUsdm,
        "binance",
        "fetchOHLCV",
        1,
        "/fapi/v1/markPriceKlines",
        {"symbol": "BTCUSDT", "interval": "5m"},
        set(),
    ),
    (
        Bybit,
        "bybit",
        "fetchOpenInterestHistory",
        0,
        "/v5/market/open-interest",
        {"symbol": "BTCUSDT", "intervalTime": "5min"},
        set(),
    ),
    (Bybit, "bybit", "fetchLeverageTiers", 0, "/v5/market/risk-limit", {"symbol": "BTCUSDT"}, set()),
    (Bybit, "bybit", "fetchOHLCV", 0, "/v5/market/kline", {"symbol": "BTCUSDT", "interval": "5"}, set()),
    (Okx, "okx", "fetchOpenInterest", 0, "/api/v5/public/open-interest", {"instId": "BTC-USDT-SWAP"}, set()),
    (
        Okx,
        "okx",
        "fetchOpenInterestHistory",
        0,
        "/api/v5/rubik/stat/contracts/open-interest-history",
        {"instId": "BTC-USDT-SWAP", "period": "5m"},
        set(),
    ),
    (Okx, "okx", "fetchFundingRate", 0, "/api/v5/public/funding-rate", {"instId": "BTC-USDT-SWAP"}, set()),
    (Okx, "okx", "fetchLeverageTiers", 0, "/api/v5/public/position-tiers", {"instFamily": "BTC-USDT"}, set()),
]


@needs_fixtures
@pytest.mark.parametrize(("kind", "venue", "name", "index", "path", "query", "numeric"), CASES)
def test_keys_and_types_are_those_of_the_venue(
    kind: type[Format], venue: str, name: str, index: int, path: str, query: dict[str, str], numeric: set[str]
) -> None:
    answer = made(kind).answer(path, query)
    assert answer is not None
    status, payload = answer
    assert status == 200
    wanted, found = shape(raw(venue, name)[index]), shape(json.loads(json.dumps(payload)))
    for key, kind_of in wanted.items():
        # The venue's own samples hold keys of other products; what its futures send must be there, as they send it.
        last = key.rsplit(".", 1)[-1]
        if key in found and last not in numeric:
            assert found[key] is kind_of, key
    shared = set(wanted) & set(found)
    assert len(shared) >= 0.75 * len(wanted), sorted(set(wanted) - set(found))


@needs_fixtures
@pytest.mark.parametrize(
    ("kind", "venue", "index", "path", "pick"),
    [
        (BinanceUsdm, "binance", 1, "/fapi/v1/exchangeInfo", lambda body: body["symbols"][0]),
        (Bybit, "bybit", 0, "/v5/market/instruments-info", lambda body: body["result"]["list"][0]),
        (Okx, "okx", 0, "/api/v5/public/instruments", None),
    ],
)
def test_markets_carry_the_venues_keys(kind: type[Format], venue: str, index: int, path: str, pick: Any) -> None:
    answer = made(kind).answer(path, {})
    assert answer is not None
    body = answer[1]
    recorded = raw(venue, "fetchMarkets")[index]
    wanted = set(pick(recorded)) if pick else set(recorded)
    found = set(pick(body)) if pick else set(body["data"][0])
    assert len(wanted & found) >= 0.6 * len(wanted), sorted(wanted - found)


@pytest.mark.parametrize("kind", [BinanceUsdm, Bybit, Okx])
def test_an_unknown_path_and_an_unknown_coin_are_answered_as_the_venue_would(kind: type[Format]) -> None:
    found = made(kind)
    assert found.answer("/nowhere", {}) is None
    path = next(path for path, name in found.rest.items() if name == "open_interest")
    answer = found.answer(path, {"symbol": "NOPEUSDT", "instId": "NOPE-USDT-SWAP", "intervalTime": "5min"})
    assert answer is not None
    status, body = answer
    assert status == 400 or body.get("retCode") == 10001 or body.get("code") == "51001"


@pytest.mark.parametrize(
    ("kind", "subscribe"),
    [
        (BinanceUsdm, '{"method":"SUBSCRIBE","params":["btcusdt@forceOrder"],"id":1}'),
        (Bybit, '{"op":"subscribe","req_id":1,"args":["allLiquidation.BTCUSDT"]}'),
        (Okx, '{"op":"subscribe","args":[{"channel":"liquidation-orders","instType":"SWAP"}]}'),
    ],
)
def test_a_stream_is_told_what_it_subscribed_to(kind: type[Format], subscribe: str) -> None:
    found, subscription = made(kind), Subscription()
    contract = next(iter(found.contracts.values()))
    assert not subscription.wants(contract.id)
    assert list(found.hear(subscribe, subscription))
    assert subscription.wants(contract.id)
    event = json.loads(found.tell(contract, Forced(NOW, kind.venue, "long", 88_000.0, 0.5)))
    side = {"binanceusdm": ("o", "S", "SELL"), "bybit": ("data", "S", "Buy"), "okx": ("data", "details", "sell")}
    assert side[kind.venue][2] in json.dumps(event)
