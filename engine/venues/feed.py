"""The live market as a feed: polls of all venues, put together into ticks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from engine.board import AssetBoard, AssetUpdate
from engine.errors import StorageError
from engine.market import MINUTE_MS, Bar, Market, Sample, Side
from engine.ports import Clock, Delivered, MarketStore
from engine.venues.venue import STEP_MS
from engine.venues.worker import VenueWorker

log = logging.getLogger(__name__)

JITTER_SHARE = 0.1
FIRST_HISTORY_SECONDS = 180
FIRST_POLL_SECONDS = 10
LATE_MS = STEP_MS + MINUTE_MS
"""A bar older than this when it comes is told as missed, not as news."""

BACKFILL_BARS = 500
"""Bars of a laggard taken in one tick, so that a month of them does not hold up the loop."""

LAGGARD_MS = 2 * MINUTE_MS
"""How long a closed bar waits for the slowest venue before the asset goes on without it."""


class LiveFeed:
    """Venues polled by scheduled jobs, each in its own time; a tick whenever one of them has brought something.

    Attributes:
        late_runs, skipped_runs: polls that began late, or not at all because the one before was still running.
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
        self.in_history = True
        self._boards, self._store, self._clock = boards, store, clock
        self._poll_seconds = poll_seconds
        self._changed = asyncio.Event()
        self._failure: StorageError | None = None
        self._priced_until: dict[str, int] = {}
        self._slow: set[asyncio.Task[bool]] = set()
        self._priced_at: dict[str, int] = {}
        self._streams: list[asyncio.Task[None]] = []
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    # -- life cycle

    async def ticks(self) -> AsyncIterator[Delivered]:
        """History as silent ticks, what was missed as late ones, then the present, until cancelled."""
        self._priced_until = await self._store.priced_until()
        await self._poll_all(FIRST_HISTORY_SECONDS)
        for delivered in await self._collect(present=False):
            yield delivered
            await asyncio.sleep(0)
        self.in_history = False
        # Making the map took time: the samples are as old as it took.
        await self._poll_all(FIRST_POLL_SECONDS)
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

    async def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.remove_all_jobs()
            await asyncio.sleep(0)  # a job that was just handed out begins, and can then be cancelled without noise
            self._scheduler.shutdown(wait=False)
        background = [*self._streams, *self._slow]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await asyncio.gather(*(worker.venue.close() for worker in self.workers), return_exceptions=True)

    async def _poll_all(self, seconds: float) -> None:
        """Poll every venue once; one that takes long goes on in its own time and is not waited for."""
        polls = {asyncio.create_task(worker.poll(), name=f"poll {worker.id}") for worker in self.workers}
        self._slow |= polls
        done, late = await asyncio.wait(polls, timeout=seconds)
        self._slow -= done
        for poll in done:
            poll.result()
        for poll in late:
            poll.add_done_callback(self._slow_ended)

    def _slow_ended(self, poll: asyncio.Task[bool]) -> None:
        error = None if poll.cancelled() else poll.exception()
        if isinstance(error, StorageError):
            self._failure = error
        self._changed.set()

    def _start_jobs(self) -> None:
        seconds = self._poll_seconds / self._clock.speed
        self._scheduler.add_listener(self._count_missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        for worker in self.workers:
            self._scheduler.add_job(
                self._poll,
                "interval",
                args=[worker],
                seconds=seconds,
                jitter=seconds * JITTER_SHARE,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=max(round(seconds), 1),
                id=worker.id,
            )
            self._streams.append(asyncio.create_task(worker.stream(), name=f"stream {worker.id}"))
        self._scheduler.start()

    def _count_missed(self, event: JobExecutionEvent) -> None:
        if event.code == EVENT_JOB_MISSED:
            self.late_runs += 1
        else:
            self.skipped_runs += 1

    async def _poll(self, worker: VenueWorker) -> None:
        try:
            await worker.poll()
        except asyncio.CancelledError:
            return  # the scheduler is being shut down, and would log this as a failure
        except StorageError as error:
            self._failure = error
        self._changed.set()

    # -- a tick

    async def _collect(self, *, present: bool = True) -> list[Delivered]:
        """What the venues brought since the last tick: first bars that nobody watched close, then the present."""
        now = self._clock.now()
        reported = await self._take_reported()
        past: list[Delivered] = []
        updates: dict[str, AssetUpdate] = {}
        for asset, board in self._boards.items():
            front, backfill = self._release(asset, board, now)
            samples = self._samples(asset, now) if present else []
            reference = _reference_sample(samples)
            watched = present and len(front) == 1 and self._watched(asset, next(iter(front)))
            if not watched:
                past += [self._past(asset, at, bars, now) for at, bars in sorted(front.items())]
            updates[asset] = AssetUpdate(
                path=self._path(asset, board, reference),
                bars=tuple(next(iter(front.values()))) if watched else (),
                samples=tuple(samples),
                missing=self._missing(asset, now),
                reported=tuple(reported.get(asset, ())),
                backfill=tuple(backfill),
            )
        past.sort(key=lambda delivered: delivered.now)  # of all assets the oldest first: late before news
        if not present:
            return past
        return [*past, Delivered(now, updates)]

    def _past(self, asset: str, closed_at: int, bars: list[tuple[Market, Bar]], now: int) -> Delivered:
        """A bar that closed unwatched: silent up to the last tick there was, late after it if it is old."""
        update = AssetUpdate(_reference(bars)[1].path, tuple(bars), missing=self._missing(asset, now))
        priced_until = self._priced_until.get(asset)
        silent = priced_until is None or closed_at <= priced_until
        return Delivered(closed_at, {asset: update}, late=not silent and now - closed_at > LATE_MS, silent=silent)

    def _watched(self, asset: str, closed_at: int) -> bool:
        """Whether polls saw the price within a bar, so that the next one's extremes cover what was left of it."""
        return self._priced_at.get(asset, 0) >= closed_at - STEP_MS

    def _path(self, asset: str, board: AssetBoard, reference: Sample | None) -> tuple[float, ...]:
        """Prices of the reference market since the last tick, in the order they are taken to have come."""
        priced_at = self._priced_at.get(asset, 0)
        if reference is None or reference.received_at <= priced_at:
            return ()
        # Another market than last time may have been polled later than the asset was priced: its bar covers that.
        # After a start the bar covers what came between the last tick of the run before and the first poll.
        seen = reference.watched_from <= priced_at if priced_at else asset not in self._priced_until
        low, high = (reference.low, reference.high) if seen else (reference.bar_low, reference.bar_high)
        self._priced_at[asset] = self._priced_until[asset] = reference.received_at
        if not board.mark or reference.mark >= board.mark:
            return low, high, reference.mark
        return high, low, reference.mark

    def _samples(self, asset: str, now: int) -> list[Sample]:
        found = []
        for worker in self.workers:
            market = worker.venue.market(asset)
            known = worker.progress.get(market.key) if market else None
            if known and known.sample and now - known.sample.at <= self._stale_ms(worker):
                found.append(known.sample)
        return found

    def _missing(self, asset: str, now: int) -> dict[str, str]:
        """Venues that are not in the sum, with the reason people read."""
        missing = {}
        for worker in self.workers:
            market = worker.venue.market(asset)
            age = worker.age_ms(market, now) if market else None
            if worker.state == "refused":
                missing[worker.id] = worker.detail
            elif market is None:
                missing[worker.id] = worker.detail or ("not listed" if worker.state == "ok" else "not read yet")
            elif age is None or market.key not in self._boards[asset].maps:
                missing[worker.id] = worker.detail or "history is being read"
            elif age > self._stale_ms(worker):
                missing[worker.id] = worker.detail or "no fresh figures"
        return missing

    def _stale_ms(self, worker: VenueWorker) -> int:
        return worker.stale_after_ms(self._poll_seconds * 1000)

    def _release(
        self, asset: str, board: AssetBoard, now: int
    ) -> tuple[dict[int, list[tuple[Market, Bar]]], list[tuple[Market, Bar]]]:
        """Closed bars that need not wait any more, by time; and bars of a laggard from before the asset's last one.

        A bar waits until all venues that are well have it, or the slowest has had its time.
        """
        known = [
            (market, worker.progress[market.key], worker.state == "ok")
            for worker in self.workers
            if (market := worker.venue.market(asset)) and market.key in worker.progress
        ]
        everybody = min((progress.closed_at for _, progress, well in known if well), default=0)
        limit = max(everybody, (now - LAGGARD_MS - STEP_MS) // STEP_MS * STEP_MS)
        front: dict[int, list[tuple[Market, Bar]]] = {}
        backfill: list[tuple[Market, Bar]] = []
        for market, progress, _ in known:
            for bar in progress.waiting:
                if bar.closed_at <= board.closed_at:
                    backfill.append((market, bar))
                elif bar.closed_at <= limit:
                    front.setdefault(bar.closed_at, []).append((market, bar))
        backfill = backfill[:BACKFILL_BARS]
        taken = {id(bar) for _, bar in backfill} | {id(bar) for bars in front.values() for _, bar in bars}
        for _, progress, _ in known:
            progress.waiting = [bar for bar in progress.waiting if id(bar) not in taken]
        if len(backfill) == BACKFILL_BARS:
            self._changed.set()
        return front, backfill

    async def _take_reported(self) -> dict[str, list[tuple[int, Side, float]]]:
        """New liquidations by asset: time, side, USD."""
        events = [event for worker in self.workers for event in worker.take_reported()]
        found: dict[str, list[tuple[int, Side, float]]] = {}
        for event in await self._store.add_liquidations(events):
            found.setdefault(event.market.asset, []).append((event.at, event.side, event.notional_usd))
        return found


def _reference_sample(samples: Sequence[Sample]) -> Sample | None:
    """The poll of the market with the most open interest."""
    return max(samples, key=lambda s: (s.market.usd(s.contracts, s.mark), s.market.key), default=None)


def _reference(bars: Sequence[tuple[Market, Bar]]) -> tuple[Market, Bar]:
    """The market whose prices stand for the asset's: the one with the most open interest."""

    def size(row: tuple[Market, Bar]) -> tuple[Any, ...]:
        market, bar = row
        return (market.usd(bar.contracts or 0.0, bar.close), market.key)

    return max(bars, key=size)
