"""KuCoin Futures: REST under /api/v1 and /api/ua/v1, amounts in contracts of a fraction of a coin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.loopback.format import CHEAP, Answer, Contract, Format, Query, number
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1min": MINUTE_MS, "5min": 5 * MINUTE_MS, "15min": 15 * MINUTE_MS, "1hour": HOUR_MS}


class KucoinFutures(Format):
    """Mark candles are newest first, in seconds, with prices in the order open, close, high, low."""

    venue = "kucoinfutures"
    rest: ClassVar[Mapping[str, str]] = {
        "/api/v1/contracts/active": "active",
        "/api/ua/v1/market/kline": "kline",
        "/api/ua/v1/market/open-interest": "open_interest",
        "/api/v1/contracts/risk-limit/{symbol}": "tiers",
        "/api/v1/level2/depth100": "depth",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        name = "XBT" if coin == "BTC" else coin
        if inverse:
            return Contract(f"{name}USDM", coin, inverse=True) if coin == "BTC" else None
        tape = self._tapes[coin]
        return Contract(f"{name}USDTM", coin, size=10_000.0 if tape.mark(tape.start) < CHEAP else 0.001)

    def active(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        return self._wrap([self._row(contract) for contract in self.contracts.values()])

    def _row(self, contract: Contract) -> dict[str, Any]:
        price, name = self.mark(contract), contract.id.removesuffix("M").removesuffix("USDT").removesuffix("USD")
        return {
            "symbol": contract.id,
            "rootSymbol": "USDT",
            "type": "FFWCSX",
            "expireDate": None,
            "baseCurrency": name,
            "quoteCurrency": "USD" if contract.inverse else "USDT",
            "settleCurrency": name if contract.inverse else "USDT",
            "maxOrderQty": 1000000,
            "lotSize": 1,
            "tickSize": 0.1,
            "multiplier": -contract.size if contract.inverse else contract.size,
            "initialMargin": 0.008,
            "maintainMargin": 0.004,
            "makerFeeRate": 0.0002,
            "takerFeeRate": 0.0006,
            "isInverse": contract.inverse,
            "status": "Open",
            "fundingFeeRate": self.funding_rate(contract),
            "fundingRateGranularity": 8 * HOUR_MS,
            "openInterest": str(round(self.held(contract))),
            "turnoverOf24h": 0.0,
            "volumeOf24h": 0.0,
            "markPrice": price,
            "indexPrice": price,
            "lastTradePrice": price,
            "nextFundingRateTime": self.next_funding() - self.now,
            "maxLeverage": 125,
        }

    def kline(self, query: Query) -> Answer:
        contract = self.contracts.get(str(query.get("symbol", "")).removesuffix("-mark-price"))
        if contract is None:
            return self._unknown()
        step = _STEPS[query["interval"]]
        first, last = int(query["startAt"]) * 1000, int(query["endAt"]) * 1000
        rows = [
            [str(c.at // 1000), *map(number, (c.open, c.close, c.high, c.low)), "0", "0"]
            for c in reversed(self.candles(contract, step, first, last)[-1500:])
        ]
        return self._wrap({"tradeType": "FUTURES", "symbol": query["symbol"], "list": rows})

    def open_interest(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        step, limit = _STEPS[query["interval"]], min(int(query.get("pageSize", 30)), 200)
        first, last = int(query.get("startAt", 0)), int(query.get("endAt", self.now))
        rows = [
            {"symbol": contract.id, "openInterest": str(round(self.held(contract, at))), "ts": at}
            for at in self.steps(contract, step, first, last)[-limit:]
        ]
        return self._wrap(rows)

    def tiers(self, query: Query) -> Answer:
        tiers = [(0, 100000, 125, 0.008, 0.004), (100000, 500000, 100, 0.01, 0.005)]
        return self._wrap(
            [
                {
                    "symbol": query["symbol"],
                    "level": level,
                    "minRiskLimit": first,
                    "maxRiskLimit": last,
                    "maxLeverage": most,
                    "initialMargin": initial,
                    "maintainMargin": rate,
                }
                for level, (first, last, most, initial, rate) in enumerate(tiers, start=1)
            ]
        )

    def depth(self, query: Query) -> Answer:
        contract = self.found(query)
        if contract is None:
            return self._unknown()
        bids, asks = (
            [[number(price), round(self.in_contracts(contract, coins, price))] for price, coins in rows]
            for rows in self.book(contract, 100)
        )
        at = self.now * 1_000_000
        return self._wrap({"symbol": contract.id, "sequence": 1, "asks": asks, "bids": bids, "ts": at})

    def _wrap(self, data: Any) -> Answer:
        return 200, {"code": "200000", "data": data}

    def _unknown(self) -> Answer:
        return 200, {"code": "400100", "msg": "symbol invalid"}
