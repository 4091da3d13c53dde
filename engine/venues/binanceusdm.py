"""Binance USDⓈ-M: open interest in base units, contract size 1; forced orders carry the order's side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from engine.market import Liquidation, Market, Side, positive
from engine.venues.venue import Venue


class BinanceUsdm(Venue):
    id = "binanceusdm"
    market_types: ClassVar[list[str]] = ["linear"]
    candle_page = 1000
    interest_page = 500

    async def _now(self, market: Market, now: int) -> tuple[float, float, float | None, int | None]:  # noqa: ARG002
        premium = await self._call(self._exchange.fetch_funding_rate(market.symbol))
        interest = await self._call(self._exchange.fetch_open_interest(market.symbol))
        mark = positive(premium.get("markPrice"), "mark price")
        # Paid every eight hours on the coins watched here; the venue does not say so in this answer.
        return mark, self._contracts(market, interest), premium.get("fundingRate"), premium.get("timestamp")

    def _contracts(self, market: Market, row: dict[str, Any]) -> float:
        return positive(row.get("openInterestAmount"), "open interest") / market.contract_size

    async def _subscribe(self) -> None:
        await self._exchange.watch_liquidations_for_symbols([market.symbol for market in self.markets])

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        order = frame.get("o", {}) if isinstance(frame, dict) else {}
        market = self._ids.get(str(order.get("s")))
        if market is None:
            return
        amount, price = positive(float(order["l"]), "amount"), positive(float(order["ap"]), "price")
        # A forced sell closes a long.
        side: Side = "long" if order["S"] == "SELL" else "short"
        yield Liquidation(market, int(order["T"]), side, price, amount / market.contract_size)
