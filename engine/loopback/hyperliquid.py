"""Hyperliquid: one POST to /info with a type, amounts in coins, market figures without time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from engine.loopback.format import Answer, Contract, Format, Query, number
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "1h": HOUR_MS}
KEPT = 5000
"""Candles available per interval."""


class Hyperliquid(Format):
    venue = "hyperliquid"
    rest: ClassVar[Mapping[str, str]] = {"/info": "info"}

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            return None
        lot = self.lot_of(coin)
        return Contract(f"{'k' if lot > 1 else ''}{coin}", coin, lot=lot, size=lot)

    def info(self, query: Query) -> Answer:
        kind = query.get("type")
        if kind == "metaAndAssetCtxs":
            return self._all()
        if kind == "candleSnapshot":
            return self._candles(query["req"])
        if kind == "l2Book":
            return self._book(query)
        return 422, "Failed to deserialize the JSON body into the target type"

    def _all(self) -> Answer:
        universe, contexts = [], []
        for c in self.contracts.values():
            price, coins = number(self.mark(c)), number(self.lots(c))
            universe.append({"name": c.id, "szDecimals": 5, "maxLeverage": 40, "marginTableId": 56})
            contexts.append(
                {
                    "funding": number(self.funding_rate(c) / 8, 12),
                    "openInterest": coins,
                    "prevDayPx": price,
                    "dayNtlVlm": "0",
                    "premium": "0",
                    "oraclePx": price,
                    "markPx": price,
                    "midPx": price,
                    "impactPxs": [price, price],
                }
            )
        tiers = [{"lowerBound": "0.0", "maxLeverage": 40}, {"lowerBound": "150000000.0", "maxLeverage": 20}]
        tables = [[56, {"description": "tiered 40x", "marginTiers": tiers}]]
        return 200, [{"universe": universe, "marginTables": tables, "collateralToken": 0}, contexts]

    def _candles(self, query: Query) -> Answer:
        contract = self.contracts.get(query["coin"])
        if contract is None:
            return 500, None
        step = _STEPS[query["interval"]]
        first = max(int(query["startTime"]), self.now - KEPT * step)
        return 200, [
            {
                "t": c.at,
                "T": c.at + step - 1,
                "s": contract.id,
                "i": query["interval"],
                "o": number(c.open),
                "c": number(c.close),
                "h": number(c.high),
                "l": number(c.low),
                "v": "0",
                "n": 0,
            }
            for c in self.candles(contract, step, first, int(query["endTime"]))
        ]

    def _book(self, query: Query) -> Answer:
        contract = self.contracts.get(query["coin"])
        if contract is None:
            return 500, None
        levels = [
            [{"px": number(price), "sz": number(coins / contract.lot), "n": 1} for price, coins in rows]
            for rows in self.book(contract, 20)
        ]
        return 200, {"coin": contract.id, "time": self.now, "levels": levels}
