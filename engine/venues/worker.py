"""Reads one venue: current figures by polling, history alongside. Reports the venue's state and problems."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Literal

from engine.errors import StorageError, VenueError, VenueRefusedError
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, Bar, Liquidation, Market
from engine.outlook.depth import Depth
from engine.ports import Clock, MarketStore
from engine.venues.bounds import why_impossible
from engine.venues.ccxt_client import as_venue_error
from engine.venues.extremes import Reading
from engine.venues.liquidation_feed import LiquidationFeed
from engine.venues.progress import MarketProgress
from engine.venues.venue import STEP_MS, Venue

log = logging.getLogger(__name__)

State = Literal["starting", "ok", "failing", "refused"]

BACKOFF_SECONDS = (5, 300)
REFUSED_SECONDS = 1800
MAX_DAYS = 30
PAGE_DAYS = 1
"""History is read and stored in pieces of this size, so that an interrupted read resumes where it stopped."""

TIERS_MS = 23 * HOUR_MS
"""Age at which margin tiers are read again: a little less than the day between two reloads of the markets."""

BEHIND_MS = 6 * HOUR_MS
"""A market further behind than this is still reading history, and polls do not wait for it."""

CLOSE_SHARE = 0.2
"""Share of a venue's budget for one-minute candles."""

BOOK_SHARE = 0.1
"""The same for order books; if it is not enough for all, they take turns."""


def _leads_nothing(market: Market) -> bool:  # noqa: ARG001  # until a feed sets it
    return False


