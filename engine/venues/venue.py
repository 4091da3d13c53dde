"""Base class of venues: markets, readings, bars and liquidation orders in the units of engine.market.

Each venue defines its markets, where its figures are and in which unit.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from engine.errors import ImplausibleError, VenueError, VenueRefusedError
from engine.liquidation.margin import Tier, with_amounts
from engine.market import (
    MINUTE_MS,
    Bar,
    Liquidation,
    Market,
    plausible_amount,
    plausible_price,
    positive,
)
from engine.outlook.depth import Depth, aggregate
from engine.venues.ccxt_client import ODD_ANSWERS, Access, as_venue_error, make_exchange
from engine.venues.extremes import MINUTES, MinuteRow, Reading
from engine.venues.margins import margin_rules
from engine.venues.meter import Meter
from engine.venues.names import METALS, coin_of
from engine.venues.parsing import (
    UNKNOWN,
    Feed,
    Figures,
    FundingHours,
    Interest,
    Listing,
    OpenAt,
    Refusal,
    decoration,
    make_tier,
    numbered,
    optional,
    row_of,
    unseen,
)

STEP_MS = 5 * MINUTE_MS
GRACE_MS = 10 * MINUTE_MS
"""How long a bar waits for its open interest before it goes out without."""

UNSEEN_GRACE_MS = 90_000
"""The same if open interest comes only from polls, as it cannot arrive later."""

VALUE_TOLERANCE = 0.2
MAX_FUNDING_RATE = 1.0
MAX_FUNDING_HOURS = 24.0
AHEAD_MS = MINUTE_MS
"""How far a venue's time may be ahead of this machine's."""

TOGETHER = 8
"""Maximum of concurrent requests per venue; the library spaces them out."""


class Venue(ABC):
    """A venue read through ccxt.

    Methods that send requests raise only VenueError, or VenueRefusedError if the venue refuses this location.

    Attributes:
        settles: settlement currencies of the linear contracts we read.
        inverse: whether we read contracts settled in the coin.
        candle_page, interest_page: maximum rows per request.
        mark_candles: whether candles are of the mark price rather than of trades.
        interest_step_ms: finest step of the venue's open interest history, None if it has none.
        feed: how the venue publishes liquidation orders.
        budget: cost that the venue allows per minute, in the library's units.
        minutes_cost, book_cost: cost of a page of minutes and of an order book, in the same units.
        book_limit: order book rows to request, None for the venue's default.
        refused: why a market's last figures were rejected, by market key.
        refusals: how much of the venue's data was rejected, by kind.
    """

    id: ClassVar[str]
    market_types: ClassVar[Sequence[str]] = ("swap",)
    settles: ClassVar[Sequence[str]] = ("USDT",)
    inverse: ClassVar[bool] = False
    candle_page: ClassVar[int]
    mark_candles: ClassVar[bool] = True
    interest_step_ms: ClassVar[int | None] = STEP_MS
    interest_page: ClassVar[int] = 100
    feed: ClassVar[Feed] = "none"
    budget: ClassVar[float]
    minutes_cost: ClassVar[float] = 1.0
    book_cost: ClassVar[float] = 1.0
    book_limit: ClassVar[int | None] = None
    tiers_public: ClassVar[bool] = True

    def __init__(self, access: Access | None = None) -> None:
        self._exchange: Any = make_exchange(self.id, self.market_types, access or Access(), self._request_cost)
        self._listed: dict[str, list[Listing]] = {}
        self._followed: dict[str, Listing] = {}
        self._ids: dict[str, Listing] = {}
        self._waiting = asyncio.Semaphore(TOGETHER)
        self.refused: dict[str, str] = {}
        self.refusals: Counter[Refusal] = Counter()
        self._funding_clock = FundingHours()

    # -- markets

    @property
    def markets(self) -> tuple[Market, ...]:
        """The followed markets."""
        return tuple(listing.market for listing in self._followed.values())

    @property
    def assets(self) -> tuple[str, ...]:
        """Every asset with a market here, followed or not."""
        return tuple(self._listed)

    @property
    def meter(self) -> Meter:
        """Counts of requests to the venue."""
        meter: Meter = self._exchange.meter
        return meter

    @property
    def frames_dropped(self) -> int:
        return int(self._exchange.frames_dropped)

    def markets_of(self, asset: str) -> tuple[Market, ...]:
        """Return an asset's followed markets."""
        return tuple(market for market in self.markets if market.asset == asset)

    async def load(self) -> None:
        """Load the venue's current list of markets."""
        # Request it from the venue each time: the library would cache an empty first response.
        await self._translate_errors(self._load())
        self._listed = {}
        for raw in (self._exchange.markets or {}).values():
            listing = self._listing_or_none(raw)
            if listing is not None:
                self._listed.setdefault(listing.market.asset, []).append(listing)
        if not self._listed:
            raise VenueError("lists no perpetual contract")

    def follow(self, assets: Sequence[str]) -> None:
        """Read these assets' markets from now on.

        Raises:
            VenueError: when the venue lists none of the assets.
        """
        followed = [listing for asset in assets for listing in self._listed.get(asset, ())]
        if not followed:
            raise VenueError("none of the coins is listed")
        self._followed = {listing.market.key: listing for listing in followed}
        self._ids = {listing.id: listing for listing in followed}

    def adopt(self, market: Market, lowest: Tier) -> None:
        """Use a market's own lowest margin tier instead of the table's."""
        listing = self._followed.get(market.key)
        if listing is None:
            return
        updated = replace(listing.market, maintenance_rate=lowest.maintenance_rate, max_leverage=lowest.max_leverage)
        self._followed[market.key] = self._ids[listing.id] = replace(listing, market=updated)

    def _listing_of(self, market: Market) -> Listing:
        """Return the listing of a followed market.

        Raises:
            VenueError: when it is no longer followed.
        """
        listing = self._followed.get(market.key)
        if listing is None:
            raise VenueError("followed no more")
        return listing

    async def close(self) -> None:
        await self._exchange.close()

    async def open_interest_by_coin(self) -> dict[str, float]:
        """Return the open interest of every listed coin, USD, without stocks and metals."""
        listings = [row for rows in self._listed.values() for row in rows if row.is_coin]
        total: dict[str, float] = {}
        for reading in self._readings(listings, await self._translate_errors(self._rows(listings)), None):
            market = reading.market
            total[market.asset] = total.get(market.asset, 0.0) + market.usd(reading.contracts, reading.mark)
        return total

    # -- the present

    async def readings(self, now: int) -> list[Reading]:
        """Return every followed market's reading. Implausible ones are left out, counted and listed in `refused`."""
        listings = list(self._followed.values())
        plausible = self._readings(listings, await self._translate_errors(self._rows(listings)), now)
        if not plausible and self.refused:
            raise VenueError(next(iter(self.refused.values())))
        return plausible

    def _readings(self, listings: Iterable[Listing], rows: Mapping[str, Any], now: int | None) -> list[Reading]:
        plausible = []
        for listing in listings:
            key = listing.market.key
            try:
                plausible.append(self._reading(listing, self._figures(listing, row_of(rows, listing.id)), now))
                self.refused.pop(key, None)
            except ODD_ANSWERS as error:
                self.refusals["figures"] += 1
                self.refused[key] = str(as_venue_error(error))
        return plausible

    def _reading(self, listing: Listing, figures: Figures, now: int | None) -> Reading:
        """Convert figures to our units.

        Raises:
            ImplausibleError: when they are not positive, far off the index or the stated value, or from the future.
        """
        market = listing.market
        mark = plausible_price(optional(figures.mark), "mark price") / listing.coins
        index = decoration(figures.index)
        if index and index > 0 and abs(mark * listing.coins / index - 1) > VALUE_TOLERANCE:
            raise ImplausibleError(f"mark {mark * listing.coins:.6g} is far from the index {index:.6g}")
        contracts = plausible_amount(optional(figures.contracts), "open interest")
        self._check_value(listing, contracts, decoration(figures.value_usd), mark)
        at = int(float(figures.at)) if figures.at else None
        if now is not None and at is not None and at > now + AHEAD_MS:
            raise ImplausibleError(f"its time is {(at - now) / 1000:.0f} s ahead of this machine's")
        return Reading(market, at or now or 0, mark, contracts, self._funding_rate(listing, figures), at is not None)

    def _funding_rate(self, listing: Listing, figures: Figures) -> float | None:
        """Return the funding rate as a fraction per 8 hours, or None if missing or implausible."""
        stated = decoration(figures.funding_hours)
        stated = stated if stated and 0 < stated <= MAX_FUNDING_HOURS else listing.funding_hours
        hours = self._funding_clock.hours(listing.market.key, stated, decoration(figures.next_funding_at))
        rate = decoration(figures.funding_rate)
        if rate is None:
            return None
        if abs(rate) > MAX_FUNDING_RATE:
            self.refusals["funding"] += 1
            return None
        return rate * 8 / hours

    def _check_value(self, listing: Listing, contracts: float, value_usd: float | None, mark: float | None) -> None:
        """Compare open interest with the value that the venue states.

        Raises:
            ImplausibleError: when they differ by more than a fifth.
        """
        if not value_usd or not mark or value_usd < 0:
            return
        usd = listing.market.usd(contracts, mark)
        if abs(usd / value_usd - 1) > VALUE_TOLERANCE:
            raise ImplausibleError(f"open interest of {usd:.3g} USD is called {value_usd:.3g}")

    async def minutes(self, market: Market, since: int) -> list[MinuteRow]:
        """Return one page of one-minute candles from `since` on, including the running one."""
        return await self._candles(self._listing_of(market), "1m", MINUTE_MS, since, MINUTES)

    # -- bars

    async def bars(self, market: Market, since: int, until: int, now: int, seen: Interest = unseen) -> list[Bar]:
        """Return closed bars that opened at or after `since` and closed by `until`, oldest first.

        We hold back the newest until their open interest is available, but no longer than the grace period.

        Args:
            seen: open interest at bars' ends from polls, for venues without a history of it.
        """
        if until - since < STEP_MS:
            return []
        listing = self._listing_of(market)
        prices = await self._paged(
            lambda at, count: self._candles(listing, "5m", STEP_MS, at, count),
            self.candle_page,
            STEP_MS,
            since,
            until - STEP_MS,
        )
        interest = await self._interest(listing, since + STEP_MS, until)
        grace = GRACE_MS if self.interest_step_ms == STEP_MS else UNSEEN_GRACE_MS
        bars: list[Bar] = []
        for at, opened, high, low, close in prices:
            end = at + STEP_MS
            open_at = interest.get(end, UNKNOWN)
            contracts = open_at.contracts or seen(end)
            if contracts is None and end > now - grace:
                break
            try:
                bars.append(
                    Bar(
                        at,
                        STEP_MS,
                        opened,
                        high,
                        low,
                        close,
                        contracts,
                        long_liquidations_usd=open_at.long_liquidations_usd,
                        short_liquidations_usd=open_at.short_liquidations_usd,
                    )
                )
            except ImplausibleError:
                self.refusals["candles"] += 1
                continue  # an implausible bar is a gap, and a gap is never filled
        return bars

    async def _interest(self, listing: Listing, first: int, last: int) -> dict[int, OpenAt]:
        step = self.interest_step_ms
        if step is None:
            return {}
        rows = await self._paged(
            lambda at, count: self._interest_rows(listing, at, count), self.interest_page, step, first, last
        )
        return dict(rows)

    async def _paged(
        self, rows: Callable[[int, int], Awaitable[list[Any]]], page: int, step: int, first: int, last: int
    ) -> list[Any]:
        """Return all rows from `first` to `last`, page by page. A page without new rows is a gap; we read on."""
        collected: list[Any] = []
        at = -(-first // step) * step
        while at <= last:
            count = min(page, (last - at) // step + 1)
            got = await rows(at, count)
            collected += [row for row in got if at <= row[0] <= last and (not collected or row[0] > collected[-1][0])]
            at += count * step
        return collected

    async def _candles(self, listing: Listing, timeframe: str, step_ms: int, since: int, count: int) -> list[MinuteRow]:
        params = {**({"price": "mark"} if self.mark_candles else {}), **self._candle_window(since, step_ms, count)}
        return self._valid_candles(
            listing, await self._fetch_candles(listing, timeframe, since, count, params), step_ms, since
        )

    async def _fetch_candles(
        self, listing: Listing, timeframe: str, since: int, count: int | None, params: dict[str, Any]
    ) -> Any:
        async with self._waiting:
            symbol = listing.market.symbol
            return await self._translate_errors(self._exchange.fetch_ohlcv(symbol, timeframe, since, count, params))

    def _valid_candles(self, listing: Listing, got: Any, step_ms: int, since: int) -> list[MinuteRow]:
        """Return candles by time, each once. An incomplete, misaligned or implausible one becomes a gap.

        We do not reject a candle for its range: engine.vetting and engine.quotes compare it with other venues later.
        """
        rows: dict[int, MinuteRow] = {}
        for row in got:
            try:
                if not row or not row[0] or row[0] < since or row[0] % step_ms or not all(row[1:5]):
                    continue
                opened, high, low, close = (
                    plausible_price(float(price), "price") / listing.coins for price in row[1:5]
                )
            except ODD_ANSWERS:
                self.refusals["candles"] += 1
                continue
            if low <= min(opened, close) and max(opened, close) <= high:
                rows[int(row[0])] = (int(row[0]), opened, high, low, close)
            else:
                self.refusals["candles"] += 1
        return [rows[at] for at in sorted(rows)]

    def _candle_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        return {"until": since + (count - 1) * step_ms}

    async def _interest_rows(self, listing: Listing, since: int, count: int) -> list[tuple[int, OpenAt]]:
        step = self.interest_step_ms or STEP_MS
        params = self._interest_window(since, step, count)
        frame = "5m" if step == STEP_MS else "1h"
        async with self._waiting:
            got = await self._translate_errors(
                self._exchange.fetch_open_interest_history(listing.market.symbol, frame, since, count, params)
            )
        return self._interest_of(listing, got)

    def _interest_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        # Without `until` ccxt requests one row too many, and venues that return the newest rows then drop the first.
        return {"until": since + (count - 1) * step_ms}

    def _interest_of(self, listing: Listing, rows: Iterable[Any]) -> list[tuple[int, OpenAt]]:
        by_time = {}
        for row in rows:
            try:
                by_time[int(row["timestamp"])] = self._open_at(listing, row)
            except ODD_ANSWERS:
                self.refusals["open interest"] += 1
        return sorted(by_time.items())

    def _open_at(self, listing: Listing, row: dict[str, Any]) -> OpenAt:
        return OpenAt(plausible_amount(optional(self._contracts(listing, row)), "open interest"))

    # -- liquidation orders

    async def watch(self) -> list[Liquidation]:
        """Wait for a stream's next liquidation orders. Return all of a burst."""
        exchange = self._exchange
        if exchange.frames.empty():
            await self._translate_errors(self._subscribe())
        orders: list[Liquidation] = []
        while not exchange.frames.empty():
            try:
                orders += numbered(self._liquidations(exchange.frames.get_nowait()))
            except ODD_ANSWERS:
                self.refusals["orders"] += 1  # one odd frame must not lose the rest of a burst
        return orders

    async def renew_stream(self) -> None:
        """Close the venue's websockets. The next watch() reconnects and subscribes again."""
        for client in list(self._exchange.clients.values()):
            await client.close()
        self._exchange.clients.clear()

    async def recent_liquidations(self, market: Market, since: int) -> list[Liquidation]:
        """Return a market's liquidation orders since a time, UTC ms, for venues without a stream."""
        listing = self._listing_of(market)
        orders = []
        async with self._waiting:
            rows = await self._translate_errors(self._liquidation_rows(listing, since))
        for row in rows:
            try:
                orders.append(self._liquidation(listing, row))
            except ODD_ANSWERS:
                self.refusals["orders"] += 1
        return [event for event in numbered(orders) if event.at > since]

    # -- margin and books

    async def tiers(self, market: Market) -> list[Tier]:
        """Return a market's margin tiers with their amounts, lowest first, or none if the venue publishes none."""
        if not self.tiers_public:
            return []
        listing = self._listing_of(market)
        async with self._waiting:
            rows = await self._translate_errors(self._tier_rows(listing))
        ladder = []
        for row in rows:
            try:
                ladder.append(self._tier(listing, row))
            except ODD_ANSWERS:
                self.refusals["margin tiers"] += 1
        ladder.sort(key=lambda tier: (tier.floor, -tier.max_leverage))
        # Most venues have bounds of inverse contracts in the coin: only a floor of zero is certain in USD.
        return with_amounts(ladder[:1] if market.kind == "inverse" else ladder)

    async def depth(self, market: Market, now: int) -> Depth:
        """Return a market's order book depth, USD by level outward from the mid price."""
        listing = self._listing_of(market)
        async with self._waiting:
            book = await self._translate_errors(self._exchange.fetch_order_book(market.symbol, self.book_limit))
        try:
            at = int(book.get("timestamp") or now)
            bids, asks = (
                [(float(row[0]) / listing.coins, self._book_usd(listing, float(row[0]), float(row[1]))) for row in side]
                for side in (book["bids"], book["asks"])
            )
            return aggregate(market, at, bids, asks)
        except ODD_ANSWERS as error:
            raise as_venue_error(error) from None

    # -- overridden by venues

    async def _load(self) -> None:
        """Load the venue's markets into the library."""
        await self._exchange.load_markets(True)  # the library's signature

    def _request_cost(self, path: str, params: Mapping[str, Any]) -> float | None:  # noqa: ARG002  # for overrides
        """Return a request's cost at the venue, or None if the library's own figure is right."""
        return None

    def _base(self, raw: dict[str, Any]) -> str:
        """Return the venue's own name for a market's coin."""
        return str(raw["base"])

    def _max_leverage(self, raw: dict[str, Any]) -> float | None:
        """Return the highest leverage the venue offers on a market, or None if the listing lacks it."""
        return optional(((raw.get("limits") or {}).get("leverage") or {}).get("max"))

    def _taker_fee(self, raw: dict[str, Any]) -> float:  # noqa: ARG002  # for venues that add one
        """Return the fee rate that the venue adds to the maintenance rate at liquidation."""
        return 0.0

    @abstractmethod
    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        """Return the venue's raw figures by its own market ids, in as few requests as possible."""

    @abstractmethod
    def _figures(self, listing: Listing, row: Any) -> Figures:
        """Return one market's figures from its raw row."""

    def _contracts(self, listing: Listing, row: dict[str, Any]) -> Any:  # noqa: ARG002  # others need the listing
        """Return the contracts in a row of the venue's open interest history, as parsed by the library."""
        return row.get("openInterestAmount")

    async def _subscribe(self) -> None:
        """Wait until the venue's stream delivers something."""
        raise VenueError("has no public stream of liquidations")

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:  # noqa: ARG002  # for venues with a stream
        """Return the liquidation orders of one frame, each with its position's side."""
        return ()

    async def _liquidation_rows(self, listing: Listing, since: int) -> list[Any]:  # noqa: ARG002
        """Return one market's raw liquidation orders since a time, UTC ms."""
        raise VenueError("has no public list of liquidations")

    def _liquidation(self, listing: Listing, row: Any) -> Liquidation:
        """Convert one raw liquidation order, with its position's side."""
        raise NotImplementedError

    async def _tier_rows(self, listing: Listing) -> list[Any]:
        """Return a market's margin tiers as the library returns them."""
        rows: list[Any] = await self._exchange.fetch_market_leverage_tiers(listing.market.symbol)
        return rows

    def _tier(self, listing: Listing, row: dict[str, Any]) -> Tier:  # noqa: ARG002  # others need the listing
        """Convert one tier of a linear market, with bounds in USD."""
        return make_tier(row.get("minNotional"), row["maintenanceMarginRate"], row["maxLeverage"])

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:
        """Return the USD of one order book row. Amounts are contracts unless a venue overrides this."""
        return listing.market.usd(amount, price / listing.coins)

    def _is_coin(self, raw: dict[str, Any]) -> bool:  # noqa: ARG002  # for venues that list stocks
        """Return whether a listed market is on a coin, not on a stock, metal or index."""
        return True

    def _funding_hours(self, raw: dict[str, Any]) -> float:  # noqa: ARG002  # for venues whose listing has it
        return 8.0

    # -- shared

    def _listing_or_none(self, raw: dict[str, Any]) -> Listing | None:
        """Return a market's listing, or None if its description is odd, so that the others still load."""
        try:
            return self._listing(raw)
        except ODD_ANSWERS:
            self.refusals["listings"] += 1
            return None

    def _listing(self, raw: dict[str, Any]) -> Listing | None:
        """Convert one of the library's markets. Return None if it is not one we read."""
        if not raw.get("swap") or raw.get("active") is False or raw.get("option"):
            return None
        linear = raw.get("linear") and raw.get("settle") in self.settles and raw.get("quote") in self.settles
        inverse = self.inverse and raw.get("inverse") and raw.get("settle") == raw.get("base")
        if not (linear or inverse):
            return None
        try:
            asset, coins = coin_of(self._base(raw))
            size = positive(optional(raw.get("contractSize")), f"contract size of {asset}")
        except ODD_ANSWERS:
            self.refusals["listings"] += 1
            return None
        offered = self._side_figure(lambda: self._max_leverage(raw))
        rules = margin_rules(self.id, asset, offered)
        market = Market(
            self.id,
            raw["symbol"],
            asset,
            "linear" if linear else "inverse",
            size * coins if linear else size,
            rules.maintenance_rate,
            self._side_figure(lambda: self._taker_fee(raw)) or 0.0,
            rules.max_leverage,
        )
        coin = asset not in METALS and self._is_coin(raw)
        hours = self._side_figure(lambda: self._funding_hours(raw)) or 8.0
        return Listing(market, str(raw["id"]), coins, coin, hours if hours > 0 else 8.0)

    def _liquidation_of(self, listing: Listing, at: Any, side: Any, price: Any, contracts: Any) -> Liquidation:
        """Return a liquidation order in our units.

        Raises:
            ImplausibleError: when a figure is implausible.
        """
        return Liquidation(
            listing.market,
            int(float(at)),
            "long" if side == "long" else "short",
            plausible_price(optional(price), "price") / listing.coins,
            plausible_amount(optional(contracts), "amount"),
        )

    async def _translate_errors(self, awaitable: Awaitable[Any]) -> Any:
        try:
            return await awaitable
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # ccxt raises IndexError, KeyError or TypeError on odd answers
            raise as_venue_error(error) from None

    async def _side_answer(self, awaitable: Awaitable[Any], otherwise: Any) -> Any:
        """Request optional figures. Return the response, or `otherwise` if the request fails.

        Raises:
            VenueError: only when the venue sends a Retry-After, or refuses this location.
        """
        try:
            return await self._translate_errors(awaitable)
        except VenueError as error:
            if isinstance(error, VenueRefusedError) or error.retry_after is not None:
                raise
            self.refusals["side figures"] += 1
            return otherwise

    def _side_figure(self, read: Callable[[], float | None]) -> float | None:
        """Return an optional figure of a listing, or None if it is odd."""
        try:
            return read()
        except ODD_ANSWERS:
            self.refusals["side figures"] += 1
            return None

    async def _fetch_each(self, ids: Sequence[str], ask: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
        """Send one request per id, some at a time. Return responses by id, without failed ones.

        Raises:
            VenueError: when all of them failed, or the venue sends a Retry-After.
        """

        async def one(name: str) -> Any:
            async with self._waiting:
                return await self._translate_errors(ask(name))

        answers = await asyncio.gather(*(one(name) for name in ids), return_exceptions=True)
        responses = {name: row for name, row in zip(ids, answers, strict=True) if not isinstance(row, BaseException)}
        errors = [row for row in answers if isinstance(row, BaseException)]
        to_heed = [error for error in errors if isinstance(error, VenueError) and error.retry_after is not None]
        if to_heed or (errors and not responses):
            raise (to_heed or errors)[0]
        return responses
