"""The live market as a feed: polls of all venues, put together into ticks."""

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
"""Between two looks at whether a venue's markets are to be read again, which they are once a day."""

REVIEW_SECONDS = 24 * 3600
LATE_MS = STEP_MS + 2 * MINUTE_MS
"""A bar older than this when it comes is told as missed, not as news."""

BACKFILL_BARS = 500
"""Bars of a laggard taken in one tick, so that a month of them does not hold up the loop."""

LAGGARD_MS = 4 * MINUTE_MS
"""How long a closed bar waits for the slowest venue before the asset goes on without it."""

BARS_LATE_MS = 30 * MINUTE_MS
"""A market whose map has not been stepped for so long is left out: its levels are not those of now."""

MANY_COINS = 10
"""From so many coins on, order books are read of the leading markets only."""

REFERENCES = 2
"""Markets of an asset whose minutes are read whatever that costs, of different venues: one alone bears nothing out."""

REFERENCE_FACTOR = 1.2
"""Another market takes a reference's place only when it is so much larger."""


class LiveFeed:
    """Venues polled by scheduled jobs, each in its own time; a tick whenever one of them has brought something.

    Attributes:
        review: chooses once a day which assets are followed; None where they are named.
        late_runs, skipped_runs: polls that began late, or not at all because the one before was still running.
        prices_refused: figures left out because the other venues do not bear them out.
        wicks: extremes that one venue alone showed.
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
            worker.leads = self.leads

    # -- life cycle

    async def ticks(self) -> AsyncIterator[MarketTick]:
        """History as silent ticks, what was missed as late ones, then the present, until cancelled."""
        self._priced_until = await self._store.priced_until()
        await self._all((self._read(worker) for worker in self.workers), FIRST_HISTORY_SECONDS)
        for delivered in await self._collect(present=False):
            yield delivered
            await asyncio.sleep(0)
        self.in_history = False
        # Making the map took time: the samples are as old as it took.
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
        """Markets that are not believed now, with why."""
        found = {key: why for doubts in self._doubts.values() for key, why in doubts.items()}
        for board in self._boards.values():
            found |= board.vetting.doubts
        return found

    def leads(self, market: Market) -> bool:
        """Whether a market's extremes are needed to bear out its asset's."""
        return market.key in self._references.get(market.asset, ())

    async def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.remove_all_jobs()
            await asyncio.sleep(0)  # a job that was just handed out begins, and can then be cancelled without noise
            self._scheduler.shutdown(wait=False)
        background: list[asyncio.Task[None]] = [*self._streams, *self._slow, *self._histories.values()]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await asyncio.gather(*(worker.venue.close() for worker in self.workers), return_exceptions=True)

    async def _all(self, works: Iterable[Coroutine[Any, Any, None]], seconds: float) -> None:
        """Let every venue do something; one that takes long goes on in its own time and is not waited for."""
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
        """Bring jobs back that the machine's clock has carried off: the scheduler goes by it, and it may be set."""
        while True:
            await asyncio.sleep(KEEP_TIME_SECONDS)
            self.bring_back_jobs(datetime.now(UTC))

    def bring_back_jobs(self, now: datetime) -> None:
        """Run at once whatever is due later than its own interval allows."""
        for job in self._scheduler.get_jobs():
            longest = job.trigger.interval * (1 + 2 * JITTER_SHARE) + timedelta(seconds=KEEP_TIME_SECONDS)
            if job.next_run_time is not None and job.next_run_time - now > longest:
                log.warning("the machine's clock was set: %s goes on now", job.id)
                job.modify(next_run_time=now)

    def clock_set_back(self, now: int) -> None:
        """Forget what is known of times that have not come yet."""
        for known in (self._priced_at, self._priced_until, self._followed_at):
            for asset, at in known.items():
                known[asset] = min(at, now)
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
        """All of a venue's history, then what has closed since."""
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
        """Of few coins all books, of many only those of the leading markets."""
        return self.leads(market) or len(self._boards) <= MANY_COINS

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
        """An asset is followed no more: should it come back, its past is no news."""
        for known in (
            *(self._priced_at, self._priced_until, self._references),
            *(self._followed_at, self._quotes, self._doubts),
        ):
            known.pop(asset, None)

    # -- a tick

    async def _collect(self, *, present: bool = True) -> list[MarketTick]:
        """What the venues brought since the last tick: first bars that nobody watched close, then the present."""
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
            left_out, missing = self._left_out(asset, {sample.market.key for sample in samples}, stepping, now)
            if not watched:
                past += [self._past(asset, at, bars, now) for at, bars in sorted(front.items())]
            if quorum.path:
                self._priced_at[asset] = self._priced_until[asset] = quorum.received_at
            updates[asset] = AssetUpdate(
                path=quorum.path + (self._confirmed(asset, board, front, now) if watched else ()),
                bars=tuple(next(iter(front.values()))) if watched else (),
                samples=samples,
                disputed=quorum.disputed,
                left_out=left_out if present else frozenset(),
                missing=missing if present else {},
                reported=tuple(reported.get(asset, ())),
                listening=self._listening(asset),
                backfill=tuple(backfill),
            )
        past.sort(key=lambda delivered: delivered.now)  # of all assets the oldest first: late before news
        if not present:
            return past
        return [*past, MarketTick(now, updates, present=True)]

    def _past(self, asset: str, closed_at: int, bars: list[tuple[Market, Bar]], now: int) -> MarketTick:
        """A bar that closed unwatched: silent up to the last tick there was, late after it if it is old."""
        board = self._boards[asset]
        update = AssetUpdate(bars=tuple(bars), by_bars=True, left_out=board.left_out, missing=board.missing)
        priced_until = self._priced_until.get(asset)
        silent = priced_until is None or closed_at <= priced_until
        return MarketTick(closed_at, {asset: update}, late=not silent and now - closed_at > LATE_MS, silent=silent)

    def _watched(self, asset: str, closed_at: int) -> bool:
        """Whether polls saw the price within a bar, so that the next one's extremes cover what was left of it."""
        return self._priced_at.get(asset, 0) >= closed_at - STEP_MS

    def _quorum(self, asset: str, board: AssetBoard, now: int) -> Quorum:
        """What the venues' fresh figures of an asset come to."""
        fresh = {
            known.sample.market.key: (worker, known, known.sample)
            for worker in self.workers
            for market in worker.venue.markets_of(asset)
            if (known := worker.progress.get(market.key))
            and known.sample
            and now - known.sample.at <= self._stale_ms(worker)
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
        """Have the listing of a market read anew whose count of contracts jumped: they may be of another size now."""
        jumped = board.vetting.jumped
        if not jumped and not self._asked_again:
            return
        for worker in self.workers:
            for market in worker.venue.markets_of(asset):
                if market.key in jumped and market.key not in self._asked_again:
                    worker.reload_soon()
                    log.warning("%s of %s: its open interest jumped alone and is not believed yet", worker.id, asset)
        keys = {market.key for worker in self.workers for market in worker.venue.markets_of(asset)}
        self._asked_again = (self._asked_again - keys) | (jumped & keys)

    def _refer(self, asset: str, quorum: Quorum) -> None:
        """Choose the asset's reference markets: the largest of different venues, at the price all agree on."""
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
        """Extremes that the bars of a tick bear out and no look has shown."""
        ((_, rows),) = front.items()
        path = board.vetting.path(rows)
        last = self._boards[asset].mark
        if not path or not last:
            return ()
        opened_at = min(bar.opened_at for _, bar in rows)
        return self._quotes[asset].confirm(min(path), max(path), opened_at, now, last)

    def _listening(self, asset: str) -> dict[str, int]:
        """Since when each market's forced orders are heard without a break."""
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
        """Markets that are not in the sum, and what people read of it: venues with the reason.

        stepping: until when markets' maps will have been stepped by the bars of this tick.
        """
        board = self._boards[asset]
        left_out, missing = set(board.maps), {}
        for worker in self.workers:
            wrong: dict[str, str] = {}
            markets = worker.venue.markets_of(asset)
            for market in markets:
                stepped = max(board.map_closed_at(market), stepping.get(market.key, 0))
                reason = self._why_out(worker, market, sampled, stepped, now)
                if reason:
                    wrong[market.key] = reason
                else:
                    left_out.discard(market.key)
            if not markets and not worker.opened:
                missing[worker.id] = worker.detail or "not read yet"
            elif markets and len(wrong) == len(markets):
                missing[worker.id] = next(iter(wrong.values()))
            else:
                kinds = {market.key: market.kind for market in markets}
                missing |= {f"{worker.id} {kinds[key]}": reason for key, reason in wrong.items()}
        return frozenset(left_out), missing

    def _why_out(self, worker: VenueWorker, market: Market, sampled: set[str], stepped: int, now: int) -> str:
        """Why a market is not in the sum, empty if it is."""
        known = worker.progress.get(market.key)
        doubt = self._doubts.get(market.asset, {}).get(market.key)
        doubt = doubt or self._boards[market.asset].vetting.doubts.get(market.key)
        if worker.state == "refused":
            return worker.detail
        if known is None or (not stepped and not known.wrong):
            return worker.detail if worker.state == "failing" else "history is being read"
        if market.key not in sampled:
            return doubt or worker.venue.refused.get(market.key) or known.wrong or worker.detail or "no fresh figures"
        if now - stepped > BARS_LATE_MS:
            return doubt or known.wrong or "history is being read"
        return ""

    def _stale_ms(self, worker: VenueWorker) -> int:
        return worker.stale_after_ms(self._poll_seconds * 1000)

    def _release(
        self, asset: str, board: AssetBoard, now: int
    ) -> tuple[dict[int, list[tuple[Market, Bar]]], list[tuple[Market, Bar]]]:
        """Closed bars that need not wait any more, by time; and bars of a laggard from before the asset's last one.

        A bar waits until all venues that are well have it, or the slowest has had its time.
        """
        known = [
            (market, progress, worker.state == "ok" and not progress.wrong and now - progress.closed_at <= BEHIND_MS)
            for worker in self.workers
            for market in worker.venue.markets_of(asset)
            if (progress := worker.progress.get(market.key))
        ]
        everybody = min((progress.closed_at for _, progress, well in known if well), default=0)
        limit = max(everybody, (now - LAGGARD_MS) // STEP_MS * STEP_MS)
        front: dict[int, list[tuple[Market, Bar]]] = {}
        backfill: list[tuple[Market, Bar]] = []
        room = BACKFILL_BARS
        for market, progress, _ in known:
            old = [bar for bar in progress.waiting if bar.closed_at <= board.closed_at]
            taken = old[: max(room, 0)]
            room -= len(taken)
            backfill += [(market, bar) for bar in taken]
            if len(taken) == len(old):
                # Only a market that has caught up may take part in what is new: its map steps in order of time.
                new = [bar for bar in progress.waiting[len(old) :] if bar.closed_at <= limit]
                for bar in new:
                    front.setdefault(bar.closed_at, []).append((market, bar))
                taken = taken + new
            progress.waiting = progress.waiting[len(taken) :]
        if room <= 0:
            self._changed.set()
        return front, backfill

    async def _take_reported(self) -> dict[str, list[ReportedLiquidation]]:
        """New liquidations by asset."""
        events = [event for worker in self.workers for event in worker.take_orders()]
        found: dict[str, list[ReportedLiquidation]] = {}
        for event in await self._store.add_liquidations(events):
            row = ReportedLiquidation(event.at, event.side, event.notional_usd, event.market.key)
            found.setdefault(event.market.asset, []).append(row)
        return found
