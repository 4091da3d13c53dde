"""KuCoin Futures: open interest in lots, with public history. The list of contracts carries no time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.market import HOUR_MS
from engine.venues.parsing import Figures, Listing, decoration, dig, rows_by
from engine.venues.venue import Venue


class KucoinFutures(Venue):
    id = "kucoinfutures"
    inverse = True
    candle_page = 1000
    interest_page = 200
    budget = 8000.0
    """2,000 units in 30 s. The library counts each as two."""
    minutes_cost = 6.0
    book_cost = 20.0
    book_limit = 100

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:  # noqa: ARG002  # all come at once
        return rows_by(
            dig(await self._translate_errors(self._exchange.futuresPublicGetContractsActive()), "data"), "symbol"
        )

    def _figures(self, listing: Listing, row: Any) -> Figures:  # noqa: ARG002  # others need the listing
        # The interval in force now, if given; the other may start later.
        granularity = decoration(row.get("currentFundingRateGranularity")) or decoration(
            row.get("fundingRateGranularity")
        )
        return Figures(
            row["markPrice"],
            row["openInterest"],
            index=row.get("indexPrice"),
            funding_rate=row.get("fundingFeeRate"),
            funding_hours=(granularity or 8 * HOUR_MS) / HOUR_MS,
            next_funding_at=row.get("nextFundingRateDateTime"),
        )

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        return str((raw.get("info") or {}).get("assetClass") or "CRYPTO") == "CRYPTO"

    def _taker_fee(self, raw: dict[str, Any]) -> float:
        """Return the taker fee, which KuCoin adds to the maintenance margin as its liquidation fee."""
        return decoration((raw.get("info") or {}).get("takerFeeRate")) or 0.0006

    def _candle_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        return {"endAt": (since + (count - 1) * step_ms) // 1000}
