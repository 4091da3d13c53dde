"""One venue: markets, readings, bars and forced orders in the units of engine.market.

Each venue fills in which markets it has, where its figures stand and in what unit they are.
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
"""How long the map waits for a bar's open interest before it goes on without."""

UNSEEN_GRACE_MS = 90_000
"""The same where open interest is only what polls saw: none comes later."""

VALUE_TOLERANCE = 0.2
MAX_FUNDING_RATE = 1.0
MAX_FUNDING_HOURS = 24.0
AHEAD_MS = MINUTE_MS
"""A venue's time may be this far ahead of this machine's."""

TOGETHER = 8
"""Requests of one venue that may wait at once; the library spaces them out."""


class Venue(ABC):
    """A venue through ccxt.

    Every asynchronous method raises VenueError, or VenueRefusedError where the venue refuses this location, and
    nothing else.

    Attributes:
        settles: in what linear contracts are settled; inverse: whether those settled in the coin are read.
        candle_page, interest_page: rows one request may bring.
        mark_candles: whether candles are of the mark price, else of trades.
        interest_step_ms: the finest step of the venue's history of open interest, None where it has none.
        feed: how forced orders are learned.
        budget: what the venue allows in a minute, in the library's units of cost.
        minutes_cost, book_cost: what a page of minutes and an order book cost, in the same units.
        book_limit: rows of an order book that are asked for.
        refused: market keys to why their last figures were not believed.
        refusals: how much of what the venue sent was not believed, by what it was.
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
        """The markets that are followed."""
        return tuple(listing.market for listing in self._followed.values())

    @property
    def assets(self) -> tuple[str, ...]:
        """Every asset with a market here, followed or not."""
        return tuple(self._listed)

    @property
    def meter(self) -> Meter:
        """What has been asked of the venue."""
        meter: Meter = self._exchange.meter
        return meter

    @property
    def frames_dropped(self) -> int:
        return int(self._exchange.frames_dropped)

    def markets_of(self, asset: str) -> tuple[Market, ...]:
        """An asset's markets that are followed here."""
        return tuple(market for market in self.markets if market.asset == asset)

    async def load(self) -> None:
        """Learn which markets the venue lists now."""
        # Again from the venue each time: the library would keep a first, empty answer.
        await self._call(self._load())
        self._listed = {}
        for found in (self._exchange.markets or {}).values():
            listing = self._listing_or_none(found)
            if listing is not None:
                self._listed.setdefault(listing.market.asset, []).append(listing)
        if not self._listed:
            raise VenueError("lists no perpetual contract")

    def follow(self, assets: Sequence[str]) -> None:
        """Choose the markets that are read from now on.

        Raises:
            VenueError: when the venue lists none of the assets.
        """
        found = [listing for asset in assets for listing in self._listed.get(asset, ())]
        if not found:
            raise VenueError("none of the coins is listed")
        self._followed = {listing.market.key: listing for listing in found}
        self._ids = {listing.id: listing for listing in found}

    def adopt(self, market: Market, lowest: Tier) -> None:
        """Take up a market's lowest margin tier in place of the table's."""
        listing = self._followed.get(market.key)
        if listing is None:
            return
        known = replace(listing.market, maintenance_rate=lowest.maintenance_rate, max_leverage=lowest.max_leverage)
        self._followed[market.key] = self._ids[listing.id] = replace(listing, market=known)

    def _listing_of(self, market: Market) -> Listing:
        """How a followed market is listed.

        Raises:
            VenueError: when it is followed no more.
        """
        listing = self._followed.get(market.key)
        if listing is None:
            raise VenueError("followed no more")
        return listing

    async def close(self) -> None:
        await self._exchange.close()

    async def open_interest_by_coin(self) -> dict[str, float]:
        """Open interest of every listed coin, USD; stocks and metals left out."""
        listings = [row for rows in self._listed.values() for row in rows if row.is_coin]
        total: dict[str, float] = {}
        for reading in self._readings(listings, await self._call(self._rows(listings)), None):
            market = reading.market
            total[market.asset] = total.get(market.asset, 0.0) + market.usd(reading.contracts, reading.mark)
        return total

    # -- the present

    async def readings(self, now: int) -> list[Reading]:
        """The figures of every followed market; what cannot be true is left out, named in `refused` and counted."""
        listings = list(self._followed.values())
        found = self._readings(listings, await self._call(self._rows(listings)), now)
        if not found and self.refused:
            raise VenueError(next(iter(self.refused.values())))
        return found

    def _readings(self, listings: Iterable[Listing], rows: Mapping[str, Any], now: int | None) -> list[Reading]:
        found = []
        for listing in listings:
            key = listing.market.key
            try:
                found.append(self._reading(listing, self._figures(listing, row_of(rows, listing.id)), now))
                self.refused.pop(key, None)
            except ODD_ANSWERS as error:
                self.refusals["figures"] += 1
                self.refused[key] = str(as_venue_error(error))
        return found

    def _reading(self, listing: Listing, figures: Figures, now: int | None) -> Reading:
        """Figures in the program's units, if they can be true.

        Raises:
            ImplausibleError: when they cannot: not positive, far off the index or the stated value, from the future.
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
        """Funding as a fraction per 8 hours; None where the venue says none that can be true."""
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
        """Hold open interest against the value that the venue says it has.

        Raises:
            ImplausibleError: when they are more than a fifth apart.
        """
        if not value_usd or not mark or value_usd < 0:
            return
        usd = listing.market.usd(contracts, mark)
        if abs(usd / value_usd - 1) > VALUE_TOLERANCE:
            raise ImplausibleError(f"open interest of {usd:.3g} USD is called {value_usd:.3g}")

    async def minutes(self, market: Market, since: int) -> list[MinuteRow]:
        """One-minute candles from then on, the running one included."""
        return await self._candles(self._listing_of(market), "1m", MINUTE_MS, since, MINUTES)

    # -- bars

    async def bars(self, market: Market, since: int, until: int, now: int, seen: Interest = unseen) -> list[Bar]:
        """Closed bars that opened at or after since and closed by until, oldest first.

        The newest are held back until their open interest is known, but not for longer than the grace.

        Args:
            seen: open interest at bars' ends as polls saw it, for venues that keep no history of it.
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
            known = interest.get(end, UNKNOWN)
            contracts = known.contracts or seen(end)
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
                        long_liquidations_usd=known.long_liquidations_usd,
                        short_liquidations_usd=known.short_liquidations_usd,
                    )
                )
            except ImplausibleError:
                self.refusals["candles"] += 1
                continue  # a bar that cannot be true is a gap, and a gap stays one
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
        """All rows from first to last, page by page; a page that brings nothing new ends a stretch without data."""
        found: list[Any] = []
        at = -(-first // step) * step
        while at <= last:
            count = min(page, (last - at) // step + 1)
            got = await rows(at, count)
            found += [row for row in got if at <= row[0] <= last and (not found or row[0] > found[-1][0])]
            at += count * step
        return found

    async def _candles(self, listing: Listing, timeframe: str, step_ms: int, since: int, count: int) -> list[MinuteRow]:
        params = {**({"price": "mark"} if self.mark_candles else {}), **self._candle_window(since, step_ms, count)}
        return self._whole(listing, await self._fetch_candles(listing, timeframe, since, count, params), step_ms, since)

    async def _fetch_candles(
        self, listing: Listing, timeframe: str, since: int, count: int | None, params: dict[str, Any]
    ) -> Any:
        async with self._waiting:
            symbol = listing.market.symbol
            return await self._call(self._exchange.fetch_ohlcv(symbol, timeframe, since, count, params))

    def _whole(self, listing: Listing, got: Any, step_ms: int, since: int) -> list[MinuteRow]:
        """Candles by time, each once. One that is not whole, off the step, or cannot be true is a gap.

        How far a candle reaches is no reason to refuse it: whether others moved with it is looked at where theirs are.
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
            got = await self._call(
                self._exchange.fetch_open_interest_history(listing.market.symbol, frame, since, count, params)
            )
        return self._interest_of(listing, got)

    def _interest_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        # Without `until` ccxt asks for one row too many, and venues that keep the newest then drop the first.
        return {"until": since + (count - 1) * step_ms}

    def _interest_of(self, listing: Listing, rows: Iterable[Any]) -> list[tuple[int, OpenAt]]:
        found = {}
        for row in rows:
            try:
                found[int(row["timestamp"])] = self._open_at(listing, row)
            except ODD_ANSWERS:
                self.refusals["open interest"] += 1
        return sorted(found.items())

    def _open_at(self, listing: Listing, row: dict[str, Any]) -> OpenAt:
        return OpenAt(plausible_amount(optional(self._contracts(listing, row)), "open interest"))

    # -- forced orders

    async def watch(self) -> list[Liquidation]:
        """Wait for forced orders of a stream; every one of a burst."""
        exchange = self._exchange
        if exchange.frames.empty():
            await self._call(self._subscribe())
        found: list[Liquidation] = []
        while not exchange.frames.empty():
            try:
                found += numbered(self._liquidations(exchange.frames.get_nowait()))
            except ODD_ANSWERS:
                self.refusals["orders"] += 1  # one odd frame must not take a burst with it
        return found

    async def renew_stream(self) -> None:
        """Drop the venue's websockets; the next watch() dials and subscribes again."""
        for client in list(self._exchange.clients.values()):
            await client.close()
        self._exchange.clients.clear()

    async def recent_liquidations(self, market: Market, since: int) -> list[Liquidation]:
        """Forced orders since then, where the venue is asked for them instead of streaming them."""
        listing = self._listing_of(market)
        found = []
        async with self._waiting:
            rows = await self._call(self._liquidation_rows(listing, since))
        for row in rows:
            try:
                found.append(self._liquidation(listing, row))
            except ODD_ANSWERS:
                self.refusals["orders"] += 1
        return [event for event in numbered(found) if event.at > since]

    # -- margin and books

    async def tiers(self, market: Market) -> list[Tier]:
        """The venue's margin tiers with their amounts, lowest first; empty where it does not publish them."""
        if not self.tiers_public:
            return []
        listing = self._listing_of(market)
        async with self._waiting:
            rows = await self._call(self._tier_rows(listing))
        found = []
        for row in rows:
            try:
                found.append(self._tier(listing, row))
            except ODD_ANSWERS:
                self.refusals["margin tiers"] += 1
        found.sort(key=lambda tier: (tier.floor, -tier.max_leverage))
        # Bounds of inverse contracts are in the coin on most venues: only what begins at nothing is known in USD.
        return with_amounts(found[:1] if market.kind == "inverse" else found)

    async def depth(self, market: Market, now: int) -> Depth:
        """What rests in the order book, USD by level outward from the middle."""
        listing = self._listing_of(market)
        async with self._waiting:
            book = await self._call(self._exchange.fetch_order_book(market.symbol, self.book_limit))
        try:
            at = int(book.get("timestamp") or now)
            bids, asks = (
                [(float(row[0]) / listing.coins, self._book_usd(listing, float(row[0]), float(row[1]))) for row in side]
                for side in (book["bids"], book["asks"])
            )
            return aggregate(market, at, bids, asks)
        except ODD_ANSWERS as error:
            raise as_venue_error(error) from None

    # -- what venues fill in

    async def _load(self) -> None:
        """Have the library load the venue's markets."""
        await self._exchange.load_markets(True)  # the library's signature

    def _request_cost(self, path: str, params: Mapping[str, Any]) -> float | None:  # noqa: ARG002  # venues the library misjudges
        """What a request costs at the venue, where the library has it wrong."""
        return None

    def _base(self, found: dict[str, Any]) -> str:
        """The venue's own name of a market's coin."""
        return str(found["base"])

    def _max_leverage(self, found: dict[str, Any]) -> float | None:
        """The highest leverage the venue offers on a market, where its listing says so."""
        return optional(((found.get("limits") or {}).get("leverage") or {}).get("max"))

    def _taker_fee(self, found: dict[str, Any]) -> float:  # noqa: ARG002  # venues that count it
        """What the venue adds to the maintenance rate at liquidation."""
        return 0.0

    @abstractmethod
    async def _rows(self, listings: Sequence[Listing]) -> Mapping[str, Any]:
        """The venue's raw figures by its own market ids, in as few requests as it allows."""

    @abstractmethod
    def _figures(self, listing: Listing, row: Any) -> Figures:
        """Where the figures of one market stand in its raw row."""

    def _contracts(self, listing: Listing, row: dict[str, Any]) -> Any:  # noqa: ARG002  # others need the listing
        """Contracts from a row of the venue's history of open interest, as the library gives it."""
        return row.get("openInterestAmount")

    async def _subscribe(self) -> None:
        """Wait until the venue's stream has brought something."""
        raise VenueError("has no public stream of liquidations")

    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:  # noqa: ARG002  # streams override it
        """The forced orders of one frame, each with whose it was."""
        return ()

    async def _liquidation_rows(self, listing: Listing, since: int) -> list[Any]:  # noqa: ARG002
        """Raw forced orders of one market since then."""
        raise VenueError("has no public list of liquidations")

    def _liquidation(self, listing: Listing, row: Any) -> Liquidation:
        """One raw forced order, with whose it was."""
        raise NotImplementedError

    async def _tier_rows(self, listing: Listing) -> list[Any]:
        """Margin tiers as the library gives them."""
        rows: list[Any] = await self._exchange.fetch_market_leverage_tiers(listing.market.symbol)
        return rows

    def _tier(self, listing: Listing, row: dict[str, Any]) -> Tier:  # noqa: ARG002  # others need the listing
        """One tier of a linear market whose bounds are USD."""
        return make_tier(row.get("minNotional"), row["maintenanceMarginRate"], row["maxLeverage"])

    def _book_usd(self, listing: Listing, price: float, amount: float) -> float:
        """USD of one row of the order book; amounts are contracts unless a venue says otherwise."""
        return listing.market.usd(amount, price / listing.coins)

    def _is_coin(self, found: dict[str, Any]) -> bool:  # noqa: ARG002  # venues that list stocks look at it
        """Whether a listed market is one of a coin, not of a stock, metal or index."""
        return True

    def _funding_hours(self, found: dict[str, Any]) -> float:  # noqa: ARG002  # venues whose listing says so
        return 8.0

    # -- shared

    def _listing_or_none(self, found: dict[str, Any]) -> Listing | None:
        """The same, and None for a market that is described in an odd way: it takes no other with it."""
        try:
            return self._listing(found)
        except ODD_ANSWERS:
            self.refusals["listings"] += 1
            return None

    def _listing(self, found: dict[str, Any]) -> Listing | None:
        """A market of the library as a listing, None where it is none that is read."""
        if not found.get("swap") or found.get("active") is False or found.get("option"):
            return None
        linear = found.get("linear") and found.get("settle") in self.settles and found.get("quote") in self.settles
        inverse = self.inverse and found.get("inverse") and found.get("settle") == found.get("base")
        if not (linear or inverse):
            return None
        try:
            asset, coins = coin_of(self._base(found))
            size = positive(optional(found.get("contractSize")), f"contract size of {asset}")
        except ODD_ANSWERS:
            self.refusals["listings"] += 1
            return None
        offered = self._side_figure(lambda: self._max_leverage(found))
        rules = margin_rules(self.id, asset, offered)
        market = Market(
            self.id,
            found["symbol"],
            asset,
            "linear" if linear else "inverse",
            size * coins if linear else size,
            rules.maintenance_rate,
            self._side_figure(lambda: self._taker_fee(found)) or 0.0,
            rules.max_leverage,
        )
        coin = asset not in METALS and self._is_coin(found)
        hours = self._side_figure(lambda: self._funding_hours(found)) or 8.0
        return Listing(market, str(found["id"]), coins, coin, hours if hours > 0 else 8.0)

    def _event(self, listing: Listing, at: Any, side: Any, price: Any, contracts: Any) -> Liquidation:
        """A forced order in the program's units.

        Raises:
            ImplausibleError: when a figure cannot be true.
        """
        return Liquidation(
            listing.market,
            int(float(at)),
            "long" if side == "long" else "short",
            plausible_price(optional(price), "price") / listing.coins,
            plausible_amount(optional(contracts), "amount"),
        )

    async def _call(self, awaitable: Awaitable[Any]) -> Any:
        try:
            return await awaitable
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # ccxt lets IndexError, KeyError and TypeError of odd answers through
            raise as_venue_error(error) from None

    async def _side_answer(self, awaitable: Awaitable[Any], otherwise: Any) -> Any:
        """Ask for figures that others do not rest on: what cannot be had is left out by itself.

        Raises:
            VenueError: only where the venue wants to be left alone, or refuses this location.
        """
        try:
            return await self._call(awaitable)
        except VenueError as error:
            if isinstance(error, VenueRefusedError) or error.retry_after is not None:
                raise
            self.refusals["side figures"] += 1
            return otherwise

    def _side_figure(self, read: Callable[[], float | None]) -> float | None:
        """Read a figure of a listing that others do not rest on; None where it is odd."""
        try:
            return read()
        except ODD_ANSWERS:
            self.refusals["side figures"] += 1
            return None

    async def _each(self, ids: Sequence[str], ask: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
        """One request for each id, some at a time; those that failed are left out unless all did."""

        async def one(name: str) -> Any:
            async with self._waiting:
                return await self._call(ask(name))

        answers = await asyncio.gather(*(one(name) for name in ids), return_exceptions=True)
        found = {name: row for name, row in zip(ids, answers, strict=True) if not isinstance(row, BaseException)}
        errors = [row for row in answers if isinstance(row, BaseException)]
        to_heed = [error for error in errors if isinstance(error, VenueError) and error.retry_after is not None]
        if to_heed or (errors and not found):
            raise (to_heed or errors)[0]
        return found
