"""Binance USDⓈ-M: open interest in base units, one request per market. Liquidations carry the order's side.

Open interest: `openInterest` counts each contract once (the history's value is the same figure times the price, and
Binance's documentation calls it open positions). Liquidation orders: see binance_orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from engine.market import Liquidation
from engine.venues.binance_orders import Fills
from engine.venues.ccxt_client import Access
from engine.venues.parsing import Figures, Listing, decoration, rows_by
from engine.venues.venue import Venue

RANKED = 150
"""How many markets, by volume, have their open interest requested when all coins are ranked."""


class BinanceUsdm(Venue):
    id = "binanceusdm"
    market_types: ClassVar[list[str]] = ["linear"]
    candle_page = 1000
    interest_page = 500
    feed = "stream"
    budget = 2400.0
    """Request weight per minute and IP address, Binance's published limit for /fapi."""
    book_cost = 20.0
    book_limit = 1000
    tiers_public = False
    """Leverage brackets require an API key; margins.py has a dated table instead."""

    def __init__(self, access: Access | None = None) -> None:
        super().__init__(access)
        self._hours: dict[str, float] = {}
        """Funding interval in hours by market id; markets that are not listed pay every eight hours."""

        self._fills = Fills()

    def _request_cost(self, path: str, params: Mapping[str, Any]) -> float | None:
        if path == "openInterestHist":
            return 12.0  # it has its own limit, 1,000 in 5 minutes; the library counts 1
        return 10.0 if path == "premiumIndex" and "symbol" not in params else None  # the library counts 1

    async def _load(self) -> None:
        await super()._load()
        rows = await self._side_answer(self._exchange.fapiPublicGetFundingInfo(), [])
        hours = {
            str(row.get("symbol")): decoration(row.get("fundingIntervalHours"))
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
        }
        self._hours = {name: value for name, value in hours.items() if value}

    async def open_interest_by_coin(self) -> dict[str, float]:
        volume = rows_by(await self._translate_errors(self._exchange.fapiPublicGetTicker24hr()), "symbol")
        traded = sorted(
            (row for rows in self._listed.values() for row in rows if row.id in volume and row.is_coin),
            key=lambda listing: -(decoration(volume[listing.id].get("quoteVolume")) or 0.0),
        )[:RANKED]
        readings = self._readings(traded, await self._rows(traded), None)
        return {r.market.asset: r.market.usd(r.contracts, r.mark) for r in readings}

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        premium = rows_by(await self._translate_errors(self._exchange.fapiPublicGetPremiumIndex()), "symbol")
        interest = await self._fetch_each(
            [listing.id for listing in listings],
            lambda name: self._exchange.fapiPublicGetOpenInterest({"symbol": name}),
        )
        return {name: {**premium[name], **row} for name, row in interest.items() if name in premium}

    def _figures(self, listing: Listing, row: Any) -> Figures:
        base = float(row["openInterest"])
        return Figures(
            row["markPrice"],
            base * listing.coins / listing.market.contract_size,
            index=row.get("indexPrice"),
            funding_rate=row.get("lastFundingRate"),
            funding_hours=self._hours.get(listing.id, 8.0),
            next_funding_at=row.get("nextFundingTime"),
            at=row["time"],
        )

    def _contracts(self, listing: Listing, row: dict[str, Any]) -> Any:
        return row["openInterestAmount"] * listing.coins / listing.market.contract_size

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        info = raw.get("info") or {}
        # TRADIFI_PERPETUAL is another kind of contract; INDEX is a basket.
        kinds = (str(info.get("underlyingType", "COIN")), str(info.get("contractType", "PERPETUAL")))
        return kinds == ("COIN", "PERPETUAL")

    async def _subscribe(self) -> None:
        await self._exchange.watch_liquidations_for_symbols(None)  # one topic covers all markets

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        order = frame["o"]
        listing = self._ids.get(str(order["s"]))
        if listing is None:
            return
        # A liquidation order that sells closes a long.
        side = "long" if order["S"] == "SELL" else "short"
        amount = self._fills.new_amount(order) * listing.coins / listing.market.contract_size
        if amount:
            yield self._liquidation_of(listing, order["T"], side, order["ap"], amount)

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:  # noqa: ARG002  # both are per lot
        return price * amount
