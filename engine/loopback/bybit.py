"""Bybit v5, linear and inverse: REST under /v5/market, liquidations on websockets (with the position's side)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from engine.loopback.format import INVERSE_COINS, Answer, Contract, Format, Query, Subscription, number
from engine.loopback.tape import Forced
from engine.market import HOUR_MS, MINUTE_MS

_CANDLES = {"1": MINUTE_MS, "5": 5 * MINUTE_MS, "15": 15 * MINUTE_MS, "60": HOUR_MS, "240": 4 * HOUR_MS}
_INTEREST = {"5min": 5 * MINUTE_MS, "15min": 15 * MINUTE_MS, "30min": 30 * MINUTE_MS, "1h": HOUR_MS, "4h": 4 * HOUR_MS}


class Bybit(Format):
    """Amounts in base units, or in USD for inverse contracts. Lists are newest first.

    A limit keeps a window's newest rows of open interest but its oldest candles. Open interest counts both longs and
    shorts; tickers also give it for one side, history does not.
    """

    venue = "bybit"
    stream_prefix = "/v5/public/"
    rest: ClassVar[Mapping[str, str]] = {
        "/v5/market/instruments-info": "instruments",
        "/v5/market/open-interest": "open_interest",
        "/v5/market/tickers": "tickers",
        "/v5/market/kline": "kline",
        "/v5/market/mark-price-kline": "kline",
        "/v5/market/risk-limit": "risk_limit",
        "/v5/market/orderbook": "orderbook",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            return Contract(f"{coin}USD", coin, inverse=True) if coin in INVERSE_COINS else None
        lot = self.lot_of(coin)
        return Contract(f"{'1000' if lot > 1 else ''}{coin}USDT", coin, lot=lot, size=lot)

    def instruments(self, query: Query) -> Answer:
        rows = [self._instrument(contract) for contract in self._category(query)]
        if query.get("status") == "PreLaunch":
            rows = []
        return self._wrap({"category": query.get("category", "linear"), "list": rows, "nextPageCursor": ""})

    def _instrument(self, contract: Contract) -> dict[str, Any]:
        quote = "USD" if contract.inverse else "USDT"
        base = contract.id.removesuffix(quote)
        return {
            "symbol": contract.id,
            "contractType": "InversePerpetual" if contract.inverse else "LinearPerpetual",
            "status": "Trading",
            "baseCoin": base,
            "quoteCoin": quote,
            "settleCoin": base if contract.inverse else quote,
            "launchTime": "1584230400000",
            "deliveryTime": "0",
            "deliveryFeeRate": "",
            "priceScale": "2",
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
            "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
            "lotSizeFilter": {
                "maxOrderQty": "1190.000",
                "minOrderQty": "1" if contract.inverse else "0.001",
                "qtyStep": "1" if contract.inverse else "0.001",
                "postOnlyMaxOrderQty": "1000.000",
            },
            "unifiedMarginTrade": True,
            "fundingInterval": 480,
        }

    def open_interest(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        step, limit = _INTEREST[query["intervalTime"]], min(int(query.get("limit", 50)), 200)
        last = int(query.get("endTime", self.now))
        first = int(query["startTime"]) if "startTime" in query else last - limit * step
        rows = self.steps(contract, step, first, last)[-limit:]
        items = [{"openInterest": number(2 * self._open(contract, at)), "timestamp": str(at)} for at in reversed(rows)]
        category = query.get("category", "linear")
        return self._wrap({"symbol": contract.id, "category": category, "list": items, "nextPageCursor": ""})

    def tickers(self, query: Query) -> Answer:
        rows = [
            self._ticker(contract) for contract in self._category(query) if query.get("symbol") in (None, contract.id)
        ]
        return self._wrap({"category": query.get("category", "linear"), "list": rows})

    def kline(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        step, limit = _CANDLES[query["interval"]], min(int(query.get("limit", 200)), 1000)
        last = int(query.get("end", self.now))
        first = int(query["start"]) if "start" in query else last - last % step - (limit - 1) * step
        rows = self.candles(contract, step, first, min(last, first + (limit - 1) * step))
        items = [[str(c.at), *(number(p) for p in (c.open, c.high, c.low, c.close))] for c in reversed(rows)]
        return self._wrap({"symbol": contract.id, "category": query.get("category", "linear"), "list": items})

    def risk_limit(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        tiers = [("2000000", "0.005", "0.01", "100.00"), ("10000000", "0.01", "0.02", "50.00")]
        rows = [
            {
                "id": number_of,
                "symbol": contract.id,
                "riskLimitValue": limit,
                "maintenanceMargin": maintenance,
                "initialMargin": initial,
                "isLowestRisk": int(number_of == 1),
                "maxLeverage": most,
            }
            for number_of, (limit, maintenance, initial, most) in enumerate(tiers, start=1)
        ]
        return self._wrap({"category": query.get("category", "linear"), "list": rows, "nextPageCursor": ""})

    def orderbook(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        bids, asks = self.book(contract, min(int(query.get("limit", 25)), 500))
        sides = (
            [[number(price), number(self._amount(contract, coins, price / contract.lot))] for price, coins in rows]
            for rows in (bids, asks)
        )
        return self._wrap({"s": contract.id, **dict(zip("ba", sides, strict=True)), "ts": self.now, "u": 1, "seq": 1})

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:
        message = json.loads(text)
        answer = {"success": True, "ret_msg": "", "conn_id": "loopback", "req_id": str(message.get("req_id", ""))}
        if message.get("op") == "ping":
            yield json.dumps(answer | {"ret_msg": "pong", "op": "ping"})
            return
        subscription.ids |= {name.removeprefix("allLiquidation.") for name in message.get("args", [])}
        yield json.dumps(answer | {"op": message.get("op")})

    def tell(self, contract: Contract, event: Forced) -> str:
        row = {
            "T": event.at,
            "s": contract.id,
            "S": "Buy" if event.side == "long" else "Sell",
            "v": number(self._amount(contract, event.amount_base, event.price), 3),
            "p": number(event.price * contract.lot),
        }
        topic = f"allLiquidation.{contract.id}"
        return json.dumps({"topic": topic, "type": "snapshot", "ts": event.at + 100, "data": [row]})

    def _ticker(self, contract: Contract) -> dict[str, str]:
        price = number(self.mark(contract))
        value = self.coins(contract) if contract.inverse else self.usd(contract)
        return {
            "symbol": contract.id,
            "lastPrice": price,
            "indexPrice": price,
            "markPrice": price,
            "prevPrice24h": price,
            "price24hPcnt": "0",
            "highPrice24h": price,
            "lowPrice24h": price,
            "prevPrice1h": price,
            "openInterest": number(2 * self._open(contract), 3),
            "openInterestValue": number(2 * value, 4),
            "singleOpenInterest": number(self._open(contract), 3),
            "singleOpenInterestValue": number(value, 4),
            "turnover24h": "0",
            "volume24h": "0",
            "fundingRate": number(self.funding_rate(contract)),
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

    def _category(self, query: Query) -> list[Contract]:
        return [c for c in self.contracts.values() if c.inverse == (query.get("category") == "inverse")]

    def _open(self, contract: Contract, at: int | None = None) -> float:
        """Return open interest with each contract counted once: lots of coins, or USD for inverse contracts."""
        return self.usd(contract, at) if contract.inverse else self.lots(contract, at)

    def _amount(self, contract: Contract, coins: float, price: float) -> float:
        return coins * price if contract.inverse else coins / contract.lot

    def _wrap(self, result: dict[str, Any]) -> Answer:
        return 200, {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": self.now}

    def _unknown(self) -> Answer:
        message = "params error: symbol invalid"
        return 200, {"retCode": 10001, "retMsg": message, "result": {}, "retExtInfo": {}, "time": self.now}
