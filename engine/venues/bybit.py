"""Bybit: one request returns all figures of a category. Liquidations carry the position's side.

Open interest: `openInterest` and `openInterestValue` count longs and shorts together, in tickers and history alike.
The fields named `single…`, sent since June 2026, count each contract once (Bybit's v5 documentation of tickers).
Liquidation orders: `v` is the position's size, `S` the position's side (documentation of allLiquidation).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from engine.liquidation.margin import Tier
from engine.market import Liquidation, positive
from engine.venues.parsing import Figures, Listing, decoration, dig, make_tier, optional, rows_by
from engine.venues.venue import Venue

COIN_KINDS = frozenset({"", "innovation", "adventure"})
"""`symbolType` of contracts on coins. Stocks, metals, forex, funds and any new type are excluded."""

BOTH_SIDES = 2.0
"""How many times the two-sided figures count each contract."""


class Bybit(Venue):
    id = "bybit"
    market_types: ClassVar[list[str]] = ["linear", "inverse"]
    inverse = True
    candle_page = 1000
    interest_page = 200
    feed = "stream"
    budget = 36_000.0
    """600 requests in 5 s per IP address, Bybit's published limit. The library counts each request as 5."""
    minutes_cost = 5.0
    book_cost = 5.0
    book_limit = 500

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        figures: dict[str, Any] = {}
        for category in sorted({listing.market.kind for listing in listings}):
            answer = await self._translate_errors(self._exchange.publicGetV5MarketTickers({"category": category}))
            at = dig(answer, "time")
            rows = rows_by(dig(answer, "result", "list"), "symbol")
            figures |= {name: {**row, "time": at} for name, row in rows.items()}
        return figures

    def _figures(self, listing: Listing, row: Any) -> Figures:
        # Inverse contracts are one USD each: open interest is in contracts, and its value is in the coin.
        linear = listing.market.kind == "linear"
        return Figures(
            row["markPrice"],
            self._lots(listing, _one_side(row, "openInterest")),
            value_usd=_one_side(row, "openInterestValue") if linear else None,
            index=row.get("indexPrice"),
            funding_rate=row.get("fundingRate"),
            funding_hours=row.get("fundingIntervalHour") or listing.funding_hours,
            next_funding_at=row.get("nextFundingTime"),
            at=row["time"],
        )

    def _contracts(self, listing: Listing, row: dict[str, Any]) -> Any:
        # For inverse contracts the library returns the count as openInterestValue.
        amount = row.get("openInterestAmount")
        raw = {"openInterest": amount if amount is not None else row["openInterestValue"], **(row.get("info") or {})}
        return self._lots(listing, _one_side(raw, "openInterest"))

    def _lots(self, listing: Listing, amount: Any) -> float:
        """Convert base units (linear) or USD (inverse) to contracts."""
        return positive(optional(amount), "amount") * listing.coins / listing.market.contract_size

    def _funding_hours(self, raw: dict[str, Any]) -> float:
        return (decoration((raw.get("info") or {}).get("fundingInterval")) or 480.0) / 60

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        info = raw.get("info") or {}
        return str(info.get("symbolType") or "") in COIN_KINDS and not info.get("marketRegion")

    async def _subscribe(self) -> None:
        """Wait for the first event of any symbol's topic: the frames of all topics are queued."""
        waits = [asyncio.ensure_future(self._exchange.watch_liquidations(market.symbol)) for market in self.markets]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        orders = []
        for row in frame["data"]:
            listing = self._ids.get(row["s"])
            if listing is not None:
                # Bybit sends the position's side: Buy means a long was liquidated.
                side = "long" if row["S"] == "Buy" else "short"
                orders.append(self._liquidation_of(listing, row["T"], side, row["p"], self._lots(listing, row["v"])))
        return orders

    def _tier(self, listing: Listing, row: dict[str, Any]) -> Tier:  # noqa: ARG002  # others need the listing
        rate, most = float(row["maintenanceMarginRate"]), float(row["maxLeverage"])
        # The library passes the rate through: a percentage in older responses, a fraction in newer ones.
        rate = rate / 100 if rate > 1 / most else rate
        return make_tier(row.get("minNotional"), rate, most)

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:
        return price * amount if listing.market.kind == "linear" else amount


def _one_side(row: Mapping[str, Any], name: str) -> float | None:
    """Return open interest with each contract counted once: the `single…` field, else half the two-sided one."""
    single = decoration(row.get(f"single{name[0].upper()}{name[1:]}"))
    if single is not None:
        return single
    both = decoration(row.get(name))
    return both / BOTH_SIDES if both is not None else None
