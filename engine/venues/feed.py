"""The live feed: polls all venues and combines the results into ticks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from engine.board import AssetBoard
from engine.errors import StorageError
from engine.market import MINUTE_MS, AssetUpdate, Bar, Market, MarketTick, ReportedLiquidation, venue_of
from engine.ports import Clock, MarketStore
from engine.quotes import Quorum, Quotes
from engine.venues.venue import STEP_MS
from engine.venues.worker import BEHIND_MS, VenueWorker

log = logging.getLogger(__name__)

JITTER_SHARE = 0.1
KEEP_TIME_SECONDS = 2.0
FIRST_HISTORY_SECONDS = 180
FIRST_POLL_SECONDS = 10
BOOK_SECONDS = 60
RELOAD_SECONDS = 600
"""Interval of the check whether a venue's markets are due for their daily reload."""

REVIEW_SECONDS = 24 * 3600
LATE_MS = STEP_MS + 2 * MINUTE_MS
"""Bars that arrive later than this are reported as missed, not alerted live."""

BACKFILL_BARS = 500
"""Maximum of backfilled bars per asset and tick, so that a month of them does not block the loop."""

LAGGARD_MS = 4 * MINUTE_MS
"""How long a closed bar waits for the slowest venue before the asset goes on without it."""

BARS_LATE_MS = 30 * MINUTE_MS
"""A market whose map has not been stepped for this long is left out: its levels are stale."""

MANY_COINS = 10
"""With more coins than this, only reference markets' order books are read."""

REFERENCES = 2
"""Reference markets per asset, at different venues as one alone confirms nothing. Their minutes are always read."""

REFERENCE_FACTOR = 1.2
"""How many times larger another market must be to replace a reference market."""


