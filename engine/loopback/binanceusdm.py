"""Binance USDⓈ-M futures: REST under /fapi and /futures, forced orders on a combined websocket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import ClassVar

from engine.loopback.format import Answer, Format, Query, Subscription, number
from engine.loopback.tape import Forced
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "1h": HOUR_MS, "4h": 4 * HOUR_MS}
_UNKNOWN: Answer = (400, {"code": -1121, "msg": "Invalid symbol."})
HISTORY_MS = 30 * 24 * HOUR_MS


class BinanceUsdm(Format):
    """Amounts in base units; a query without limit gets 500 candles or 30 rows of open interest."""

    venue = "binanceusdm"
    stream_prefix = "/market/ws/"
    rest: ClassVar[Mapping[str, str]] = {
        "/fapi/v1/exchangeInfo": "exchange_info",
        "/fapi/v1/openInterest": "open_interest",
        "/futures/data/openInterestHist": "open_interest_history",
        "/fapi/v1/premiumIndex": "premium_index",
        "/fapi/v1/klines": "klines",
        "/fapi/v1/markPriceKlines": "mark_klines",
    }

    def exchange_info(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        symbols = [
            {
                "symbol": f"{coin}USDT",
                "pair": f"{coin}USDT",
                "contractType": "PERPETUAL",
                "deliveryDate": 4133404800000,
                "onboardDate": 1569398400000,
                "status": "TRADING",
                "maintMarginPercent": "2.5000",
                "requiredMarginPercent": "5.0000",
                "baseAsset": coin,
                "quoteAsset": "USDT",
                "marginAsset": "USDT",
                "pricePrecision": 2,
                "quantityPrecision": 3,
                "baseAssetPrecision": 8,
                "quotePrecision": 8,
                "underlyingType": "COIN",
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "4529764", "tickSize": "0.10"},
                    {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
                    {"filterType": "MIN_NOTIONAL", "notional": "100"},
                ],
            }
            for coin in self._tapes
        ]
        info = {"timezone": "UTC", "serverTime": self.now, "rateLimits": [], "exchangeFilters": [], "symbols": symbols}
        return 200, info

    def open_interest(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return _UNKNOWN
        amount = number(self.interest(coin, self.now), 3)
        return 200, {"symbol": f"{coin}USDT", "openInterest": amount, "time": self.now}

    def open_interest_history(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return _UNKNOWN
        step, limit = _STEPS[query["period"]], min(int(query.get("limit", 30)), 500)
        last = int(query.get("endTime", self.now))
        first = int(query.get("startTime", last - (limit - 1) * step))
        if first < self.now - HISTORY_MS - step:
            return 400, {"code": -1130, "msg": "parameter 'startTime' is invalid."}
        rows = self.interest_rows(coin, step, first, last)[-limit:]
        return 200, [
            {
                "symbol": f"{coin}USDT",
                "sumOpenInterest": number(amount),
                "sumOpenInterestValue": number(amount * self._tapes[coin].mark(at)),
                "timestamp": at,
            }
            for at, amount in rows
        ]

    def premium_index(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return _UNKNOWN
        mark = number(self._tapes[coin].mark(self.now))
        return 200, {
            "symbol": f"{coin}USDT",
            "markPrice": mark,
            "indexPrice": mark,
            "estimatedSettlePrice": mark,
            "lastFundingRate": number(self._tapes[coin].funding_rate(self.now)),
            "interestRate": "0.00010000",
            "nextFundingTime": self.next_funding(),
            "time": self.now,
        }

    def klines(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return _UNKNOWN
        step, limit = _STEPS[query["interval"]], min(int(query.get("limit", 500)), 1500)
        last = int(query.get("endTime", self.now))
        first = int(query["startTime"]) if "startTime" in query else last - last % step - (limit - 1) * step
        last = min(last, first + limit * step)
        rows = self.candles(coin, step, first, last)[:limit]
        return 200, [
            [c.at, *(number(p) for p in (c.open, c.high, c.low, c.close)), "0", c.at + step - 1, "0", 0, "0", "0", "0"]
            for c in rows
        ]

    def mark_klines(self, query: Query) -> Answer:
        return self.klines(query)

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:
        message = json.loads(text)
        for name in message.get("params", []):
            if name == "!forceOrder@arr":
                subscription.everything = True
            elif name.endswith("usdt@forceOrder"):
                subscription.coins.add(name.removesuffix("usdt@forceOrder").upper())
        yield json.dumps({"result": None, "id": message.get("id")})

    def tell(self, coin: str, event: Forced) -> str:
        amount, price = number(event.amount_base, 3), number(event.price, 2)
        order = {
            "s": f"{coin}USDT",
            "S": "SELL" if event.side == "long" else "BUY",
            "o": "LIMIT",
            "f": "IOC",
            "q": amount,
            "p": price,
            "ap": price,
            "X": "FILLED",
            "l": amount,
            "z": amount,
            "T": event.at,
        }
        return json.dumps({"e": "forceOrder", "E": event.at + 100, "o": order})

    def _coin(self, query: Query) -> str | None:
        coin = query.get("symbol", "").removesuffix("USDT")
        return coin if coin in self._tapes else None
