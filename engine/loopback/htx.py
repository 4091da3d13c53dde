"""HTX: REST under several roots. Mark candles are always the newest ones; windows are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.loopback.format import CHEAP, INVERSE_COINS, Answer, Contract, Format, Query
from engine.market import HOUR_MS, MINUTE_MS

_STEPS = {"1min": MINUTE_MS, "5min": 5 * MINUTE_MS, "15min": 15 * MINUTE_MS, "60min": HOUR_MS}


class Htx(Format):
    venue = "htx"
    rest: ClassVar[Mapping[str, str]] = {
        "/linear-swap-api/v1/swap_contract_info": "linear_contracts",
        "/swap-api/v1/swap_contract_info": "inverse_contracts",
        "/linear-swap-api/v1/swap_open_interest": "linear_interest",
        "/swap-api/v1/swap_open_interest": "inverse_interest",
        "/linear-swap-api/v1/swap_his_open_interest": "interest_history",
        "/swap-api/v1/swap_his_open_interest": "interest_history",
        "/v5/market/funding_rate": "funding",
        "/index/market/history/linear_swap_mark_price_kline": "mark_candles",
        "/index/market/history/swap_mark_price_kline": "mark_candles",
        "/linear-swap-ex/market/history/kline": "traded_candles",
        "/swap-ex/market/history/kline": "traded_candles",
        "/v5/market/liquidation_orders": "linear_forced",
        "/swap-api/v3/swap_liquidation_orders": "inverse_forced",
        "/linear-swap-api/v1/swap_adjustfactor": "tiers",
        "/linear-swap-ex/market/depth": "depth",
        "/swap-ex/market/depth": "depth",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse:
            size = 100.0 if coin == "BTC" else 10.0
            return Contract(f"{coin}-USD", coin, inverse=True, size=size) if coin in INVERSE_COINS else None
        tape = self._tapes[coin]
        return Contract(f"{coin}-USDT", coin, size=100_000.0 if tape.mark(tape.start) < CHEAP else 0.001)

    def linear_contracts(self, query: Query) -> Answer:  # noqa: ARG002  # every route takes the query
        return self._wrap([{**self._listed(c), "business_type": "swap"} for c in self._kind(inverse=False)])

    def inverse_contracts(self, query: Query) -> Answer:  # noqa: ARG002
        return self._wrap([self._listed(c) for c in self._kind(inverse=True)])

    def _listed(self, contract: Contract) -> dict[str, Any]:
        return {
            "symbol": contract.coin,
            "contract_code": contract.id,
            "contract_size": contract.size,
            "price_tick": 0.1,
            "create_date": "20201021",
            "delivery_date": "",
            "contract_status": 1,
        }

    def linear_interest(self, query: Query) -> Answer:  # noqa: ARG002
        return self._wrap([{**self._interest(c), "value": self.usd(c)} for c in self._kind(inverse=False)])

    def inverse_interest(self, query: Query) -> Answer:  # noqa: ARG002
        return self._wrap([self._interest(c) for c in self._kind(inverse=True)])

    def _interest(self, contract: Contract) -> dict[str, Any]:
        return {
            "symbol": contract.coin,
            "contract_code": contract.id,
            "volume": self.held(contract),
            "amount": self.coins(contract),
        }

    def interest_history(self, query: Query) -> Answer:
        contract = self.found(query, "contract_code")
        if contract is None:
            return self._unknown()
        step, size = _STEPS[query["period"]], min(int(query.get("size", 48)), 200)
        kind = int(query.get("amount_type", 2))
        rows = [
            {
                "volume": self.held(contract, at) if kind == 1 else self.coins(contract, at),
                "amount_type": kind,
                "ts": at,
                "value": str(self.usd(contract, at)),
            }
            for at in reversed(self.steps(contract, step, 0, self.now)[-size:])
        ]
        return self._wrap({"symbol": contract.coin, "contract_code": contract.id, "tick": rows})

    def funding(self, query: Query) -> Answer:
        contract = self.found(query, "contract_code")
        if contract is None:
            return 200, {"code": 1013, "message": "This contract symbol doesnt exist.", "ts": self.now}
        row = {
            "contract_code": contract.id,
            "funding_rate": str(self.funding_rate(contract)),
            "funding_time": str(self.next_funding()),
        }
        return 200, {"code": 200, "message": "Success", "data": [row], "ts": self.now}

    def mark_candles(self, query: Query) -> Answer:
        contract = self.found(query, "contract_code")
        if contract is None:
            return self._unknown()
        step, size = _STEPS[query["period"]], min(int(query["size"]), 2000)
        return self._rows(contract, step, self.now // step * step - (size - 1) * step, self.now)

    def traded_candles(self, query: Query) -> Answer:
        contract = self.found(query, "contract_code")
        if contract is None:
            return self._unknown()
        step = _STEPS[query["period"]]
        if "size" in query:
            return self._rows(contract, step, self.now // step * step - (int(query["size"]) - 1) * step, self.now)
        return self._rows(contract, step, int(query["from"]) * 1000, int(query["to"]) * 1000)

    def _rows(self, contract: Contract, step: int, first: int, last: int) -> Answer:
        return self._wrap(
            [
                {
                    "id": c.at // 1000,
                    "open": str(c.open),
                    "high": str(c.high),
                    "low": str(c.low),
                    "close": str(c.close),
                    "amount": "0",
                }
                for c in self.candles(contract, step, first, last)
            ]
        )

    def linear_forced(self, query: Query) -> Answer:
        contract = self.found(query, "contract_code")
        if contract is None:
            return 200, {"code": 1013, "message": "This contract symbol doesnt exist.", "ts": self.now}
        rows = [
            {
                "id": str(event.at),
                "contract_code": contract.id,
                "liquidation_time": str(event.at),
                # The order's side: a sell closes a long.
                "side": "sell" if event.side == "long" else "buy",
                "position_side": event.side,
                "volume": str(event.amount_base / contract.size),
                "amount": str(event.amount_base / contract.size),
                "bankrupt_price": str(event.price),
                "trade_turnover": str(event.amount_base * event.price),
            }
            for event in self.forced(contract, int(query["start_time"]) - 1, int(query["end_time"]))
        ]
        return 200, {"code": 200, "message": "Success", "data": rows, "ts": self.now}

    def inverse_forced(self, query: Query) -> Answer:
        if query.get("contract") not in self.contracts:
            return self._unknown()
        return 200, {"code": 200, "msg": "", "data": [], "ts": self.now}

    def tiers(self, query: Query) -> Answer:
        ladders = [
            {"ladder": 0, "min_size": 0, "max_size": 999, "adjust_factor": 0.7},
            {"ladder": 1, "min_size": 1000, "max_size": None, "adjust_factor": 0.8},
        ]
        return self._wrap(
            [
                {
                    "symbol": c.coin,
                    "contract_code": c.id,
                    "margin_mode": "isolated",
                    "trade_partition": "USDT",
                    "list": [{"lever_rate": rate, "ladders": ladders} for rate in (100, 200)],
                }
                for c in self._kind(inverse=False)
                if query.get("contract_code") in (None, c.id)
            ]
        )

    def depth(self, query: Query) -> Answer:
        contract = self.found(query, "contract_code")
        if contract is None:
            return self._unknown()
        bids, asks = (
            [[price, self.in_contracts(contract, coins, price)] for price, coins in rows]
            for rows in self.book(contract, 150)
        )
        tick = {"bids": bids, "asks": asks, "ts": self.now, "version": 1}
        return 200, {"ch": "market", "status": "ok", "ts": self.now, "tick": tick}

    def _kind(self, *, inverse: bool) -> list[Contract]:
        return [c for c in self.contracts.values() if c.inverse == inverse]

    def _wrap(self, data: Any) -> Answer:
        return 200, {"status": "ok", "data": data, "ts": self.now}

    def _unknown(self) -> Answer:
        return 200, {
            "status": "error",
            "err_code": 1013,
            "err_msg": "This contract symbol doesnt exist.",
            "ts": self.now,
        }