class LiveFeed:
    """Polls venues in scheduled jobs, each at its own pace, and ticks whenever one of them has new data.

    Attributes:
        review: chooses once a day which assets to follow; None if the operator names them.
        late_runs, skipped_runs: job runs dropped because they came too late or the one before was still running.
        prices_refused: how often we left a market out because the other venues do not confirm its figures.
        wicks: how many extremes only one venue showed.
    """

    def __init__(
        self,
        workers: Sequence[VenueWorker],
        boards: Mapping[str, AssetBoard],
        store: MarketStore,
        clock: Clock,
        poll_seconds: float,
    ) -> None:
        self.workers = workers
        self.late_runs = 0
        self.skipped_runs = 0
        self.prices_refused = 0
        self.wicks = 0
        self.in_history = True
        self._boards, self._store, self._clock = boards, store, clock
        self._poll_seconds = poll_seconds
        self.review: Callable[[], Awaitable[None]] | None = None
        self._changed = asyncio.Event()
        self._failure: StorageError | None = None
        self._priced_until: dict[str, int] = {}
        self._slow: set[asyncio.Task[None]] = set()
        self._histories: dict[str, asyncio.Task[None]] = {}
        self._references: dict[str, list[str]] = {}
        self._quotes: dict[str, Quotes] = {}
        self._doubts: dict[str, dict[str, str]] = {}
        self._asked_again: set[str] = set()
        self._followed_at: dict[str, int] = {}
        self._priced_at: dict[str, int] = {}
        self._streams: list[asyncio.Task[None]] = []
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        for worker in workers:
            worker.is_reference = self.is_reference

    # -- life cycle

    async def ticks(self) -> AsyncIterator[MarketTick]:
        """Yield history as silent ticks, missed bars as late ones, then live ticks until cancelled."""
        self._priced_until = await self._store.priced_until()
        await self._all((self._read(worker) for worker in self.workers), FIRST_HISTORY_SECONDS)
        for delivered in await self._collect(present=False):
            yield delivered
            await asyncio.sleep(0)
        self.in_history = False
        # Building the maps took time, and the samples have aged: poll again.
        await self._all((self._poll(worker) for worker in self.workers), FIRST_POLL_SECONDS)
        self._start_jobs()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._failure is not None:
                raise self._failure
            for delivered in await self._collect():
                yield delivered
                await asyncio.sleep(0)

    @property
    def doubts(self) -> dict[str, str]:
        """Markets whose data is currently rejected: reason by market key."""
        reasons = {key: why for doubts in self._doubts.values() for key, why in doubts.items()}
        for board in self._boards.values():
            reasons |= board.vetting.doubts
        return reasons

    def is_reference(self, market: Market) -> bool:
        """Return whether this is a reference market, whose extremes must confirm its asset's."""
        return market.key in self._references.get(market.asset, ())

    async def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.remove_all_jobs()
            await asyncio.sleep(0)  # lets a job that was just submitted start, so that it can be cancelled cleanly
            self._scheduler.shutdown(wait=False)
        background: list[asyncio.Task[None]] = [*self._streams, *self._slow, *self._histories.values()]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await asyncio.gather(*(worker.venue.close() for worker in self.workers), return_exceptions=True)

    async def _all(self, works: Iterable[Coroutine[Any, Any, None]], seconds: float) -> None:
        """Run one task per venue and wait for at most `seconds`; slower ones continue in the background."""
        tasks = {asyncio.create_task(work) for work in works}
        self._slow |= tasks
        for task in tasks:
            task.add_done_callback(self._slow.discard)
        await asyncio.wait(tasks, timeout=seconds)
        if self._failure is not None:
            raise self._failure

    def _start_jobs(self) -> None:
        seconds = self._poll_seconds / self._clock.speed
        self._scheduler.add_listener(self._count_missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        for worker in self.workers:
            self._every(seconds, self._poll, worker)
            self._every(BOOK_SECONDS / self._clock.speed, self._read_books, worker)
            self._every(RELOAD_SECONDS / self._clock.speed, self._reload, worker)
            if worker.venue.feed == "stream":
                self._streams.append(asyncio.create_task(worker.listen(), name=f"stream {worker.id}"))
        if self.review is not None:
            self._scheduler.add_job(
                self._reviewed,
                "interval",
                seconds=REVIEW_SECONDS / self._clock.speed,
                coalesce=True,
                misfire_grace_time=REVIEW_SECONDS,
                id="review",
            )
        self._scheduler.start()
        self._streams.append(asyncio.create_task(self._keep_time(), name="keep time"))

    async def _keep_time(self) -> None:
        """Reschedule jobs when the machine's clock is set, as the scheduler depends on it."""
        while True:
            await asyncio.sleep(KEEP_TIME_SECONDS)
            self.bring_back_jobs(datetime.now(UTC))

    def bring_back_jobs(self, now: datetime) -> None:
        """Run every job at once that is due later than its interval allows."""
        for job in self._scheduler.get_jobs():
            longest = job.trigger.interval * (1 + 2 * JITTER_SHARE) + timedelta(seconds=KEEP_TIME_SECONDS)
            if job.next_run_time is not None and job.next_run_time - now > longest:
                log.warning("the machine's clock was set: running %s now", job.id)
                job.modify(next_run_time=now)

    def clock_set_back(self, now: int) -> None:
        """Cap stored times at `now` after the clock was set back."""
        for times in (self._priced_at, self._priced_until, self._followed_at):
            for asset, at in times.items():
                times[asset] = min(at, now)
        for worker in self.workers:
            worker.clock_set_back(now)

    def _every(
        self, seconds: float, work: Callable[[VenueWorker], Coroutine[Any, Any, None]], worker: VenueWorker
    ) -> None:
        self._scheduler.add_job(
            work,
            "interval",
            args=[worker],
            seconds=seconds,
            jitter=seconds * JITTER_SHARE,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=max(round(seconds), 1),
            id=f"{work.__name__.strip('_')} {worker.id}",
        )

    def _count_missed(self, event: JobExecutionEvent) -> None:
        if event.code == EVENT_JOB_MISSED:
            self.late_runs += 1
        else:
            self.skipped_runs += 1

    async def _read(self, worker: VenueWorker) -> None:
        """Read all of a venue's history, then the bars that have closed since."""
        try:
            await worker.read_history()
            await worker.close_bars()
        except asyncio.CancelledError:
            raise
        except StorageError as error:
            self._failure = error
        self._changed.set()

    async def _poll(self, worker: VenueWorker) -> None:
        try:
            if await worker.poll():
                self._changed.set()
                await worker.close_bars()
        except asyncio.CancelledError:
            return  # the scheduler is being shut down, and would log this as a failure
        except StorageError as error:
            self._failure = error
        self._changed.set()
        running = self._histories.get(worker.id)
        if worker.history_to_go(self._clock.now())[0] and (running is None or running.done()):
            self._histories[worker.id] = asyncio.create_task(self._read(worker), name=f"history {worker.id}")

    async def _read_books(self, worker: VenueWorker) -> None:
        try:
            await worker.read_books(self._wants_book)
        except asyncio.CancelledError:
            return
        for market in worker.venue.markets:
            if market.asset in self._boards and market.key in worker.books:
                self._boards[market.asset].books[market.key] = worker.books[market.key]

    def _wants_book(self, market: Market) -> bool:
        """Return whether to read a market's book: every one for few coins, else those of reference markets."""
        return self.is_reference(market) or len(self._boards) <= MANY_COINS

    async def _reload(self, worker: VenueWorker) -> None:
        try:
            await worker.reload()
        except asyncio.CancelledError:
            return
        except StorageError as error:
            self._failure = error
            self._changed.set()

    async def _reviewed(self) -> None:
        assert self.review is not None  # noqa: S101  # the job is made only then
        try:
            await self.review()
        except asyncio.CancelledError:
            return
        except StorageError as error:
            self._failure = error
            self._changed.set()

    def forget(self, asset: str) -> None:
        """Drop the state of an asset no longer followed, so that its past is not news if it returns."""
        for by_asset in (
            *(self._priced_at, self._priced_until, self._references),
            *(self._followed_at, self._quotes, self._doubts),
        ):
            by_asset.pop(asset, None)

    # -- a tick

    async def _collect(self, *, present: bool = True) -> list[MarketTick]:
        """Return the ticks since the last one: first bars that closed unwatched, then the live tick."""
        now = self._clock.now()
        reported = await self._take_reported()
        past: list[MarketTick] = []
        updates: dict[str, AssetUpdate] = {}
        for asset, board in tuple(self._boards.items()):
            front, backfill = self._release(asset, board, now)
            self._ask_again(asset, board)
            quorum = self._quorum(asset, board, now) if present else Quorum()
            samples = quorum.samples
            watched = present and len(front) == 1 and self._watched(asset, next(iter(front)))
            stepping = {m.key: bar.closed_at for at in sorted(front) for m, bar in front[at]}
            stepping |= {m.key: bar.closed_at for m, bar in backfill if m.key not in stepping}
            excluded, missing = self._left_out(asset, {sample.market.key for sample in samples}, stepping, now)
            if not watched:
                past += [self._past(asset, at, bars, now) for at, bars in sorted(front.items())]
            if quorum.path:
                self._priced_at[asset] = self._priced_until[asset] = quorum.received_at
            updates[asset] = AssetUpdate(
                path=quorum.path + (self._confirmed(asset, board, front, now) if watched else ()),
                bars=tuple(next(iter(front.values()))) if watched else (),
                samples=samples,
                disputed=quorum.disputed,
                excluded=excluded if present else frozenset(),
                missing=missing if present else {},
                reported=tuple(reported.get(asset, ())),
                listening=self._listening(asset),
                backfill=tuple(backfill),
            )
        past.sort(key=lambda delivered: delivered.now)  # oldest first across assets: late before live
        if not present:
            return past
        return [*past, MarketTick(now, updates, present=True)]

    def _past(self, asset: str, closed_at: int, bars: list[tuple[Market, Bar]], now: int) -> MarketTick:
        """Return the tick of bars that closed unwatched: silent up to the last known price, later ones late if old."""
        board = self._boards[asset]
        update = AssetUpdate(bars=tuple(bars), by_bars=True, excluded=board.maps.excluded, missing=board.missing)
        priced_until = self._priced_until.get(asset)
        silent = priced_until is None or closed_at <= priced_until
        return MarketTick(closed_at, {asset: update}, late=not silent and now - closed_at > LATE_MS, silent=silent)

    def _watched(self, asset: str, closed_at: int) -> bool:
        """Return whether a poll priced the asset within a bar, so that the next extremes cover the remainder."""
        return self._priced_at.get(asset, 0) >= closed_at - STEP_MS

    def _quorum(self, asset: str, board: AssetBoard, now: int) -> Quorum:
        """Combine the venues' fresh samples of an asset. Return the quorum."""
        fresh = {
            market_progress.sample.market.key: (worker, market_progress, market_progress.sample)
            for worker in self.workers
            for market in worker.venue.markets_of(asset)
            if (market_progress := worker.progress.get(market.key))
            and market_progress.sample
            and now - market_progress.sample.at <= self._stale_ms(worker)
        }
        quotes = self._quotes.get(asset)
        if quotes is None:
            longest = max((self._stale_ms(worker) for worker in self.workers), default=MINUTE_MS)
            quotes = self._quotes[asset] = Quotes(longest)
        samples = [sample for _, _, sample in fresh.values()]
        resumed = asset in self._priced_until
        quorum = quotes.take(samples, now, board.mark, board.vetting.spread, resumed=resumed)
        for key in quorum.doubts.keys() - self._doubts.get(asset, {}).keys():
            self.prices_refused += 1
            log.warning("%s of %s is left out: %s", venue_of(key), asset, quorum.doubts[key])
        for key, price in quorum.wicks.items():
            self.wicks += 1
            log.info("%s: %.6g was shown by %s alone", asset, price, venue_of(key))
        self._doubts[asset] = dict(quorum.doubts)
        self._refer(asset, quorum)
        return quorum

    def _ask_again(self, asset: str, board: AssetBoard) -> None:
        """Have a market reloaded if its contract count jumped: the contract size may have changed."""
        jumped = board.vetting.jumped
        if not jumped and not self._asked_again:
            return
        for worker in self.workers:
            for market in worker.venue.markets_of(asset):
                if market.key in jumped and market.key not in self._asked_again:
                    worker.reload_soon()
                    log.warning("%s of %s: open interest jumped alone and is not accepted yet", worker.id, asset)
        keys = {market.key for worker in self.workers for market in worker.venue.markets_of(asset)}
        self._asked_again = (self._asked_again - keys) | (jumped & keys)

    def _refer(self, asset: str, quorum: Quorum) -> None:
        """Choose the asset's reference markets: the largest at different venues, by open interest in USD."""
        price = quorum.path[-1] if quorum.path else self._boards[asset].mark
        largest: dict[str, tuple[float, str]] = {}
        for sample in quorum.samples:
            key, venue = sample.market.key, sample.market.venue
            usd = sample.market.usd(sample.contracts, price or sample.mark)
            usd *= REFERENCE_FACTOR if key in self._references.get(asset, ()) else 1.0
            largest[venue] = max(largest.get(venue, (0.0, "")), (usd, key))
        if largest:
            self._references[asset] = [key for _, key in sorted(largest.values(), reverse=True)[:REFERENCES]]

    def _confirmed(
        self, asset: str, board: AssetBoard, front: Mapping[int, list[tuple[Market, Bar]]], now: int
    ) -> tuple[float, ...]:
        """Return extremes that a tick's bars confirm and no poll has shown."""
        ((_, rows),) = front.items()
        path = board.vetting.path(rows)
        last = self._boards[asset].mark
        if not path or not last:
            return ()
        opened_at = min(bar.opened_at for _, bar in rows)
        return self._quotes[asset].confirm(min(path), max(path), opened_at, now, last)

    def _listening(self, asset: str) -> dict[str, int]:
        """Return since when each market's liquidation feed has been complete, UTC ms by market key."""
        followed_at = self._followed_at.setdefault(asset, self._clock.now())
        return {
            market.key: max(worker.forced.since, followed_at)
            for worker in self.workers
            if worker.forced.since
            for market in worker.venue.markets_of(asset)
        }

    def _left_out(
        self, asset: str, sampled: set[str], stepping: Mapping[str, int], now: int
    ) -> tuple[frozenset[str], dict[str, str]]:
        """Return the keys of markets left out of the sum, and the reasons that users see by venue.

        stepping: how far this tick's bars step the markets' maps, UTC ms by market key.
        """
        board = self._boards[asset]
        excluded, missing = set(board.maps.markets), {}
        for worker in self.workers:
            wrong: dict[str, str] = {}
            markets = worker.venue.markets_of(asset)
            for market in markets:
                stepped = max(board.maps.closed_at_of(market), stepping.get(market.key, 0))
                reason = self._why_out(worker, market, sampled, stepped, now)
                if reason:
                    wrong[market.key] = reason
                else:
                    excluded.discard(market.key)
            if not markets and not worker.opened:
                missing[worker.id] = worker.detail or "not read yet"
            elif markets and len(wrong) == len(markets):
                missing[worker.id] = next(iter(wrong.values()))
            else:
                kinds = {market.key: market.kind for market in markets}
                missing |= {f"{worker.id} {kinds[key]}": reason for key, reason in wrong.items()}
        return frozenset(excluded), missing

    def _why_out(self, worker: VenueWorker, market: Market, sampled: set[str], stepped: int, now: int) -> str:
        """Return why a market is left out of the sum, or an empty string if it is not."""
        entry = worker.progress.get(market.key)
        doubt = self._doubts.get(market.asset, {}).get(market.key)
        doubt = doubt or self._boards[market.asset].vetting.doubts.get(market.key)
        if worker.state == "refused":
            return worker.detail
        if entry is None or (not stepped and not entry.wrong):
            return worker.detail if worker.state == "failing" else "history is being read"
        if market.key not in sampled:
            return doubt or worker.venue.refused.get(market.key) or entry.wrong or worker.detail or "no fresh figures"
        if now - stepped > BARS_LATE_MS:
            return doubt or entry.wrong or "history is being read"
        return ""

    def _stale_ms(self, worker: VenueWorker) -> int:
        return worker.stale_after_ms(self._poll_seconds * 1000)

    def _release(
        self, asset: str, board: AssetBoard, now: int
    ) -> tuple[dict[int, list[tuple[Market, Bar]]], list[tuple[Market, Bar]]]:
        """Take the bars that need not wait any longer. Return new ones by closing time, and backfill.

        A bar waits until every healthy market has reached it, or for LAGGARD_MS. Backfill is a lagging market's bars
        from before the asset's last one.
        """
        candidates = [
            (market, progress, worker.state == "ok" and not progress.wrong and now - progress.closed_at <= BEHIND_MS)
            for worker in self.workers
            for market in worker.venue.markets_of(asset)
            if (progress := worker.progress.get(market.key))
        ]
        everybody = min((progress.closed_at for _, progress, well in candidates if well), default=0)
        limit = max(everybody, (now - LAGGARD_MS) // STEP_MS * STEP_MS)
        front: dict[int, list[tuple[Market, Bar]]] = {}
        backfill: list[tuple[Market, Bar]] = []
        room = BACKFILL_BARS
        for market, progress, _ in candidates:
            old = [bar for bar in progress.waiting if bar.closed_at <= board.closed_at]
            taken = old[: max(room, 0)]
            room -= len(taken)
            backfill += [(market, bar) for bar in taken]
            if len(taken) == len(old):
                # Only a market that has caught up gets new bars, because its map steps in order of time.
                new = [bar for bar in progress.waiting[len(old) :] if bar.closed_at <= limit]
                for bar in new:
                    front.setdefault(bar.closed_at, []).append((market, bar))
                taken = taken + new
            progress.waiting = progress.waiting[len(taken) :]
        if room <= 0:
            self._changed.set()
        return front, backfill

    async def _take_reported(self) -> dict[str, list[ReportedLiquidation]]:
        """Store reported liquidations. Return the new ones by asset."""
        events = [event for worker in self.workers for event in worker.take_orders()]
        by_asset: dict[str, list[ReportedLiquidation]] = {}
        for event in await self._store.add_liquidations(events) if events else ():
            row = ReportedLiquidation(event.at, event.side, event.notional_usd, event.market.key)
            by_asset.setdefault(event.market.asset, []).append(row)
        return by_asset
