"""Deribit: one request per currency. Inverse contracts are counted in USD, linear ones in the coin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engine.venues.parsing import Figures, Listing, dig, optional, rows_by
from engine.venues.venue import Venue


class Deribit(Venue):
    id = "deribit"
    settles: ClassVar[Sequence[str]] = ("USDC",)
    inverse = True
    candle_page = 1000
    mark_candles = False
    interest_step_ms = None
    budget = 1200.0
    """20 requests a second."""
    book_limit = 1000
    tiers_public = False
    """Deribit publishes no tiers: margin grows with size by its own formula."""

    async def _load(self) -> None:
        await self._exchange.load_markets(True, {"kind": "future"})

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        figures: dict[str, Any] = {}
        for currency in sorted({_currency(listing) for listing in listings}):
            query = {"currency": currency, "kind": "future"}
            answer = await self._translate_errors(self._exchange.publicGetGetBookSummaryByCurrency(query))
            figures |= rows_by(dig(answer, "result"), "instrument_name")
        return figures

    def _figures(self, listing: Listing, row: Any) -> Figures:
        return Figures(
            row["mark_price"],
            float(row["open_interest"]) * listing.coins / listing.market.contract_size,
            index=row.get("estimated_delivery_price"),
            funding_rate=row.get("funding_8h"),
            at=row["creation_timestamp"],
        )

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        return str((raw.get("info") or {}).get("underlying_type", "crypto")) == "crypto"

    def _max_leverage(self, raw: dict[str, Any]) -> float | None:
        return optional((raw.get("info") or {}).get("max_leverage"))

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:
        return price * amount if listing.market.kind == "linear" else amount


def _currency(listing: Listing) -> str:
    return "USDC" if listing.market.kind == "linear" else listing.market.asset
