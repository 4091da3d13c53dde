"""Bybit linear: the ticker says everything, open interest in base units; liquidations carry the position's side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

from engine.market import Liquidation, Market, Side, positive
from engine.venues.venue import Venue, optional, per_eight_hours


class Bybit(Venue):
    id = "bybit"
    market_types: ClassVar[list[str]] = ["linear"]
    candle_page = 1000
    interest_page = 200

    async def _now(self, market: Market, now: int) -> tuple[float, float, float | None, int | None]:  # noqa: ARG002
        ticker = await self._call(self._exchange.fetch_funding_rate(market.symbol))
        mark = positive(ticker.get("markPrice"), "mark price")
        info = ticker.get("info") or {}
        contracts = positive(optional(info.get("openInterest")), "open interest") / market.contract_size
        checked = self._checked(market, contracts, optional(info.get("openInterestValue")), mark)
        rate = per_eight_hours(ticker.get("fundingRate"), ticker.get("interval"))
        return mark, checked, rate, ticker.get("timestamp")

    def _contracts(self, market: Market, row: dict[str, Any]) -> float:
        return positive(row.get("openInterestAmount"), "open interest") / market.contract_size

    async def _subscribe(self) -> None:
        """Bybit has one topic a symbol, all on one connection: the first to speak is enough."""
        waits = [asyncio.ensure_future(self._exchange.watch_liquidations(market.symbol)) for market in self.markets]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        for row in frame.get("data", []) if isinstance(frame, dict) else []:
            market = self._ids.get(row.get("s"))
            if market is None:
                continue
            amount, price = positive(float(row["v"]), "amount"), positive(float(row["p"]), "price")
            # Here Buy names the position: a long was liquidated.
            side: Side = "long" if row["S"] == "Buy" else "short"
            yield Liquidation(market, int(row["T"]), side, price, amount / market.contract_size)
