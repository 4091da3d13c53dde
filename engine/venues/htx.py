"""HTX: one request per contract type returns open interest and its value, which give the price.

Mark candles have no time window.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.errors import VenueError
from engine.liquidation.margin import Tier
from engine.market import HOUR_MS, Liquidation, positive
from engine.venues.extremes import MinuteRow
from engine.venues.parsing import Figures, Listing, OpenAt, decoration, dig, listed, make_tier, optional, rows_by
from engine.venues.venue import Venue

MARK_ROWS = 2000
"""The venue returns only this many of the newest mark candles, without a window; older ones are of trades."""

INTEREST_ROWS = 200
OTHER_LABELS = frozenset({"stock", "stocks", "tradfi", "index", "indices", "metal", "metals", "commodity", "forex"})
"""Labels of contracts on something other than coins. Others, such as hot, are unrelated to that."""

FORCED_WINDOW_MS = 2 * HOUR_MS


class Htx(Venue):
    id = "htx"
    inverse = True
    candle_page = 1000
    interest_step_ms = HOUR_MS
    interest_page = INTEREST_ROWS
    feed = "poll"
    budget = 4800.0
    """240 requests for public figures in 3 s per IP address. The library spaces them to 600 a minute."""

    async def _load(self) -> None:
        exchange = self._exchange
        # The library's own loader requests dated contracts too, and fails if there are none.
        results = await asyncio.gather(
            exchange.fetch_markets_by_type_and_sub_type(None, "linear", {"business_type": "swap"}),
            exchange.fetch_markets_by_type_and_sub_type("swap", "inverse"),
            return_exceptions=True,
        )
        listed = [market for markets in results if not isinstance(markets, BaseException) for market in markets]
        # The library raises if a kind is not listed at all; any other failure must not drop half a venue.
        failed = [error for error in results if isinstance(error, BaseException)]
        serious = [error for error in failed if "empty response" not in str(error)]
        if serious or not listed:
            raise (serious or failed)[0]
        exchange.set_markets(listed)

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        figures: dict[str, Any] = {}
        kinds = {listing.market.kind for listing in listings}
        if "linear" in kinds:
            figures |= await self._interest_of_all("linear-swap-api/v1/swap_open_interest", {"business_type": "swap"})
            names = [listing.id for listing in listings if listing.market.kind == "linear" and listing.id in figures]
            for name, answer in (await self._funding(names)).items():
                figures[name] = {**figures[name], "funding": answer}
        if "inverse" in kinds:
            figures |= await self._interest_of_all("swap-api/v1/swap_open_interest", {})
        return figures

    async def _interest_of_all(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        # The library does not list this endpoint, but requests it all the same.
        ask = self._exchange.request(path, ["contract", "public"], "GET", query, {"cost": 1})
        answer = await self._translate_errors(ask)
        at = dig(answer, "ts")
        return {name: {**row, "ts": at} for name, row in rows_by(dig(answer, "data"), "contract_code").items()}

    async def _funding(self, names: Sequence[str]) -> dict[str, Any]:
        """Return funding rates of linear markets, none if the venue does not answer: they are optional."""
        try:
            return await self._fetch_each(
                names, lambda name: self._exchange.contractPublicGetV5MarketFundingRate({"contract_code": name})
            )
        except VenueError:
            return {}

    def _figures(self, listing: Listing, row: Any) -> Figures:
        contracts, coins = float(row["volume"]), positive(optional(row["amount"]), "open interest")
        if listing.market.kind == "linear":
            price = float(row["value"]) / coins
            coins *= listing.coins / listing.market.contract_size  # in contracts, to check the count
            if abs(coins / positive(contracts, "open interest") - 1) > 0.01:
                raise ValueError("contracts and coins do not agree")
        else:
            price = contracts * listing.market.contract_size / coins
        rows = listed(row.get("funding"), "data")
        funding = rows[0] if rows and isinstance(rows[0], dict) else {}
        this, following = decoration(funding.get("funding_time")), decoration(funding.get("next_funding_time"))
        hours = (following - this) / HOUR_MS if this and following else 8.0
        return Figures(price, contracts, funding_rate=funding.get("funding_rate"), funding_hours=hours, at=row["ts"])

    async def _candles(self, listing: Listing, timeframe: str, step_ms: int, since: int, count: int) -> list[MinuteRow]:
        now = self._exchange.milliseconds()
        back = (now - since) // step_ms + 2
        if back <= MARK_ROWS:
            rows = await self._fetch_candles(listing, timeframe, since, int(back), {"price": "mark"})
        else:
            # With a row count the venue would ignore the window.
            rows = await self._fetch_candles(listing, timeframe, since, None, {"until": since + (count - 1) * step_ms})
        return [row for row in self._valid_candles(listing, rows, step_ms, since) if row[0] < since + count * step_ms]

    async def _interest_rows(self, listing: Listing, since: int, count: int) -> list[tuple[int, OpenAt]]:
        if since + count * HOUR_MS < self._exchange.milliseconds() - INTEREST_ROWS * HOUR_MS:
            return []
        async with self._waiting:
            got = await self._translate_errors(
                self._exchange.fetch_open_interest_history(
                    listing.market.symbol, "1h", None, INTEREST_ROWS, {"amount_type": 1}
                )
            )
        return self._interest_of(listing, got)

    async def _liquidation_rows(self, listing: Listing, since: int) -> list[Any]:
        now = self._exchange.milliseconds()
        window = {"start_time": max(since, now - FORCED_WINDOW_MS + 60_000), "end_time": now}
        if listing.market.kind == "linear":
            query = {"contract_code": listing.id, "limit": 100, **window}
            answer = await self._exchange.contractPublicGetV5MarketLiquidationOrders(query)
        else:
            query = {"contract": listing.id, "trade_type": 0, **window}
            answer = await self._exchange.contractPublicGetSwapApiV3SwapLiquidationOrders(query)
        rows = dig(answer, "data")
        if not isinstance(rows, list):
            raise VenueError("unreadable answer")
        return rows

    def _liquidation(self, listing: Listing, row: Any) -> Liquidation:
        if listing.market.kind == "linear":
            side = row["position_side"]
            return self._liquidation_of(listing, row["liquidation_time"], side, row["bankrupt_price"], row["volume"])
        # A liquidation order that sells closes a long.
        side = "long" if row["direction"] == "sell" else "short"
        return self._liquidation_of(listing, row["created_at"], side, row["price"], row["volume"])

    def _max_leverage(self, raw: dict[str, Any]) -> float | None:  # noqa: ARG002  # the library has 1 for all
        return None

    async def _tier_rows(self, listing: Listing) -> list[Any]:
        if listing.market.kind == "inverse":
            return []
        rows: Iterable[Any] = await self._exchange.fetch_market_leverage_tiers(listing.market.symbol)
        # One table per leverage, in contracts: the first row of the highest leverage is the market's lowest tier.
        steps = [row for row in rows if not row.get("minNotional")]
        return [max(steps, key=lambda row: row["maxLeverage"])] if steps else []

    def _tier(self, listing: Listing, row: dict[str, Any]) -> Tier:  # noqa: ARG002  # others need the listing
        return make_tier(0.0, row["maintenanceMarginRate"], row["maxLeverage"])

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        info = raw.get("info") or {}
        labels = {str(label).lower() for label in info.get("labels") or ()}
        return not info.get("tradfi_labels") and not labels & OTHER_LABELS
