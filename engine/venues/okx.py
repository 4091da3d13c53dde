"""OKX swaps: open interest in contracts, each a fraction of a coin. A frame may carry several liquidations.

Open interest: `oi` counts each contract once, and `oiUsd` is its value. Liquidation orders: `sz` is the filled amount,
in contracts, and `side` the order's side (OKX's documentation of the liquidation orders channel).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from engine.liquidation.margin import Tier
from engine.market import HOUR_MS, Liquidation
from engine.venues.ccxt_client import Access
from engine.venues.parsing import Figures, Listing, decoration, dig, listed, make_tier, rows_by
from engine.venues.venue import Venue

TAKER_FEE = 0.0005
"""OKX adds the taker fee to the maintenance margin. This is the rate of its lowest customer tier."""


COINS = "1"
"""`instCategory` of contracts on coins. Stocks, commodities, forex and bonds have other numbers, unknown kinds none."""


class Okx(Venue):
    id = "okx"
    market_types: ClassVar[list[str]] = ["swap"]
    inverse = True
    candle_page = 100
    interest_page = 100
    feed = "stream"
    budget = 600.0
    """The strictest limit of our endpoints: 20 requests in 2 s per IP address, 1 library unit each."""
    book_limit = 400

    def __init__(self, access: Access | None = None) -> None:
        super().__init__(access)
        self._marks: dict[str, float] = {}

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:  # noqa: ARG002  # all come at once
        exchange = self._exchange
        interest = await self._translate_errors(exchange.publicGetPublicOpenInterest({"instType": "SWAP"}))
        marks = await self._translate_errors(exchange.publicGetPublicMarkPrice({"instType": "SWAP"}))
        marks = rows_by(dig(marks, "data"), "instId")
        answer = await self._side_answer(exchange.publicGetPublicFundingRate({"instId": "ANY"}), {"data": []})
        funding = {str(row.get("instId")): row for row in listed(answer, "data") if isinstance(row, dict)}
        self._marks = {name: mark for name, row in marks.items() if (mark := decoration(row.get("markPx")))}
        return {
            name: {**funding.get(name, {}), **marks[name], **row}
            for name, row in rows_by(dig(interest, "data"), "instId").items()
            if name in marks
        }

    def _figures(self, listing: Listing, row: Any) -> Figures:  # noqa: ARG002  # others need the listing
        this, following = decoration(row.get("fundingTime")), decoration(row.get("nextFundingTime"))
        hours = (following - this) / HOUR_MS if this and following else 8.0
        return Figures(
            row["markPx"],
            row["oi"],
            value_usd=row.get("oiUsd"),
            funding_rate=row.get("fundingRate"),
            funding_hours=hours if hours > 0 else 8.0,
            next_funding_at=this,
            at=row["ts"],
        )

    def _candle_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        return {"until": since + count * step_ms}  # exclusive here

    def _taker_fee(self, raw: dict[str, Any]) -> float:  # noqa: ARG002  # the same for all
        return TAKER_FEE

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        return str((raw.get("info") or {}).get("instCategory", COINS)) == COINS

    async def _tier_rows(self, listing: Listing) -> list[Any]:
        if listing.id not in self._marks:
            await self._rows([listing])  # bounds are in contracts, which we value at the mark
        return await super()._tier_rows(listing)

    def _tier(self, listing: Listing, row: dict[str, Any]) -> Tier:
        floor = (
            0.0
            if not row.get("minNotional")
            else listing.market.usd(float(row["minNotional"]), self._marks[listing.id])
        )
        return make_tier(floor, row["maintenanceMarginRate"], row["maxLeverage"])

    async def _subscribe(self) -> None:
        await self._exchange.watch_liquidations_for_symbols(None)

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        orders = []
        for row in frame["data"]:
            listing = self._ids.get(row["instId"])
            if listing is None:
                continue
            for detail in row["details"]:
                # An order that sells closes a long; posSide is net on accounts that hold one position.
                side = "long" if detail["side"] == "sell" else "short"
                orders.append(self._liquidation_of(listing, detail["ts"], side, detail["bkPx"], detail["sz"]))
        return orders
