"""Bitget v2 mix: REST under /api/v2/mix/market, amounts in coins or in lots of coins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.loopback.format import Answer, Contract, Format, Query, number
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "1H": HOUR_MS}


class Bitget(Format):
    """Responses are wrapped in code, msg and requestTime. Windows exclude their end."""

    venue = "bitget"
    rest: ClassVar[Mapping[str, str]] = {
        "/api/v2/mix/market/contracts": "listed",
        "/api/v2/mix/market/tickers": "tickers",
        "/api/v2/mix/market/candles": "candle_rows",
        "/api/v2/mix/market/history-mark-candles": "candle_rows",
        "/api/v2/mix/market/query-position-lever": "tiers",
        "/api/v2/mix/market/merge-depth": "depth",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            return None
        lot = self.lot_of(coin)
        return Contract(f"{'1000' if lot > 1 else ''}{coin}USDT", coin, lot=lot, size=lot)

    def listed(self, query: Query) -> Answer:
        rows = [
            {
                "symbol": c.id,
                "baseCoin": c.id.removesuffix("USDT"),
                "quoteCoin": "USDT",
                "supportMarginCoins": ["USDT"],
                "minTradeNum": "0.001",
                "priceEndStep": "1",
                "volumePlace": "3",
                "pricePlace": "1",
                "sizeMultiplier": "0.001",
                "symbolType": "perpetual",
                "symbolStatus": "normal",
                "offTime": "-1",
                "limitOpenTime": "-1",
                "makerFeeRate": "0.0002",
                "takerFeeRate": "0.0006",
                "maxLever": "125",
                "fundInterval": "8",
            }
            for c in self._product(query)
        ]
        return self._wrap(rows)

    def tickers(self, query: Query) -> Answer:
        rows = []
        for c in self._product(query):
            price = number(self.mark(c))
            rows.append(
                {
                    "symbol": c.id,
                    "lastPr": price,
                    "markPrice": price,
                    "indexPrice": price,
                    "fundingRate": number(self.funding_rate(c)),
                    "holdingAmount": number(self.lots(c)),
                    "baseVolume": "0",
                    "quoteVolume": "0",
                    "ts": str(self.now),
                }
            )
        return self._wrap(rows)

    def candle_rows(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        step, limit = _STEPS[query["granularity"]], min(int(query.get("limit", 100)), 1000)
        last = int(query.get("endTime", self.now + 1)) - 1
        first = max(int(query.get("startTime", 0)), last - limit * step)
        rows = self.candles(contract, step, first, last)[-limit:]
        return self._wrap([[str(c.at), *map(number, (c.open, c.high, c.low, c.close)), "0", "0"] for c in rows])

    def tiers(self, query: Query) -> Answer:
        tiers = [("0", "150000", "125", "0.004"), ("150000", "900000", "100", "0.005")]
        return self._wrap(
            [
                {
                    "symbol": query.get("symbol"),
                    "level": str(level),
                    "startUnit": first,
                    "endUnit": last,
                    "leverage": most,
                    "keepMarginRate": rate,
                }
                for level, (first, last, most, rate) in enumerate(tiers, start=1)
            ]
        )

    def depth(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        bids, asks = (
            [[number(price), number(coins / contract.lot)] for price, coins in rows]
            for rows in self.book(contract, 100)
        )
        return self._wrap({"asks": asks, "bids": bids, "ts": str(self.now)})

    def _product(self, query: Query) -> list[Contract]:
        return list(self.contracts.values()) if query.get("productType") == "USDT-FUTURES" else []

    def _wrap(self, data: Any) -> Answer:
        return 200, {"code": "00000", "msg": "success", "requestTime": self.now, "data": data}

    def _unknown(self) -> Answer:
        return 400, {"code": "40034", "msg": "Parameter does not exist", "requestTime": self.now, "data": None}
