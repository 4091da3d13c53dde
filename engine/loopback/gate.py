"""Gate v4: REST under /api/v4/futures/<settle>, bare lists, seconds, amounts in contracts, tickers without time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.loopback.format import CHEAP, Answer, Contract, Format, Query, number
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "1h": HOUR_MS}
_UNKNOWN: Answer = (400, {"label": "CONTRACT_NOT_FOUND", "message": "contract not found"})
LONGEST_SECONDS = 3600


class Gate(Format):
    """Windows include both ends. A statistics row is timestamped at its start but has the values at its end."""

    venue = "gate"
    rest: ClassVar[Mapping[str, str]] = {
        "/api/v4/futures/{settle}/contracts": "listed",
        "/api/v4/futures/{settle}/tickers": "tickers",
        "/api/v4/futures/{settle}/candlesticks": "candle_rows",
        "/api/v4/futures/{settle}/contract_stats": "statistics",
        "/api/v4/futures/{settle}/liq_orders": "liquidations",
        "/api/v4/futures/{settle}/risk_limit_tiers": "tiers",
        "/api/v4/futures/{settle}/order_book": "order_book",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            return Contract("BTC_USD", coin, inverse=True) if coin == "BTC" else None
        tape = self._tapes[coin]
        size = 10_000_000.0 if tape.mark(tape.start) < CHEAP else 0.0001
        return Contract(f"{coin}_USDT", coin, size=size)

    def listed(self, query: Query) -> Answer:
        return 200, [
            {
                "name": c.id,
                "type": "inverse" if c.inverse else "direct",
                "quanto_multiplier": "0" if c.inverse else str(c.size),
                "maintenance_rate": "0.004",
                "mark_type": "index",
                "last_price": number(self.mark(c)),
                "mark_price": number(self.mark(c)),
                "index_price": number(self.mark(c)),
                "funding_rate": number(self.funding_rate(c)),
                "funding_interval": 28800,
                "funding_next_apply": self.next_funding() // 1000,
                "order_price_round": "0.1",
                "mark_price_round": "0.01",
                "order_price_deviate": "0.5",
                "order_size_min": 1,
                "order_size_max": 1000000,
                "leverage_min": "1",
                "leverage_max": "125",
                "maker_fee_rate": "-0.00025",
                "taker_fee_rate": "0.00075",
                "risk_limit_base": "1000000",
                "contract_type": "",
                "status": "trading",
                "in_delisting": False,
            }
            for c in self._settled(query)
        ]

    def tickers(self, query: Query) -> Answer:
        rows = []
        for c in self._settled(query):
            price, rate = number(self.mark(c)), number(self.funding_rate(c))
            rows.append(
                {
                    "contract": c.id,
                    "last": price,
                    "mark_price": price,
                    "index_price": price,
                    "funding_rate": rate,
                    "funding_rate_indicative": rate,
                    "total_size": str(round(self.held(c))),
                    "quanto_multiplier": "0" if c.inverse else str(c.size),
                    "volume_24h": "0",
                    "volume_24h_base": "0",
                    "volume_24h_quote": "0",
                }
            )
        return 200, rows

    def candle_rows(self, query: Query) -> Answer:
        contract = self.contracts.get(str(query.get("contract", "")).removeprefix("mark_"))
        if contract is None:
            return _UNKNOWN
        step = _STEPS[query["interval"]]
        last = int(query.get("to", self.now // 1000)) * 1000
        first = int(query["from"]) * 1000 if "from" in query else last - (int(query.get("limit", 100)) - 1) * step
        return 200, [
            {"t": c.at // 1000, "o": number(c.open), "h": number(c.high), "l": number(c.low), "c": number(c.close)}
            for c in self.candles(contract, step, first, last)[:2000]
        ]

    def statistics(self, query: Query) -> Answer:
        contract = self.found(query, "contract")
        if contract is None:
            return _UNKNOWN
        step, limit = _STEPS[query["interval"]], int(query.get("limit", 30))
        first = int(query["from"]) * 1000 if "from" in query else self.now // step * step - (limit - 1) * step
        return 200, [self._statistic(contract, at, step) for at in self.steps(contract, step, first, self.now)[:limit]]

    def _statistic(self, contract: Contract, at: int, step: int) -> dict[str, Any]:
        end = min(at + step, self.now)
        usd = {"long": 0.0, "short": 0.0}
        for event in self.forced(contract, at, end):
            usd[event.side] += event.amount_base * event.price
        return {
            "time": at // 1000,
            "open_interest": str(round(self.held(contract, end))),
            "open_interest_usd": number(self.usd(contract, end)),
            "mark_price": self.mark(contract, end),
            "long_liq_usd": number(usd["long"]),
            "short_liq_usd": number(usd["short"]),
            "long_liq_size": "0",
            "short_liq_size": "0",
            "long_liq_amount": "0",
            "short_liq_amount": "0",
            "lsr_account": "1",
            "lsr_taker": "1",
            "top_lsr_account": "1",
            "top_lsr_size": "1",
        }

    def liquidations(self, query: Query) -> Answer:
        contract = self.found(query, "contract")
        if contract is None:
            return _UNKNOWN
        first, last = int(query.get("from", 0)), int(query.get("to", self.now // 1000))
        if last - first > LONGEST_SECONDS:
            return 400, {"label": "INVALID_PARAM_VALUE", "message": "invalid argument: from"}
        rows = []
        for event in self.forced(contract, first * 1000 - 1, last * 1000 + 999)[: int(query.get("limit", 100))]:
            size = max(round(self.in_contracts(contract, event.amount_base, event.price)), 1)
            price = number(event.price)
            rows.append(
                {
                    "contract": contract.id,
                    "left": 0,
                    "size": size if event.side == "long" else -size,
                    "fill_price": price,
                    "order_price": price,
                    "time": event.at // 1000,
                }
            )
        return 200, rows

    def tiers(self, query: Query) -> Answer:
        tiers = [(1, "1000000", "0.008", "0.004", "125"), (2, "2000000", "0.01", "0.005", "100")]
        return 200, [
            {
                "contract": c.id,
                "tier": tier,
                "risk_limit": limit,
                "initial_rate": initial,
                "maintenance_rate": rate,
                "leverage_max": most,
            }
            for c in self.wanted(query, "contract")
            for tier, limit, initial, rate, most in tiers
        ]

    def order_book(self, query: Query) -> Answer:
        contract = self.found(query, "contract")
        if contract is None:
            return _UNKNOWN
        bids, asks = (
            [{"p": number(price), "s": round(self.in_contracts(contract, coins, price))} for price, coins in rows]
            for rows in self.book(contract, min(int(query.get("limit", 10)), 300))
        )
        return 200, {"id": 1, "current": self.now / 1000, "update": self.now / 1000, "asks": asks, "bids": bids}

    def _settled(self, query: Query) -> list[Contract]:
        return [c for c in self.contracts.values() if c.inverse == (query["settle"] == "btc")]
