"""Binance COIN-M: inverse contracts of 100 or 10 USD each. All amounts are in contracts, each counted once.

Liquidation orders: see binance_orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from engine.market import Liquidation
from engine.venues.binance_orders import Fills
from engine.venues.ccxt_client import Access
from engine.venues.parsing import Figures, Listing, rows_by
from engine.venues.venue import Venue


class BinanceCoinM(Venue):
    id = "binancecoinm"
    market_types: ClassVar[list[str]] = ["inverse"]
    settles: ClassVar[Sequence[str]] = ()
    inverse = True
    candle_page = 1000
    interest_page = 500
    feed = "stream"
    budget = 2400.0
    """Request weight per minute and IP address, Binance's published limit for /dapi."""
    book_cost = 20.0
    book_limit = 1000
    tiers_public = False

    def __init__(self, access: Access | None = None) -> None:
        super().__init__(access)
        self._fills = Fills()

    def _request_cost(self, path: str, params: Mapping[str, Any]) -> float | None:  # noqa: ARG002  # others need them
        return 12.0 if path == "openInterestHist" else None  # it has its own limit: 1,000 in 5 minutes

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        premium = rows_by(await self._translate_errors(self._exchange.dapiPublicGetPremiumIndex()), "symbol")
        interest = await self._fetch_each(
            [listing.id for listing in listings],
            lambda name: self._exchange.dapiPublicGetOpenInterest({"symbol": name}),
        )
        return {name: {**premium[name], **row} for name, row in interest.items() if name in premium}

    def _figures(self, listing: Listing, row: Any) -> Figures:  # noqa: ARG002  # others need the listing
        return Figures(
            row["markPrice"],
            row["openInterest"],
            index=row.get("indexPrice"),
            funding_rate=row.get("lastFundingRate"),
            next_funding_at=row.get("nextFundingTime"),
            at=row["time"],
        )

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        return str((raw.get("info") or {}).get("underlyingType", "COIN")) == "COIN"

    async def _subscribe(self) -> None:
        await self._exchange.watch_liquidations_for_symbols(None)

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        order = frame["o"]
        listing = self._ids.get(str(order["s"]))
        if listing is not None:
            # A liquidation order that sells closes a long.
            side = "long" if order["S"] == "SELL" else "short"
            amount = self._fills.new_amount(order)
            if amount:
                yield self._liquidation_of(listing, order["T"], side, order["ap"], amount)
