"""The loopback exchange's answers have the keys and types of recorded raw answers."""

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
    answers: list[Any] = json.loads((FIXTURES / venue / f"{name}.raw.json").read_text())["raw"]
    return answers


def shape(value: Any, path: str = "") -> dict[str, type]:
    """Return the type at every key path of a JSON value. List items share a path."""
    if isinstance(value, dict):
        return {p: t for key, item in value.items() for p, t in shape(item, f"{path}.{key}").items()} | {path: dict}
    if isinstance(value, list):
        types: dict[str, type] = {path: list}
        for item in value:
            types |= shape(item, f"{path}[]")
        return types
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
def test_keys_and_types_match_the_venues(
    kind: type[Format], venue: str, name: str, index: int, path: str, query: dict[str, str], numeric: set[str]
) -> None:
    answer = made(kind).answer(path, query)
    assert answer is not None
    status, payload = answer
    assert status == 200
    wanted, actual = shape(raw(venue, name)[index]), shape(json.loads(json.dumps(payload)))
    for key, kind_of in wanted.items():
        # Recorded samples also have keys of other products; the keys that we send must have the recorded type.
        last = key.rsplit(".", 1)[-1]
        if key in actual and last not in numeric:
            assert actual[key] is kind_of, key
    shared = set(wanted) & set(actual)
    assert len(shared) >= 0.75 * len(wanted), sorted(set(wanted) - set(actual))


@needs_fixtures
@pytest.mark.parametrize(
    ("kind", "venue", "index", "path", "pick"),
    [
        (BinanceUsdm, "binance", 1, "/fapi/v1/exchangeInfo", lambda body: body["symbols"][0]),
        (Bybit, "bybit", 0, "/v5/market/instruments-info", lambda body: body["result"]["list"][0]),
        (Okx, "okx", 0, "/api/v5/public/instruments", None),
    ],
)
def test_markets_have_the_venues_keys(kind: type[Format], venue: str, index: int, path: str, pick: Any) -> None:
    answer = made(kind).answer(path, {})
    assert answer is not None
    body = answer[1]
    recorded = raw(venue, "fetchMarkets")[index]
    wanted = set(pick(recorded)) if pick else set(recorded)
    actual = set(pick(body)) if pick else set(body["data"][0])
    assert len(wanted & actual) >= 0.6 * len(wanted), sorted(wanted - actual)


@pytest.mark.parametrize("kind", [BinanceUsdm, Bybit, Okx])
def test_unknown_paths_and_coins_get_the_venues_errors(kind: type[Format]) -> None:
    api = made(kind)
    assert api.answer("/nowhere", {}) is None
    path = next(path for path, name in api.rest.items() if name == "open_interest")
    answer = api.answer(path, {"symbol": "NOPEUSDT", "instId": "NOPE-USDT-SWAP", "intervalTime": "5min"})
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
def test_a_stream_sends_its_subscription(kind: type[Format], subscribe: str) -> None:
    api, subscription = made(kind), Subscription()
    contract = next(iter(api.contracts.values()))
    assert not subscription.wants(contract.id)
    assert list(api.hear(subscribe, subscription))
    assert subscription.wants(contract.id)
    event = json.loads(api.tell(contract, Forced(NOW, kind.venue, "long", 88_000.0, 0.5)))
    side = {"binanceusdm": ("o", "S", "SELL"), "bybit": ("data", "S", "Buy"), "okx": ("data", "details", "sell")}
    assert side[kind.venue][2] in json.dumps(event)
