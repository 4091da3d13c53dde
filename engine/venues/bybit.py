"""Bybit: one request says everything of a category; liquidations carry the position's side.

Open interest: `openInterest` and `openInterestValue` count longs and shorts together, in tickers and in history alike;
the fields named `single…`, sent since June 2026, count each contract once (Bybit's v5 documentation of tickers).
Forced orders: `v` is the position's size, `S` the position's side (documentation of allLiquidation).
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
"""`symbolType` of contracts on coins; stocks, metals, forex, funds and what is not named yet are none."""

BOTH_SIDES = 2.0
"""How often the two-sided figures count each contract."""


class Bybit(Venue):
    id = "bybit"
    market_types: ClassVar[list[str]] = ["linear", "inverse"]
    inverse = True
    candle_page = 1000
    interest_page = 200
    feed = "stream"
    budget = 36_000.0
    """600 requests in 5 s and address, Bybit's published limit; the library counts 5 for one."""
    minutes_cost = 5.0
    book_cost = 5.0
    book_limit = 500

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for category in sorted({listing.market.kind for listing in listings}):
            answer = await self._call(self._exchange.publicGetV5MarketTickers({"category": category}))
            at = dig(answer, "time")
            rows = rows_by(dig(answer, "result", "list"), "symbol")
            found |= {name: {**row, "time": at} for name, row in rows.items()}
        return found

    def _figures(self, listing: Listing, row: Any) -> Figures:
        # Inverse contracts are one USD each: open interest counts them, and its value is in the coin.
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
        # The library hands inverse contracts' figure on as their value.
        amount = row.get("openInterestAmount")
        raw = {"openInterest": amount if amount is not None else row["openInterestValue"], **(row.get("info") or {})}
        return self._lots(listing, _one_side(raw, "openInterest"))

    def _lots(self, listing: Listing, amount: Any) -> float:
        """Contracts from base units (linear) or USD (inverse)."""
        return positive(optional(amount), "amount") * listing.coins / listing.market.contract_size

    def _funding_hours(self, found: dict[str, Any]) -> float:
        return (decoration((found.get("info") or {}).get("fundingInterval")) or 480.0) / 60

    def _is_coin(self, found: dict[str, Any]) -> bool:
        info = found.get("info") or {}
        return str(info.get("symbolType") or "") in COIN_KINDS and not info.get("marketRegion")

    async def _subscribe(self) -> None:
        """Bybit has one topic a symbol: the first to speak is enough, as every frame is kept."""
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
        found = []
        for row in frame["data"]:
            listing = self._ids.get(row["s"])
            if listing is not None:
                # Here Buy names the position: a long was liquidated.
                side = "long" if row["S"] == "Buy" else "short"
                found.append(self._event(listing, row["T"], side, row["p"], self._lots(listing, row["v"])))
        return found

    def _tier(self, listing: Listing, row: dict[str, Any]) -> Tier:  # noqa: ARG002  # others need the listing
        rate, most = float(row["maintenanceMarginRate"]), float(row["maxLeverage"])
        # The library hands the rate on as it came: a percentage in older answers, a fraction in newer ones.
        rate = rate / 100 if rate > 1 / most else rate
        return make_tier(row.get("minNotional"), rate, most)

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:
        return price * amount if listing.market.kind == "linear" else amount


def _one_side(row: Mapping[str, Any], name: str) -> float | None:
    """A figure of open interest with each contract counted once: the field that says so, else half of the other."""
    single = decoration(row.get(f"single{name[0].upper()}{name[1:]}"))
    if single is not None:
        return single
    both = decoration(row.get(name))
    return both / BOTH_SIDES if both is not None else None
