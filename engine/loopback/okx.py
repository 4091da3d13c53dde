"""OKX v5, swaps: REST under /api/v5, liquidation orders of the whole market on the public websocket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from engine.loopback.format import Answer, Format, Query, Subscription, number
from engine.loopback.tape import Forced
from engine.market import HOUR_MS, MINUTE_MS

CONTRACT_BASE = 0.01
"""Base units in a contract."""

_STEPS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "1H": HOUR_MS, "4H": 4 * HOUR_MS}


class Okx(Format):
    """Amounts in contracts, lists newest first, windows exclusive at both ends."""

    venue = "okx"
    stream_prefix = "/ws/v5/public"
    rest: ClassVar[Mapping[str, str]] = {
        "/api/v5/public/instruments": "instruments",
        "/api/v5/public/open-interest": "open_interest",
        "/api/v5/rubik/stat/contracts/open-interest-history": "open_interest_history",
        "/api/v5/public/funding-rate": "funding",
        "/api/v5/public/mark-price": "mark_price",
        "/api/v5/market/mark-price-candles": "mark_candles",
        "/api/v5/market/history-mark-price-candles": "mark_candles",
        "/api/v5/public/position-tiers": "position_tiers",
    }

    def instruments(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        return self._wrap(
            [
                {
                    "alias": "",
                    "baseCcy": "",
                    "category": "1",
                    "ctMult": "1",
                    "ctType": "linear",
                    "ctVal": str(CONTRACT_BASE),
                    "ctValCcy": coin,
                    "expTime": "",
                    "instFamily": f"{coin}-USDT",
                    "instId": f"{coin}-USDT-SWAP",
                    "instType": "SWAP",
                    "lever": "100",
                    "listTime": "1573557408000",
                    "lotSz": "0.01",
                    "minSz": "0.01",
                    "optType": "",
                    "quoteCcy": "",
                    "settleCcy": "USDT",
                    "state": "live",
                    "stk": "",
                    "tickSz": "0.1",
                    "uly": f"{coin}-USDT",
                }
                for coin in self._tapes
            ]
        )

    def open_interest(self, query: Query) -> Answer:
        coins = list(self._tapes) if "instId" not in query else [self._coin(query)]
        rows = []
        for coin in coins:
            if coin is None:
                return self._unknown()
            base, mark = self.interest(coin, self.now), self._tapes[coin].mark(self.now)
            rows.append(
                {
                    "instId": f"{coin}-USDT-SWAP",
                    "instType": "SWAP",
                    "oi": number(base / CONTRACT_BASE),
                    "oiCcy": number(base),
                    "oiUsd": number(base * mark),
                    "ts": str(self.now),
                }
            )
        return self._wrap(rows)

    def open_interest_history(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return self._unknown()
        step, limit = _STEPS[query["period"]], min(int(query.get("limit", 100)), 100)
        last = int(query.get("end", self.now + 1)) - 1
        first = int(query["begin"]) + 1 if "begin" in query else last - limit * step
        rows = self.interest_rows(coin, step, first, last)[-limit:]
        tape = self._tapes[coin]
        return self._wrap(
            [
                [str(at), number(base / CONTRACT_BASE), number(base), number(base * tape.mark(at))]
                for at, base in reversed(rows)
            ]
        )

    def funding(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return self._unknown()
        following = self.next_funding()
        row = {
            "fundingRate": number(self._tapes[coin].funding_rate(self.now)),
            "fundingTime": str(following),
            "instId": f"{coin}-USDT-SWAP",
            "instType": "SWAP",
            "nextFundingRate": "",
            "nextFundingTime": str(following + 8 * HOUR_MS),
            "ts": str(self.now),
        }
        return self._wrap([row])

    def mark_price(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return self._unknown()
        mark = number(self._tapes[coin].mark(self.now), 1)
        return self._wrap([{"instId": f"{coin}-USDT-SWAP", "instType": "SWAP", "markPx": mark, "ts": str(self.now)}])

    def mark_candles(self, query: Query) -> Answer:
        coin = self._coin(query)
        if coin is None:
            return self._unknown()
        step, limit = _STEPS[query["bar"]], min(int(query.get("limit", 100)), 100)
        last = min(int(query.get("after", self.now + 1)) - 1, self.now)
        first = int(query["before"]) + 1 if "before" in query else last - last % step - (limit - 1) * step
        rows = self.candles(coin, step, first, last)[-limit:]
        return self._wrap(
            [
                [
                    str(c.at),
                    *(number(p, 1) for p in (c.open, c.high, c.low, c.close)),
                    str(int(c.at + step <= self.now)),
                ]
                for c in reversed(rows)
            ]
        )

    def position_tiers(self, query: Query) -> Answer:
        row = {
            "baseMaxLoan": "",
            "imr": "0.01",
            "instFamily": query.get("instFamily", ""),
            "instId": "",
            "maxLever": "100",
            "maxSz": "1000",
            "minSz": "0",
            "mmr": "0.004",
            "optMgnFactor": "0",
            "quoteMaxLoan": "",
            "tier": "1",
            "uly": query.get("uly", ""),
        }
        return self._wrap([row])

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:
        if text == "ping":
            yield "pong"
            return
        for channel in json.loads(text).get("args", []):
            subscription.everything = subscription.everything or channel["channel"] == "liquidation-orders"
            yield json.dumps({"event": "subscribe", "arg": channel, "connId": "loopback"})

    def tell(self, coin: str, event: Forced) -> str:
        detail = {
            "bkLoss": "0",
            "bkPx": number(event.price, 1),
            "ccy": "",
            "posSide": event.side,
            "side": "sell" if event.side == "long" else "buy",
            "sz": number(event.amount_base / CONTRACT_BASE, 2),
            "ts": str(event.at),
        }
        row = {
            "instFamily": f"{coin}-USDT",
            "instId": f"{coin}-USDT-SWAP",
            "instType": "SWAP",
            "uly": f"{coin}-USDT",
            "details": [detail],
        }
        return json.dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [row]})

    def _wrap(self, rows: list[Any]) -> Answer:
        return 200, {"code": "0", "msg": "", "data": rows}

    def _unknown(self) -> Answer:
        message = "Instrument ID, Instrument ID code, or Spread ID doesn't exist."
        return 200, {"code": "51001", "msg": message, "data": []}

    def _coin(self, query: Query) -> str | None:
        coin = query.get("instId", "").removesuffix("-USDT-SWAP")
        return coin if coin in self._tapes else None
