"""Kraken Futures: REST under /derivatives and /api/charts, funding in USD (or coins) per contract and hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.history import iso
from engine.loopback.format import INVERSE_COINS, Answer, Contract, Format, Query, number
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "1h": HOUR_MS}
_UNKNOWN: Answer = (200, {"result": "error", "error": "contractNotFound"})


class KrakenFutures(Format):
    venue = "krakenfutures"
    rest: ClassVar[Mapping[str, str]] = {
        "/derivatives/api/v3/instruments": "instruments",
        "/derivatives/api/v3/tickers": "tickers",
        "/derivatives/api/v3/orderbook": "order_book",
        "/api/charts/v1/{price}/{symbol}/{interval}": "chart",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        name = "XBT" if coin == "BTC" else coin
        if inverse:
            return Contract(f"PI_{name}USD", coin, inverse=True) if coin in INVERSE_COINS else None
        return Contract(f"PF_{name}USD", coin)

    def instruments(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        return self._wrap("instruments", [self._instrument(c) for c in self.contracts.values()])

    def _instrument(self, contract: Contract) -> dict[str, Any]:
        bound = "contracts" if contract.inverse else "numNonContractUnits"
        return {
            "symbol": contract.id,
            "type": "futures_inverse" if contract.inverse else "flexible_futures",
            "tradeable": True,
            "contractSize": 1,
            "tickSize": 0.5,
            "contractValueTradePrecision": 0 if contract.inverse else 4,
            "marginLevels": [
                {bound: 0, "initialMargin": 0.02, "maintenanceMargin": 0.01},
                {bound: 1000000, "initialMargin": 0.04, "maintenanceMargin": 0.02},
            ],
        }

    def tickers(self, query: Query) -> Answer:  # noqa: ARG002
        return self._wrap("tickers", [self._ticker(c) for c in self.contracts.values()])

    def _ticker(self, contract: Contract) -> dict[str, Any]:
        price, hourly = self.mark(contract), self.funding_rate(contract) / 8
        return {
            "symbol": contract.id,
            "tag": "perpetual",
            "markPrice": price,
            "indexPrice": price,
            "last": price,
            "lastTime": iso(self.now - HOUR_MS),
            "openInterest": self.usd(contract) if contract.inverse else self.coins(contract),
            "fundingRate": hourly / price if contract.inverse else hourly * price,
            "suspended": False,
            "postOnly": False,
            "vol24h": 0,
        }

    def chart(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return _UNKNOWN
        step = _STEPS[query["interval"]]
        last = int(query.get("to", self.now // 1000)) * 1000
        first = int(query["from"]) * 1000 if "from" in query else last - 2000 * step
        rows = [
            {
                "time": c.at,
                "open": number(c.open),
                "high": number(c.high),
                "low": number(c.low),
                "close": number(c.close),
                "volume": "0",
            }
            for c in self.candles(contract, step, first, last)[:2000]
        ]
        return 200, {"candles": rows, "more_candles": False}

    def order_book(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return _UNKNOWN
        bids, asks = (
            [[price, coins * price if contract.inverse else coins] for price, coins in rows]
            for rows in self.book(contract, 200)
        )
        return self._wrap("orderBook", {"bids": bids, "asks": asks})

    def _wrap(self, name: str, value: Any) -> Answer:
        return 200, {
            "result": "success",
            name: value,
            "serverTime": iso(self.now).replace("Z", f".{self.now % 1000:03d}Z"),
        }
