"""Gate: open interest in contracts, with public history of it and of liquidations. Tickers carry no time.

Open interest: Gate's documentation does not say which sides `total_size` and `open_interest` count. Other readers found
them to be twice `position_size`, which is in the list of contracts. We compare `total_size` with it on load, and if the
ratio is about two, we halve history and tickers. Liquidation orders: we count `order_size` less `left`. `size` is the
position's (documentation of FuturesLiqOrder), which Gate repeats as it liquidates the position in parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from engine.market import Liquidation, plausible_amount
from engine.venues.ccxt_client import Access
from engine.venues.parsing import Figures, Listing, OpenAt, decoration, optional, rows_by
from engine.venues.venue import STEP_MS, Venue

ENOUGH_RATIOS = 3
TWICE = (1.8, 2.2)

WINDOW_SECONDS = 3600
"""The longest time range of liquidations that one request may cover."""


class Gate(Venue):
    id = "gate"
    inverse = True
    candle_page = 1000
    interest_page = 100
    feed = "poll"
    budget = 1200.0
    """200 requests in 10 s."""
    book_limit = 300

    def __init__(self, access: Access | None = None) -> None:
        super().__init__(access)
        self._sides = 1.0
        """How many times the venue's open interest counts each contract, inferred from its figures on load."""

    async def _load(self) -> None:
        await super()._load()
        rows = await self._side_answer(self._exchange.publicFuturesGetSettleTickers({"settle": "usdt"}), [])
        total = {str(row.get("contract")): decoration(row.get("total_size")) for row in rows if isinstance(row, dict)}
        ratios = [
            both / held
            for market in (self._exchange.markets or {}).values()
            if (held := decoration((market.get("info") or {}).get("position_size")))
            and (both := total.get(str(market["id"])))
        ]
        twice = len(ratios) >= ENOUGH_RATIOS and TWICE[0] <= median(ratios) <= TWICE[1]
        self._sides = 2.0 if twice else 1.0

    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        figures: dict[str, Any] = {}
        for settle in sorted({_settle(listing) for listing in listings}):
            answer = await self._translate_errors(self._exchange.publicFuturesGetSettleTickers({"settle": settle}))
            figures |= rows_by(answer, "contract")
        return figures

    def _figures(self, listing: Listing, row: Any) -> Figures:
        return Figures(
            row["mark_price"],
            float(row["total_size"]) / self._sides,
            index=row.get("index_price"),
            funding_rate=row.get("funding_rate"),
            funding_hours=listing.funding_hours,
        )

    def _interest_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:  # noqa: ARG002
        return {}  # the library would pass `until` on unchanged, and the venue does not support it

    async def _interest_rows(self, listing: Listing, since: int, count: int) -> list[tuple[int, OpenAt]]:
        # A row carries its start time and is updated until its end, so its figures are those of the end.
        rows = await super()._interest_rows(listing, since - STEP_MS, count)
        return [(at + STEP_MS, open_at) for at, open_at in rows]

    def _open_at(self, listing: Listing, row: dict[str, Any]) -> OpenAt:
        info = row["info"]
        contracts = plausible_amount(optional(info["open_interest"]), "open interest") / self._sides
        mark = (decoration(info.get("mark_price")) or 0.0) / listing.coins
        self._check_value(listing, contracts * self._sides, decoration(info.get("open_interest_usd")), mark)
        longs, shorts = (decoration(info.get(f"{side}_liq_usd")) for side in ("long", "short"))
        most = listing.market.usd(contracts * self._sides, mark) if mark else math.inf
        # No more can be liquidated within five minutes than was open.
        return OpenAt(contracts, *(usd if usd is not None and 0 <= usd <= most else None for usd in (longs, shorts)))

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
        # size is the position's, positive for a long. left is the unfilled part of the order.
        side = "long" if size > 0 else "short"
        order = abs(float(row.get("order_size") or size))
        return self._liquidation_of(listing, float(row["time"]) * 1000, side, row["fill_price"], order - abs(left))

    def _funding_hours(self, raw: dict[str, Any]) -> float:
        return (decoration((raw.get("info") or {}).get("funding_interval")) or 28_800.0) / 3600

    def _taker_fee(self, raw: dict[str, Any]) -> float:
        return decoration((raw.get("info") or {}).get("taker_fee_rate")) or 0.0005

    def _is_coin(self, raw: dict[str, Any]) -> bool:
        return (raw.get("info") or {}).get("contract_type", "") in ("", "crypto")

    def _listing(self, raw: dict[str, Any]) -> Listing | None:
        # The library marks a market active although it is being delisted.
        return None if (raw.get("info") or {}).get("in_delisting") is True else super()._listing(raw)


def _settle(listing: Listing) -> str:
    return "usdt" if listing.market.kind == "linear" else listing.market.asset.lower()
