"""OKX swaps: open interest in contracts of a part of a coin; one frame may carry several liquidations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from engine.market import Liquidation, Market, Side, positive
from engine.venues.venue import Venue, per_eight_hours


class Okx(Venue):
    id = "okx"
    market_types: ClassVar[list[str]] = ["swap"]
    candle_page = 100
    interest_page = 100

    async def _now(self, market: Market, now: int) -> tuple[float, float, float | None, int | None]:  # noqa: ARG002
        quote = await self._call(self._exchange.fetch_mark_price(market.symbol))
        interest = await self._call(self._exchange.fetch_open_interest(market.symbol))
        funding = await self._call(self._exchange.fetch_funding_rate(market.symbol))
        mark = positive(quote.get("markPrice"), "mark price")
        contracts = self._checked(market, self._contracts(market, interest), interest.get("openInterestValue"), mark)
        rate = per_eight_hours(funding.get("fundingRate"), funding.get("interval"))
        return mark, contracts, rate, interest.get("timestamp")

    def _contracts(self, market: Market, row: dict[str, Any]) -> float:  # noqa: ARG002  # others divide by its size
        return positive(row.get("openInterestAmount"), "open interest")

    def _candle_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        return {"until": since + count * step_ms}  # exclusive here

    async def _subscribe(self) -> None:
        await self._exchange.watch_liquidations_for_symbols([market.symbol for market in self.markets])

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        for row in frame.get("data", []) if isinstance(frame, dict) else []:
            market = self._ids.get(row.get("instId"))
            if market is None:
                continue
            for detail in row.get("details", []):
                price = positive(float(detail["bkPx"]), "price")
                # A forced sell closes a long; posSide says net on accounts that hold one position.
                side: Side = "long" if detail["side"] == "sell" else "short"
                yield Liquidation(market, int(detail["ts"]), side, price, positive(float(detail["sz"]), "amount"))
