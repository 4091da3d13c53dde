"""Kraken Futures: one request returns all figures. Funding is an absolute amount per contract and hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from engine.venues.parsing import Figures, Listing, decoration, dig, optional, rows_by
from engine.venues.venue import Venue

OTHER_CATEGORIES = frozenset({"Commodities", "Forex", "Pre-IPO", "xStocks"})
"""Categories that are not coins. Kraken has none for coins, and its `tradfi` flag is newer than these."""


class KrakenFutures(Venue):
    id = "krakenfutures"
    settles: ClassVar[Sequence[str]] = ("USD",)
    inverse = True
    candle_page = 1000
    interest_step_ms = None
    budget = 100.0
    """Kraken publishes no limit for public requests, so we use the library's spacing, one in 600 ms."""

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:  # noqa: ARG002  # all come at once
        answer = await self._translate_errors(self._exchange.publicGetTickers())
        # lastTime is the time of the last trade, which may be long ago, so we use the response's own time.
        at = self._exchange.parse8601(dig(answer, "serverTime"))
        return {name: {**row, "at": at} for name, row in rows_by(dig(answer, "tickers"), "symbol").items()}

    def _figures(self, listing: Listing, row: Any) -> Figures:
        mark, funding = float(row["markPrice"]), decoration(row.get("fundingRate"))
        if funding is not None and mark:
            # Linear: USD per coin; inverse: coins per USD.
            funding = funding / mark if listing.market.kind == "linear" else funding * mark
        return Figures(
            mark,
            float(row["openInterest"]) * listing.coins / listing.market.contract_size,
            index=row.get("indexPrice"),
            funding_rate=funding,
            funding_hours=1.0,
            at=row["at"],
        )

    def _candle_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        return {"to": (since + count * step_ms) // 1000 - 1}

    def _max_leverage(self, raw: dict[str, Any]) -> float | None:
        levels = (raw.get("info") or {}).get("marginLevels") or []
        margin = optional(levels[0].get("initialMargin")) if levels else None
        return 1 / margin if margin else None

    async def _tier_rows(self, listing: Listing) -> list[Any]:
        # They are part of the list of markets, which we reload every day.
        market = self._exchange.market(listing.market.symbol)
        rows: list[Any] = self._exchange.parse_market_leverage_tiers(market["info"], market)
        return rows

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        info = raw.get("info") or {}
        return info.get("tradfi") in (None, False) and str(info.get("category", "")) not in OTHER_CATEGORIES

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:
        return price * amount if listing.market.kind == "linear" else amount
