"""Deribit v2: REST under /api/v2/public, inverse contracts in USD, linear contracts in coins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.loopback.format import INVERSE_COINS, Answer, Contract, Format, Query
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1": MINUTE_MS, "5": 5 * MINUTE_MS, "15": 15 * MINUTE_MS, "60": HOUR_MS}


class Deribit(Format):
    venue = "deribit"
    rest: ClassVar[Mapping[str, str]] = {
        "/api/v2/public/get_instruments": "instruments",
        "/api/v2/public/get_book_summary_by_currency": "summaries",
        "/api/v2/public/get_tradingview_chart_data": "chart",
        "/api/v2/public/get_order_book": "order_book",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            return Contract(f"{coin}-PERPETUAL", coin, inverse=True, size=10.0) if coin in INVERSE_COINS else None
        return Contract(f"{coin}_USDC-PERPETUAL", coin, size=0.0001)

    def instruments(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        return self._wrap(
            [
                {
                    "instrument_name": c.id,
                    "kind": "future",
                    "settlement_period": "perpetual",
                    "base_currency": c.coin,
                    "quote_currency": "USD" if c.inverse else "USDC",
                    "counter_currency": "USD" if c.inverse else "USDC",
                    "settlement_currency": c.coin if c.inverse else "USDC",
                    "contract_size": c.size,
                    "min_trade_amount": 10,
                    "tick_size": 0.5,
                    "max_leverage": 50,
                    "is_active": True,
                }
                for c in self.contracts.values()
            ]
        )

    def summaries(self, query: Query) -> Answer:
        currency = query.get("currency")
        rows = []
        for c in self.contracts.values():
            if currency != (c.coin if c.inverse else "USDC"):
                continue
            price = self.mark(c)
            rows.append(
                {
                    "instrument_name": c.id,
                    "base_currency": c.coin,
                    "quote_currency": "USD" if c.inverse else "USDC",
                    "open_interest": self.usd(c) if c.inverse else self.coins(c),
                    "mark_price": price,
                    "estimated_delivery_price": price,
                    "creation_timestamp": self.now,
                    "last": price,
                    "mid_price": price,
                    "volume": 0.0,
                    "volume_usd": 0.0,
                    "current_funding": self.funding_rate(c),
                    "funding_8h": self.funding_rate(c),
                }
            )
        return self._wrap(rows)

    def chart(self, query: Query) -> Answer:
        contract = self.found(query, "instrument_name")
        if contract is None:
            return self._unknown()
        step = _STEPS[query["resolution"]]
        first, last = int(query["start_timestamp"]), int(query["end_timestamp"])
        rows = self.candles(contract, step, first, last)[:5000]
        columns = {name: [getattr(c, name) for c in rows] for name in ("open", "high", "low", "close")}
        nothing = [0.0] * len(rows)
        status = "ok" if rows else "no_data"
        return self._wrap(
            {"ticks": [c.at for c in rows], **columns, "volume": nothing, "cost": nothing, "status": status}
        )

    def order_book(self, query: Query) -> Answer:
        contract = self.found(query, "instrument_name")
        if contract is None:
            return self._unknown()
        bids, asks = (
            [[price, coins * price if contract.inverse else coins] for price, coins in rows]
            for rows in self.book(contract, min(int(query.get("depth", 5)), 1000))
        )
        return self._wrap({"timestamp": self.now, "state": "open", "change_id": 1, "bids": bids, "asks": asks})

    def _wrap(self, result: Any) -> Answer:
        return 200, {"jsonrpc": "2.0", "result": result, "usIn": self.now * 1000, "usOut": self.now * 1000}

    def _unknown(self) -> Answer:
        data = {"reason": "wrong format", "param": "instrument_name"}
        return 400, {"jsonrpc": "2.0", "error": {"code": -32602, "message": "Invalid params", "data": data}}
