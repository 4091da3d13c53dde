"""OKX v5, swaps: REST under /api/v5, liquidation orders of the whole market on the public websocket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from engine.loopback.format import CHEAP, INVERSE_COINS, Answer, Contract, Format, Query, Subscription, number
from engine.loopback.tape import Forced
from engine.market import HOUR_MS, MINUTE_MS

CONTRACT_BASE = 0.01
CHEAP_CONTRACT_BASE = 10_000_000.0
"""Coins per contract of a cheap coin."""

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
        "/api/v5/market/books": "books",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            size = 100.0 if coin == "BTC" else 10.0
            return Contract(f"{coin}-USD-SWAP", coin, inverse=True, size=size) if coin in INVERSE_COINS else None
        tape = self._tapes[coin]
        size = CHEAP_CONTRACT_BASE if tape.mark(tape.start) < CHEAP else CONTRACT_BASE
        return Contract(f"{coin}-USDT-SWAP", coin, size=size)

    def instruments(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        return self._wrap([self._instrument(contract) for contract in self.contracts.values()])

    def _instrument(self, contract: Contract) -> dict[str, str]:
        family = contract.id.removesuffix("-SWAP")
        return {
            "alias": "",
            "baseCcy": "",
            "category": "1",
            "ctMult": "1",
            "ctType": "inverse" if contract.inverse else "linear",
            "ctVal": str(contract.size),
            "ctValCcy": "USD" if contract.inverse else contract.coin,
            "expTime": "",
            "instFamily": family,
            "instId": contract.id,
            "instType": "SWAP",
            "lever": "100",
            "listTime": "1573557408000",
            "lotSz": "0.01",
            "minSz": "0.01",
            "optType": "",
            "quoteCcy": "",
            "settleCcy": contract.coin if contract.inverse else "USDT",
            "state": "live",
            "stk": "",
            "tickSz": "0.1",
            "uly": family,
        }

    def open_interest(self, query: Query) -> Answer:
        rows = [
            {
                "instId": contract.id,
                "instType": "SWAP",
                "oi": number(self.held(contract)),
                "oiCcy": number(self.coins(contract)),
                "oiUsd": number(self.usd(contract)),
                "ts": str(self.now),
            }
            for contract in self.wanted(query, "instId")
        ]
        return self._wrap(rows) if rows else self._unknown()

    def open_interest_history(self, query: Query) -> Answer:
        contract = self.found(query, "instId")
        if contract is None:
            return self._unknown()
        step, limit = _STEPS[query["period"]], min(int(query.get("limit", 100)), 100)
        last = int(query.get("end", self.now + 1)) - 1
        first = int(query["begin"]) + 1 if "begin" in query else last - limit * step
        rows = self.steps(contract, step, first, last)[-limit:]
        return self._wrap([self._history_row(contract, at) for at in reversed(rows)])

    def _history_row(self, contract: Contract, at: int) -> list[str]:
        figures = (self.held(contract, at), self.coins(contract, at), self.usd(contract, at))
        return [str(at), *(number(value) for value in figures)]

    def funding(self, query: Query) -> Answer:
        following = self.next_funding()
        query = {name: value for name, value in query.items() if value != "ANY"}
        rows = [
            {
                "fundingRate": number(self.funding_rate(contract)),
                "fundingTime": str(following),
                "instId": contract.id,
                "instType": "SWAP",
                "nextFundingRate": "",
                "nextFundingTime": str(following + 8 * HOUR_MS),
                "ts": str(self.now),
            }
            for contract in self.wanted(query, "instId")
        ]
        return self._wrap(rows) if rows else self._unknown()

    def mark_price(self, query: Query) -> Answer:
        rows = [
            {"instId": c.id, "instType": "SWAP", "markPx": number(self.mark(c)), "ts": str(self.now)}
            for c in self.wanted(query, "instId")
        ]
        return self._wrap(rows) if rows else self._unknown()

    def mark_candles(self, query: Query) -> Answer:
        contract = self.found(query, "instId")
        if contract is None:
            return self._unknown()
        step, limit = _STEPS[query["bar"]], min(int(query.get("limit", 100)), 100)
        last = min(int(query.get("after", self.now + 1)) - 1, self.now)
        first = int(query["before"]) + 1 if "before" in query else last - last % step - (limit - 1) * step
        rows = self.candles(contract, step, first, last)[-limit:]
        return self._wrap(
            [
                [str(c.at), *(number(p) for p in (c.open, c.high, c.low, c.close)), str(int(c.at + step <= self.now))]
                for c in reversed(rows)
            ]
        )

    def position_tiers(self, query: Query) -> Answer:
        tiers = [("0", "1000", "0.004", "0.01", "100"), ("1000", "5000", "0.01", "0.02", "50")]
        return self._wrap(
            [
                {
                    "baseMaxLoan": "",
                    "imr": initial,
                    "instFamily": query.get("instFamily", ""),
                    "instId": "",
                    "maxLever": most,
                    "maxSz": last,
                    "minSz": first,
                    "mmr": maintenance,
                    "optMgnFactor": "0",
                    "quoteMaxLoan": "",
                    "tier": str(tier),
                    "uly": query.get("instFamily", ""),
                }
                for tier, (first, last, maintenance, initial, most) in enumerate(tiers, start=1)
            ]
        )

    def books(self, query: Query) -> Answer:
        contract = self.found(query, "instId")
        if contract is None:
            return self._unknown()
        sides = (
            [[number(price), number(self.in_contracts(contract, coins, price)), "0", "1"] for price, coins in rows]
            for rows in self.book(contract, min(int(query.get("sz", 100)), 400))
        )
        return self._wrap([{**dict(zip(("bids", "asks"), sides, strict=True)), "ts": str(self.now), "seqId": 1}])

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:
        if text == "ping":
            yield "pong"
            return
        for channel in json.loads(text).get("args", []):
            subscription.everything = subscription.everything or channel["channel"] == "liquidation-orders"
            yield json.dumps({"event": "subscribe", "arg": channel, "connId": "loopback"})

    def tell(self, contract: Contract, event: Forced) -> str:
        detail = {
            "bkLoss": "0",
            "bkPx": number(event.price),
            "ccy": "",
            "posSide": event.side,
            "side": "sell" if event.side == "long" else "buy",
            "sz": number(self.in_contracts(contract, event.amount_base, event.price), 2),
            "ts": str(event.at),
        }
        family = contract.id.removesuffix("-SWAP")
        row = {"instFamily": family, "instId": contract.id, "instType": "SWAP", "uly": family, "details": [detail]}
        return json.dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [row]})

    def _wrap(self, rows: list[Any]) -> Answer:
        return 200, {"code": "0", "msg": "", "data": rows}

    def _unknown(self) -> Answer:
        message = "Instrument ID, Instrument ID code, or Spread ID doesn't exist."
        return 200, {"code": "51001", "msg": message, "data": []}
