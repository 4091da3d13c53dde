"""Hyperliquid: one request returns all figures, without a time.

Funding is hourly, and the maintenance margin is half the initial margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engine.liquidation.margin import Tier
from engine.market import MINUTE_MS
from engine.venues.ccxt_client import ODD_ANSWERS, Access
from engine.venues.parsing import Figures, Listing, make_tier
from engine.venues.venue import STEP_MS, Venue


class Hyperliquid(Venue):
    id = "hyperliquid"
    settles: ClassVar[Sequence[str]] = ("USDC",)
    candle_page = 500
    mark_candles = False
    interest_step_ms = None
    budget = 1200.0
    """Request weight per minute and IP address."""
    minutes_cost = 22.0
    book_cost = 2.0

    def __init__(self, access: Access | None = None) -> None:
        super().__init__(access)
        self._margin_tables: dict[int, list[Any]] = {}

    def _request_cost(self, path: str, params: Mapping[str, Any]) -> float | None:
        # The venue's published weights: 2 for books, 20 for the rest, and 1 more per 60 candles.
        if path != "info":
            return None
        if params.get("type") in ("l2Book", "allMids"):
            return 2.0
        wanted = params.get("req")
        if params.get("type") != "candleSnapshot" or wanted is None:
            return 20.0
        step = MINUTE_MS if wanted["interval"] == "1m" else STEP_MS
        return 20.0 + float(wanted["endTime"] - wanted["startTime"]) / step / 60

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:  # noqa: ARG002  # all come at once
        meta, contexts = await self._translate_errors(self._exchange.publicPostInfo({"type": "metaAndAssetCtxs"}))
        self._margin_tables = _tables(meta)
        return {str(number): row for number, row in enumerate(contexts)}

    def _figures(self, listing: Listing, row: Any) -> Figures:
        return Figures(
            row["markPx"],
            float(row["openInterest"]) * listing.coins / listing.market.contract_size,
            index=row.get("oraclePx"),
            funding_rate=row.get("funding"),
            funding_hours=1.0,
        )

    def _base(self, raw: dict[str, Any]) -> str:
        return str(raw.get("baseName") or raw["base"])  # the library writes kPEPE in capitals

    async def _tier_rows(self, listing: Listing) -> list[Any]:
        if not self._margin_tables:
            await self._rows([listing])
        info = self._exchange.market(listing.market.symbol)["info"]
        number = int(info.get("marginTableId") or 0)
        return self._margin_tables.get(number) or [{"lowerBound": 0, "maxLeverage": info["maxLeverage"]}]

    def _tier(self, listing: Listing, row: dict[str, Any]) -> Tier:  # noqa: ARG002  # others need the listing
        most = float(row["maxLeverage"])
        return make_tier(row["lowerBound"], 0.5 / most, most)

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:  # noqa: ARG002  # both are per lot
        return price * amount


def _tables(meta: Mapping[str, Any]) -> dict[int, list[Any]]:
    """Return margin tables by number, without those of another shape."""
    tables = {}
    for row in meta.get("marginTables") or ():
        try:
            number, table = row
            tables[int(number)] = list(table["marginTiers"])
        except ODD_ANSWERS:
            continue
    return tables
