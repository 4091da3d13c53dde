"""Bitget USDT perpetuals: open interest in base units, without history.

We leave out its coin-margined contracts because their units are not documented well enough to trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.venues.parsing import Figures, Listing, decoration, dig, rows_by
from engine.venues.venue import Venue


class Bitget(Venue):
    id = "bitget"
    candle_page = 200
    """The history endpoint returns no more, and the library keeps the wrong end of a longer window."""
    interest_step_ms = None
    budget = 600.0
    """3,000 requests in 5 minutes per IP address."""

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:  # noqa: ARG002  # all come at once
        answer = await self._translate_errors(
            self._exchange.publicMixGetV2MixMarketTickers({"productType": "USDT-FUTURES"})
        )
        return rows_by(dig(answer, "data"), "symbol")

    def _figures(self, listing: Listing, row: Any) -> Figures:
        return Figures(
            row["markPrice"],
            float(row["holdingAmount"]) * listing.coins / listing.market.contract_size,
            index=row.get("indexPrice"),
            funding_rate=row.get("fundingRate"),
            funding_hours=listing.funding_hours,
            at=row["ts"],
        )

    def _candle_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        # It is undocumented whether the end is inclusive: a millisecond past the last wanted bar works either way.
        return {"until": since + (count - 1) * step_ms + 1}

    def _funding_hours(self, raw: dict[str, Any]) -> float:
        return decoration((raw.get("info") or {}).get("fundInterval")) or 8.0

    def _taker_fee(self, raw: dict[str, Any]) -> float:
        return decoration((raw.get("info") or {}).get("takerFeeRate")) or 0.0006

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        return str((raw.get("info") or {}).get("isRwa") or "NO") == "NO"

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:  # noqa: ARG002  # both are per lot
        return price * amount
