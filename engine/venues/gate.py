"""Gate: open interest in contracts, with a public history of it and of what was liquidated; no times in tickers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.market import Liquidation, positive
from engine.venues.shapes import Figures, Listing, OpenAt, optional, rows_by
from engine.venues.venue import STEP_MS, Venue

WINDOW_SECONDS = 3600
"""The longest stretch of liquidations one request may ask for."""


class Gate(Venue):
    id = "gate"
    inverse = True
    candle_page = 1000
    interest_page = 100
    feed = "poll"
    budget = 1200.0
    """200 requests in 10 s."""
    book_limit = 300

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for settle in sorted({_settle(listing) for listing in listings}):
            answer = await self._call(self._exchange.publicFuturesGetSettleTickers({"settle": settle}))
            found |= rows_by(answer, "contract")
        return found

    def _figures(self, listing: Listing, row: Any) -> Figures:
        return Figures(
            row["mark_price"],
            row["total_size"],
            index=row.get("index_price"),
            funding_rate=row.get("funding_rate"),
            funding_hours=listing.funding_hours,
        )

    def _interest_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:  # noqa: ARG002
        return {}  # `until` would be handed on as it is, and the venue does not know it

    async def _interest_rows(self, listing: Listing, since: int, count: int) -> list[tuple[int, OpenAt]]:
        # A row is named by its beginning and grows until its end: what stands in it was so at the end.
        rows = await super()._interest_rows(listing, since - STEP_MS, count)
        return [(at + STEP_MS, known) for at, known in rows]

    def _open_at(self, listing: Listing, row: dict[str, Any]) -> OpenAt:
        info = row["info"]
        contracts = positive(optional(info["open_interest"]), "open interest")
        mark = (optional(info.get("mark_price")) or 0.0) / listing.coins
        self._check_value(listing, contracts, optional(info.get("open_interest_usd")), mark)
        return OpenAt(contracts, optional(info.get("long_liq_usd")), optional(info.get("short_liq_usd")))

    async def _liquidation_rows(self, listing: Listing, since: int) -> list[Any]:
        now = self._exchange.milliseconds() // 1000
        query = {
            "settle": _settle(listing),
            "contract": listing.id,
            "from": max(since // 1000, now - WINDOW_SECONDS + 60),
            "to": now,
            "limit": 1000,
        }
        rows: list[Any] = await self._exchange.publicFuturesGetSettleLiqOrders(query)
        return rows

    def _liquidation(self, listing: Listing, row: Any) -> Liquidation:
        size, left = float(row["size"]), float(row.get("left") or 0)
        # The position's size: a positive one was a long. left is what could not be filled.
        side = "long" if size > 0 else "short"
        return self._event(listing, float(row["time"]) * 1000, side, row["fill_price"], abs(size) - abs(left))

    def _funding_hours(self, found: dict[str, Any]) -> float:
        return (optional((found.get("info") or {}).get("funding_interval")) or 28_800.0) / 3600

    def _taker_fee(self, found: dict[str, Any]) -> float:
        return optional((found.get("info") or {}).get("taker_fee_rate")) or 0.0005

    def _is_coin(self, found: dict[str, Any]) -> bool:
        return (found.get("info") or {}).get("contract_type", "") in ("", "crypto")

    def _listing(self, found: dict[str, Any]) -> Listing | None:
        # The library calls a market active that is about to go.
        return None if (found.get("info") or {}).get("in_delisting") is True else super()._listing(found)


def _settle(listing: Listing) -> str:
    return "usdt" if listing.market.kind == "linear" else listing.market.asset.lower()
