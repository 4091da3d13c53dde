"""Binance futures, USDⓈ-M and COIN-M: REST under /fapi or /dapi and /futures, liquidation orders on a websocket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from engine.loopback.format import Answer, Contract, Format, Query, Subscription, number
from engine.loopback.tape import Forced
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "1h": HOUR_MS, "4h": 4 * HOUR_MS}
_UNKNOWN: Answer = (400, {"code": -1121, "msg": "Invalid symbol."})
HISTORY_MS = 30 * 24 * HOUR_MS


class BinanceUsdm(Format):
    """Amounts in base units. A query without limit returns 500 candles or 30 rows of open interest."""

    venue = "binanceusdm"
    stream_prefix = "/market/ws/"
    rest: ClassVar[Mapping[str, str]] = {
        "/fapi/v1/exchangeInfo": "exchange_info",
        "/fapi/v1/openInterest": "open_interest",
        "/futures/data/openInterestHist": "open_interest_history",
        "/fapi/v1/premiumIndex": "premium_index",
        "/fapi/v1/klines": "klines",
        "/fapi/v1/markPriceKlines": "klines",
        "/fapi/v1/ticker/24hr": "day_tickers",
        "/fapi/v1/depth": "depth",
        "/fapi/v1/fundingInfo": "funding_info",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            return None
        lot = self.lot_of(coin)
        return Contract(f"{'1000' if lot > 1 else ''}{coin}USDT", coin, lot=lot, size=lot)

    def exchange_info(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        symbols = [self._symbol(contract) for contract in self.contracts.values()]
        info = {"timezone": "UTC", "serverTime": self.now, "rateLimits": [], "exchangeFilters": [], "symbols": symbols}
        return 200, info

    def _symbol(self, contract: Contract) -> dict[str, Any]:
        return {
            "symbol": contract.id,
            "pair": contract.id,
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            "onboardDate": 1569398400000,
            "status": "TRADING",
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "baseAsset": contract.id.removesuffix("USDT"),
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

    def open_interest(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return _UNKNOWN
        return 200, {"symbol": contract.id, "openInterest": number(self.held(contract), 3), "time": self.now}

    def open_interest_history(self, query: Query) -> Answer:
        contract = self._of_history(query)
        if contract is None:
            return _UNKNOWN
        step, limit = _STEPS[query["period"]], min(int(query.get("limit", 30)), 500)
        last = int(query.get("endTime", self.now))
        first = int(query.get("startTime", last - (limit - 1) * step))
        if first < self.now - HISTORY_MS - step:
            return 400, {"code": -1130, "msg": "parameter 'startTime' is invalid."}
        return 200, [self._history_row(contract, at) for at in self.steps(contract, step, first, last)[-limit:]]

    def _of_history(self, query: Query) -> Contract | None:
        return self.found(query)

    def _history_row(self, contract: Contract, at: int) -> dict[str, Any]:
        return {
            "symbol": contract.id,
            "sumOpenInterest": number(self.held(contract, at)),
            "sumOpenInterestValue": number(self.usd(contract, at)),
            "timestamp": at,
        }

    def premium_index(self, query: Query) -> Answer:
        rows = [self._premium(contract) for contract in self.wanted(query)]
        if "symbol" in query:
            return (200, rows[0]) if rows else _UNKNOWN
        return 200, rows

    def _premium(self, contract: Contract) -> dict[str, Any]:
        mark = number(self.mark(contract))
        return {
            "symbol": contract.id,
            "markPrice": mark,
            "indexPrice": mark,
            "estimatedSettlePrice": mark,
            "lastFundingRate": number(self.funding_rate(contract)),
            "interestRate": "0.00010000",
            "nextFundingTime": self.next_funding(),
            "time": self.now,
        }

    def funding_info(self, query: Query) -> Answer:  # noqa: ARG002
        """Return the markets with funding intervals other than eight hours: none."""
        return 200, []

    def day_tickers(self, query: Query) -> Answer:
        return 200, [
            {"symbol": c.id, "lastPrice": number(self.mark(c)), "quoteVolume": number(self.usd(c) * 2)}
            for c in self.wanted(query)
        ]

    def klines(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return _UNKNOWN
        step, limit = _STEPS[query["interval"]], min(int(query.get("limit", 500)), 1500)
        last = int(query.get("endTime", self.now))
        first = int(query["startTime"]) if "startTime" in query else last - last % step - (limit - 1) * step
        last = min(last, first + limit * step)
        rows = self.candles(contract, step, first, last)[:limit]
        return 200, [
            [c.at, *(number(p) for p in (c.open, c.high, c.low, c.close)), "0", c.at + step - 1, "0", 0, "0", "0", "0"]
            for c in rows
        ]

    def depth(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return _UNKNOWN
        bids, asks = self.book(contract, 200)
        sides = (
            [[number(price), number(self.in_contracts(contract, coins, price / contract.lot))] for price, coins in rows]
            for rows in (bids, asks)
        )
        return 200, {
            "lastUpdateId": self.now,
            "E": self.now,
            "T": self.now,
            **dict(zip(("bids", "asks"), sides, strict=True)),
        }

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:
        message = json.loads(text)
        for name in message.get("params", []):
            if name == "!forceOrder@arr":
                subscription.everything = True
            elif name.endswith("@forceOrder"):
                subscription.ids.add(name.removesuffix("@forceOrder").upper())
        yield json.dumps({"result": None, "id": message.get("id")})

    def tell(self, contract: Contract, event: Forced) -> str:
        amount = number(self.in_contracts(contract, event.amount_base, event.price), 3)
        price = number(event.price * contract.lot)
        order = {
            "s": contract.id,
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