class VenueWorker:
    """Reads one venue.

    Attributes:
        progress: each market's reading progress, by market key.
        forced: the venue's liquidation feed.
        books: the last order book of each market whose book we read, by market key.
        leads: returns whether a market is a reference market.
    """

    def __init__(
        self,
        venue: Venue,
        assets: Sequence[str],
        store: MarketStore,
        clock: Clock,
        history_days: int,
        map_closed_at: Callable[[Market], int],
        poll_seconds: float = 20.0,
    ) -> None:
        self.venue = venue
        self.state: State = "starting"
        self.detail = ""
        self.progress: dict[str, MarketProgress] = {}
        self.books: dict[str, Depth] = {}
        self.forced = LiquidationFeed(venue, clock)
        self.failures = 0
        self._assets, self._store, self._clock, self._history_days = list(assets), store, clock, history_days
        self.is_reference: Callable[[Market], bool] = _leads_nothing
        self._map_closed_at, self._poll_seconds = map_closed_at, poll_seconds
        self._retry_at = 0.0
        self._opened = False
        self._opening = asyncio.Lock()
        self._polling = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._looked_at = 0
        self._loaded_at = 0
        self._jitter = random.Random(venue.id)  # noqa: S311  # spreads retries, guards nothing

    @property
    def id(self) -> str:
        return self.venue.id

    @property
    def opened(self) -> bool:
        return self._opened

    # -- opening

    async def open(self) -> bool:
        """Load the venue's markets once, unless backing off. Return whether they are loaded.

        Raises:
            StorageError: when stored data could not be read or written.
        """
        if not self.opened and not self._in_backoff():
            async with self._opening:
                if not self.opened:
                    await self._attempt(self._open())
        return self.opened

    async def open_interest_by_coin(self) -> dict[str, float]:
        """Return open interest by coin, USD, empty if the venue does not answer."""
        if not await self.open() or self._in_backoff():
            return {}
        interest: dict[str, float] = {}

        async def ask() -> None:
            interest.update(await self.venue.open_interest_by_coin())

        await self._attempt(ask())
        return interest

    async def follow(self, assets: Sequence[str]) -> None:
        """Read these assets from now on, instead of the previous ones.

        Raises:
            VenueError: when the venue lists none of them.
        """
        self._assets = list(assets)
        if self._opened:
            self.venue.follow(self._assets)
            await self._resume_markets()

    async def _open(self) -> None:
        await self.venue.load()
        self._loaded_at = self._clock.now()
        if self._assets:
            self.venue.follow(self._assets)
            await self._resume_markets()
        self._opened = True

    async def _resume_markets(self) -> None:
        """Resume each followed market where it stopped, with its stored bars. Drop the others."""
        await self._learn_tiers()
        start = self._history_start(self._clock.now())
        for market in self.venue.markets:
            if market.key in self.progress:
                continue
            closed_at = self._map_closed_at(market)
            stored = await self._store.bars_since(market, closed_at)
            # Read all that the map missed, however long: levels crossed in the meantime are gone.
            end = max(stored[-1].closed_at if stored else 0, closed_at) or start
            self.progress[market.key] = MarketProgress(end, waiting=list(stored))
        await self._store.save_markets(self.venue.markets)
        followed = {market.key for market in self.venue.markets}
        for key in [key for key in self.progress if key not in followed]:
            del self.progress[key]

    def _history_start(self, now: int) -> int:
        """Return the start of history, UTC ms: an hour short, as venues refuse requests a second too old."""
        return (now - self._history_days * DAY_MS + HOUR_MS) // STEP_MS * STEP_MS

    def _oldest(self, now: int) -> int:
        """Return the oldest time to request, UTC ms: venues keep a month, and we stay an hour short of it."""
        return (now - MAX_DAYS * DAY_MS + HOUR_MS) // STEP_MS * STEP_MS

    # -- the present

    async def poll(self) -> bool:
        """Poll the venue, unless backing off or still polling. Return whether that worked.

        Raises:
            StorageError: when something could not be stored. Raises nothing else.
        """
        if self._polling.locked() or self._in_backoff() or not await self.open():
            return False
        async with self._polling:
            if not await self._attempt(self._look()):
                return False
        if self.state != "ok":
            log.info("%s: reading", self.id)
        self.state, self.failures = "ok", 0
        self.detail = self._what_is_wrong()
        return True

    async def _look(self) -> None:
        if not self.venue.markets:
            return
        now = self._clock.now()
        readings = await self.venue.readings(now)
        if not 0 <= now - self._looked_at <= 2 * STEP_MS:
            # After an outage, backfill missed bars before using the current price.
            await self.close_bars()
        now = self._looked_at = self._clock.now()
        close = self._closely(readings)
        await asyncio.gather(*(self._sample(reading, now, closely=reading.market.key in close) for reading in readings))
        if self.venue.feed == "poll":
            await self.forced.ask(now)

    def _closely(self, readings: Sequence[Reading]) -> set[str]:
        """Return the keys of markets whose minutes are read too: reference markets, then the largest.

        Reference markets always count; CLOSE_SHARE of the venue's budget limits the others.
        """
        polls_a_minute = 60 / self._poll_seconds
        most = int(self.venue.budget * CLOSE_SHARE / polls_a_minute / self.venue.minutes_cost)
        markets = [reading.market for reading in sorted(readings, key=lambda r: -r.market.usd(r.contracts, r.mark))]
        leading = [market.key for market in markets if self.is_reference(market)]
        others = [market.key for market in markets if market.key not in leading]
        return {*leading, *others[: max(most - len(leading), 0)]}

    async def _sample(self, reading: Reading, now: int, *, closely: bool) -> None:
        """Update one market's sample from a reading, with its minutes if it is watched closely."""
        entry = self.progress.get(reading.market.key)
        if entry is None:
            return  # no longer followed, or not yet
        if entry.sample is not None and entry.sample.received_at > now:
            entry.forget_looks()  # the clock was set back: those times are wrong
        if entry.sample is not None and reading.at < entry.sample.at:
            self.venue.refusals["late figures"] += 1  # stale or out of order; keep the newer sample
            return
        if self.venue.interest_step_ms != STEP_MS:
            entry.see(reading, reading.at if reading.timed else now)
        rows = None
        if closely:
            try:
                rows = await self.venue.minutes(reading.market, entry.extremes.wanted_since(entry.closed_at, now))
            except VenueError as error:
                if isinstance(error, VenueRefusedError) or error.retry_after is not None:
                    raise
                entry.wrong, rows = f"minutes: {error}", []
        entry.sample = entry.extremes.take(reading, entry.closed_at, now, rows)

    # -- bars

    async def close_bars(self) -> bool:
        """Read newly closed bars of markets that are not far behind. Return whether there were any.

        Raises:
            StorageError: when they could not be stored.
        """
        if not self._opened or self._in_backoff():
            return False
        now = self._clock.now()
        due = [market for market in self._known() if STEP_MS <= now - self._closed_at(market) <= BEHIND_MS]
        results = await asyncio.gather(*(self._read_on(market) for market in due))
        return any(results)

    async def read_history(self) -> None:
        """Read every market's missing bars in pieces, the furthest behind first, until all are near the present.

        Raises:
            StorageError: when it could not be stored.
        """
        if self._reading.locked() or not await self.open():
            return
        async with self._reading:
            while (market := self._furthest_behind()) is not None and not self._in_backoff():
                await self._read_on(market)

    def history_to_go(self, now: int) -> tuple[int, float]:
        """Return how many markets are still reading history, and how many market-days are left."""
        behind = [now - entry.closed_at for entry in self.progress.values() if now - entry.closed_at > BEHIND_MS]
        return len(behind), sum(behind) / DAY_MS

    def _furthest_behind(self) -> Market | None:
        now, loop_now = self._clock.now(), asyncio.get_running_loop().time()
        behind = [
            market
            for market in self._known()
            if now - self._closed_at(market) > BEHIND_MS and self.progress[market.key].retry_at <= loop_now
        ]
        return min(behind, key=self._closed_at, default=None)

    def _known(self) -> list[Market]:
        """Return the followed markets that have reading progress."""
        return [market for market in self.venue.markets if market.key in self.progress]

    def _closed_at(self, market: Market) -> int:
        return self.progress[market.key].closed_at

    async def _read_on(self, market: Market) -> bool:
        """Read the next piece of one market's bars. Return whether there were any.

        A failure backs off only this market, unless the venue refuses this location or sends a Retry-After.
        """
        market_progress = self.progress.get(market.key)
        loop = asyncio.get_running_loop()
        if market_progress is None or loop.time() < market_progress.retry_at:
            return False
        try:
            any_bars = await self._read_piece(market, market_progress)
        except StorageError:
            raise
        except VenueError as error:
            self._market_failed(market_progress, error)
            return False
        except Exception as error:
            log.exception("%s: could not parse a response about %s", self.id, market.asset)
            self._market_failed(market_progress, as_venue_error(error))
            return False
        market_progress.wrong, market_progress.failures = "", 0
        return any_bars

    async def _read_piece(self, market: Market, market_progress: MarketProgress) -> bool:
        now = self._clock.now()
        since = max(market_progress.closed_at, self._oldest(now))
        until = min(since + PAGE_DAYS * DAY_MS, now)
        bars = await self.venue.bars(market, since, until, now, market_progress.interest)
        if bars and self._must_be_seeded(market, market_progress):
            bars[0] = await self._seeded(market, bars[0], now)
        if bars:
            await self._store.add_bars([(market, bar) for bar in bars])
        if self.progress.get(market.key) is not market_progress:
            return False  # no longer followed
        market_progress.waiting += bars
        market_progress.closed_at = bars[-1].closed_at if bars else since
        if until < now:
            market_progress.closed_at = max(market_progress.closed_at, until // STEP_MS * STEP_MS)
        elif not bars and now - since > BEHIND_MS:
            raise VenueError("no candles")  # halted or empty response; back off
        return bool(bars)

    def _must_be_seeded(self, market: Market, market_progress: MarketProgress) -> bool:
        """Return whether this is the first bar of a market whose venue has no open interest history."""
        return self.venue.interest_step_ms is None and not self._map_closed_at(market) and not market_progress.waiting

    async def _seeded(self, market: Market, bar: Bar, now: int) -> Bar:
        """Return the first bar of such a market with today's open interest.

        A map opened today would not reflect the levels that price has crossed since that bar.
        """
        market_progress = self.progress[market.key]
        if market_progress.sample is None:
            for reading in await self.venue.readings(now):
                if reading.market.key == market.key:
                    return replace(bar, contracts=bar.contracts or reading.contracts)
            raise VenueError("no open interest to begin with")
        return replace(bar, contracts=bar.contracts or market_progress.sample.contracts)

    def _market_failed(self, market_progress: MarketProgress, error: VenueError) -> None:
        market_progress.failures += 1
        market_progress.wrong = str(error)
        wait = min(BACKOFF_SECONDS[0] * 2 ** (market_progress.failures - 1), BACKOFF_SECONDS[1])
        market_progress.retry_at = asyncio.get_running_loop().time() + wait / self._clock.speed
        if isinstance(error, VenueRefusedError) or error.retry_after:
            self._failed(error)

    # -- periodic jobs

    async def read_books(self, wanted: Callable[[Market], bool]) -> None:
        """Read order books of wanted markets, the oldest first, within the budget. Drop one that fails."""
        if self.state != "ok":
            return
        now = self._clock.now()
        most = max(int(self.venue.budget * BOOK_SHARE / self.venue.book_cost), 1)
        markets = [market for market in self.venue.markets if wanted(market)]
        oldest = sorted(markets, key=lambda m: (self.books[m.key].at if m.key in self.books else 0, m.key))
        for market in oldest[:most]:
            try:
                self.books[market.key] = await self.venue.depth(market, now)
            except VenueError as error:
                self.books.pop(market.key, None)
                if error.retry_after is not None:
                    self._failed(error)
                    return
                log.debug("%s: order book of %s: %s", self.id, market.asset, error)

    def clock_set_back(self, now: int) -> None:
        """Cap stored times at `now` after the clock was set back, and drop later samples."""
        self._looked_at, self._loaded_at = min(self._looked_at, now), min(self._loaded_at, now)
        self.forced.clock_set_back(now)
        for market_progress in self.progress.values():
            if market_progress.sample is not None and market_progress.sample.received_at > now:
                market_progress.forget_looks()

    def reload_soon(self) -> None:
        """Have the next reload() run early: a contract size may have changed."""
        self._loaded_at = 0

    async def reload(self) -> None:
        """Reload the markets and their margin tiers, at most once a day.

        Raises:
            StorageError: when they could not be stored.
        """
        now = self._clock.now()
        if self.state != "ok" or now - self._loaded_at < DAY_MS:
            return
        try:
            await self.venue.load()
            self.venue.follow(self._assets)
        except VenueError as error:
            log.info("%s: markets could not be reloaded: %s", self.id, error)
            return
        self._loaded_at = now
        await self._resume_markets()

    async def _learn_tiers(self) -> None:
        """Apply each market's own lowest margin tier: the stored one, or a newly read one if that is old."""
        now = self._clock.now()

        async def learn(market: Market) -> None:
            read_at, tiers = await self._store.tiers_of(market.key)
            if (not tiers or now - read_at >= TIERS_MS) and not self._in_backoff():
                try:
                    fresh = await self.venue.tiers(market)
                except VenueError as error:
                    if error.retry_after is not None:
                        self._failed(error)
                    log.debug("%s: margin tiers of %s: %s", self.id, market.asset, error)
                else:
                    if fresh:
                        tiers = fresh
                        await self._store.save_tiers(market, fresh, now)
            if tiers:
                self.venue.adopt(market, tiers[0])

        await asyncio.gather(*(learn(market) for market in self.venue.markets))

    def take_orders(self) -> list[Liquidation]:
        """Return the liquidation orders reported since the last call. Implausible ones are dropped and counted."""
        now, orders = self._clock.now(), []
        for order in self.forced.take():
            market_progress = self.progress.get(order.market.key)
            if why_impossible(order, now, market_progress.sample if market_progress is not None else None):
                self.venue.refusals["orders"] += 1
            else:
                orders.append(order)
        return orders

    async def listen(self) -> None:
        """Collect the venue's liquidation stream until cancelled."""
        await self.forced.listen(lambda: self._opened)

    # -- state

    def ages_ms(self, now: int) -> list[int]:
        """Return the age of each market's sample, ms."""
        return [now - market_progress.sample.at for market_progress in self.progress.values() if market_progress.sample]

    def stale_after_ms(self, poll_ms: float) -> int:
        """Return the age at which figures are stale and left out of the sum, ms."""
        return max(round(3 * poll_ms), MINUTE_MS)

    def _what_is_wrong(self) -> str:
        """Return a short text about markets that could not be read, or an empty string."""
        wrong = {}
        for market in self._known():
            reason = self.venue.refused.get(market.key) or self.progress[market.key].wrong
            if reason:
                wrong[market.asset] = reason
        shown = [f"{asset}: {reason}" for asset, reason in list(wrong.items())[:2]]
        more = [f"{len(wrong) - 2} more"] if len(wrong) > 2 else []
        return "; ".join(shown + more)

    def _in_backoff(self) -> bool:
        return asyncio.get_running_loop().time() < self._retry_at

    async def _attempt(self, work: Awaitable[None]) -> bool:
        """Run work with the venue. Return whether it succeeded; a failure is logged and starts the back-off."""
        try:
            await work
        except StorageError:
            raise
        except VenueError as error:
            self._failed(error)
        except Exception as error:
            log.exception("%s: could not parse a response", self.id)
            self._failed(as_venue_error(error))
        else:
            return True
        return False

    def _failed(self, error: VenueError) -> None:
        self.failures += 1
        refused = isinstance(error, VenueRefusedError)
        wait: float = REFUSED_SECONDS
        if not refused:
            wait = min(BACKOFF_SECONDS[0] * 2 ** (self.failures - 1), BACKOFF_SECONDS[1])
        wait = max(wait * (0.75 + 0.5 * self._jitter.random()), error.retry_after or 0.0)
        if self.state not in ("failing", "refused"):
            log.warning("%s: %s; next try in %.0f s", self.id, error, wait)
        self.state, self.detail = "refused" if refused else "failing", str(error)
        self._retry_at = asyncio.get_running_loop().time() + wait / self._clock.speed
