"""Bybit v5, linear: REST under /v5/market, liquidations on the public websocket (side is the position's)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from engine.loopback.format import Answer, Format, Query, Subscription, number
from engine.loopback.tape import Forced
from engine.market import HOUR_MS, MINUTE_MS

_CANDLES = {"1": MINUTE_MS, "5": 5 * MINUTE_MS, "15": 15 * MINUTE_MS, "60": HOUR_MS, "240": 4 * HOUR_MS}
_INTEREST = {"5min": 5 * MINUTE_MS, "15min": 15 * MINUTE_MS, "30min": 30 * MINUTE_MS, "1h": HOUR_MS, "4h": 4 * HOUR_MS}


class Bybit(Format):
    """Amounts in base units, lists newest first; a window keeps its newest rows."""

    venue = "bybit"
    stream_prefix = "/v5/public/linear"
    rest: ClassVar[Mapping[str, str]] = {
        "/v5/market/instruments-info": "instruments",
        "/v5/market/open-interest": "open_interest",
        "/v5/market/tickers": "tickers",
        "/v5/market/kline": "kline",
        "/v5/market/mark-price-kline": "mark_kline",
        "/v5/market/risk-limit": "risk_limit",
    }

    def instruments(self, query: Query) -> Answer:
        rows = [
            {
                "symbol": f"{coin}USDT",
                "contractType": "LinearPerpetual",
                "status": "Trading",
                "baseCoin": coin,
                "quoteCoin": "USDT",
                "settleCoin": "USDT",
                "launchTime": "1584230400000",
                "deliveryTime": "0",
                "deliveryFeeRate": "",
                "priceScale": "2",
                "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
                "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
                "lotSizeFilter": {
                    "maxOrderQty": "1190.000",
                    "minOrderQty": "0.001",
                    "qtyStep": "0.001",
                    "postOnlyMaxOrderQty": "1000.000",
                },
                "unifiedMarginTrade": True,
                "fundingInterval": 480,
            }
            for coin in self._tapes
        ]
        if query.get("status") == "PreLaunch":
            rows = []
        return self._wrap({"category": "linear", "list": rows, "nextPageCursor": ""})

    def open_interest(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return self._unknown()
        step, limit = _INTEREST[query["intervalTime"]], min(int(query.get("limit", 50)), 200)
        last = int(query.get("endTime", self.now))
        first = int(query["startTime"]) if "startTime" in query else last - limit * step
        rows = self.interest_rows(coin, step, first, last)[-limit:]
        found = [{"openInterest": number(amount), "timestamp": str(at)} for at, amount in reversed(rows)]
        return self._wrap({"symbol": f"{coin}USDT", "category": "linear", "list": found, "nextPageCursor": ""})

    def tickers(self, query: Query) -> Answer:
        coins = list(self._tapes) if "symbol" not in query else [self._coin(query)]
        return self._wrap({"category": "linear", "list": [self._ticker(coin) for coin in coins if coin]})

    def kline(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return self._unknown()
        step, limit = _CANDLES[query["interval"]], min(int(query.get("limit", 200)), 1000)
        last = int(query.get("end", self.now))
        first = int(query["start"]) if "start" in query else last - last % step - (limit - 1) * step
        rows = self.candles(coin, step, first, min(last, first + (limit - 1) * step))
        found = [[str(c.at), *(number(p, 2) for p in (c.open, c.high, c.low, c.close))] for c in reversed(rows)]
        return self._wrap({"symbol": f"{coin}USDT", "category": "linear", "list": found})

    def mark_kline(self, query: Query) -> Answer:
        return self.kline(query)

    def risk_limit(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return self._unknown()
        row = {
            "id": 1,
            "symbol": f"{coin}USDT",
            "riskLimitValue": "2000000",
            "maintenanceMargin": "0.005",
            "initialMargin": "0.01",
            "isLowestRisk": 1,
            "maxLeverage": "100.00",
        }
        return self._wrap({"category": "linear", "list": [row], "nextPageCursor": ""})

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:
        message = json.loads(text)
        answer = {"success": True, "ret_msg": "", "conn_id": "loopback", "req_id": str(message.get("req_id", ""))}
        if message.get("op") == "ping":
            yield json.dumps(answer | {"ret_msg": "pong", "op": "ping"})
            return
        for name in message.get("args", []):
            subscription.coins.add(name.removeprefix("allLiquidation.").removesuffix("USDT"))
        yield json.dumps(answer | {"op": message.get("op")})

    def tell(self, coin: str, event: Forced) -> str:
        row = {
            "T": event.at,
            "s": f"{coin}USDT",
            "S": "Buy" if event.side == "long" else "Sell",
            "v": number(event.amount_base, 3),
            "p": number(event.price, 2),
        }
        return json.dumps(
            {"topic": f"allLiquidation.{coin}USDT", "type": "snapshot", "ts": event.at + 100, "data": [row]}
        )

    def _ticker(self, coin: str) -> dict[str, str]:
        tape = self._tapes[coin]
        mark, interest = tape.mark(self.now), self.interest(coin, self.now)
        price = number(mark, 2)
        return {
            "symbol": f"{coin}USDT",
            "lastPrice": price,
            "indexPrice": price,
            "markPrice": price,
            "prevPrice24h": price,
            "price24hPcnt": "0",
            "highPrice24h": price,
            "lowPrice24h": price,
            "prevPrice1h": price,
            "openInterest": number(interest, 3),
            "openInterestValue": number(interest * mark, 2),
            "turnover24h": "0",
            "volume24h": "0",
            "fundingRate": number(tape.funding_rate(self.now)),
            "nextFundingTime": str(self.next_funding()),
            "predictedDeliveryPrice": "",
            "basisRate": "",
            "deliveryFeeRate": "",
            "deliveryTime": "0",
            "ask1Size": "1",
            "bid1Price": price,
            "ask1Price": price,
            "bid1Size": "1",
        }

    def _wrap(self, result: dict[str, Any]) -> Answer:
        return 200, {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": self.now}

    def _unknown(self) -> Answer:
        message = "params error: symbol invalid"
        return 200, {"retCode": 10001, "retMsg": message, "result": {}, "retExtInfo": {}, "time": self.now}

    def _coin(self, query: Query) -> str | None:
        coin = query.get("symbol", "").removesuffix("USDT")
        return coin if coin in self._tapes else None
