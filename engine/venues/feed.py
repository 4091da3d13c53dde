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
FIRST_HISTORY_SECONDS = 600
CATCH_UP_ROUNDS = 5
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
        self._closed: dict[str, int] = {}
        self._priced_at: dict[str, int] = {}
        self._streams: list[asyncio.Task[None]] = []
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    # -- life cycle

    async def ticks(self) -> AsyncIterator[Delivered]:
        """History as silent ticks, what was missed as late ones, then the present, until cancelled."""
        last_tick = await self._store.last_tick()
        await self._read_history()
        for _ in range(CATCH_UP_ROUNDS):
            history = self._history_ticks(last_tick)
            for delivered in history:
                yield delivered
                await asyncio.sleep(0)
            # Making the map takes time in which new bars close, and the polls are as old as it took.
            await asyncio.gather(*(worker.poll() for worker in self.workers))
            if len(history) < 2:
                break
        self.in_history = False
        self._start_jobs()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._failure is not None:
                raise self._failure
            for delivered in await self._collect():
                yield delivered

    async def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        await asyncio.gather(*(worker.venue.close() for worker in self.workers), return_exceptions=True)

    async def _read_history(self) -> None:
        """Stored bars first, then what the venues have since; a venue that is down is not waited for."""
        await asyncio.gather(*(self._read_venue_history(worker) for worker in self.workers))

    async def _read_venue_history(self, worker: VenueWorker) -> None:
        if not await worker.open():
            return
        for market in worker.venue.markets:
            known = self._boards[market.asset].maps.get(market.key)
            stored = await self._store.bars_since(market, known.closed_at if known else 0)
            if known:
                worker.resume_from(market, known.closed_at)
            if stored:
                worker.resume_from(market, stored[-1].closed_at)
                worker.progress[market.key].waiting = list(stored)
        try:
            await asyncio.wait_for(worker.poll(), FIRST_HISTORY_SECONDS)
        except TimeoutError:
            log.warning("%s: reading its history takes long; going on without it", worker.id)

    def _history_ticks(self, last_tick: int | None) -> list[Delivered]:
        """All bars that wait, by the time they closed: silent up to the last tick that was stored, late after it."""
        ticks: dict[int, dict[str, AssetUpdate]] = {}
        for asset, bars in self._take_waiting().items():
            for closed_at, found in bars.items():
                path = _reference(found)[1].path
                ticks.setdefault(closed_at, {})[asset] = AssetUpdate(path, tuple(found))
            self._closed[asset] = max(bars, default=0)
        return [
            Delivered(at, ticks[at], late=last_tick is not None and at > last_tick, silent=at <= (last_tick or at))
            for at in sorted(ticks)
        ]

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

    async def _collect(self) -> list[Delivered]:
        """What the venues brought since the last tick: first bars that nobody was watching, then the present."""
        now = self._clock.now()
        reported = await self._take_reported()
        delivered: list[Delivered] = []
        present: dict[str, AssetUpdate] = {}
        for asset, board in self._boards.items():
            released = self._release(asset, now)
            watched_since = self._priced_at.get(asset, now)
            for closed_at in sorted(released)[:-1]:
                bars = released.pop(closed_at)
                unwatched = closed_at - STEP_MS > watched_since
                path = _reference(bars)[1].path if unwatched else ()
                delivered.append(Delivered(closed_at, {asset: AssetUpdate(path, tuple(bars))}, silent=not unwatched))
            samples = self._samples(asset, now)
            bars = next(iter(released.values()), [])
            update = AssetUpdate(
                path=self._path(asset, board, samples),
                bars=tuple(bars),
                samples=tuple(samples),
                missing=self._missing(asset, now),
                reported=tuple(event for event in reported.get(asset, ())),
            )
            present[asset] = update
        return [*delivered, Delivered(now, present)]

    def _path(self, asset: str, board: AssetBoard, samples: list[Sample]) -> tuple[float, ...]:
        """Prices of the reference market since its last poll, in the order they are taken to have come."""
        reference = max(samples, key=lambda s: (s.market.usd(s.contracts, s.mark), s.market.key), default=None)
        if reference is None or reference.received_at <= self._priced_at.get(asset, 0):
            return ()
        self._priced_at[asset] = reference.received_at
        before = board.mark
        if not before or reference.mark >= before:
            return reference.low, reference.high, reference.mark
        return reference.high, reference.low, reference.mark

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

    def _release(self, asset: str, now: int) -> dict[int, list[tuple[Market, Bar]]]:
        """Closed bars that need not wait any more: all fresh venues have them, or the slowest has had its time."""
        fresh = [
            worker.progress[market.key]
            for worker in self.workers
            if (market := worker.venue.market(asset)) and worker.state == "ok" and market.key in worker.progress
        ]
        everybody = min((known.closed_at for known in fresh), default=0)
        limit = max(everybody, (now - LAGGARD_MS - STEP_MS) // STEP_MS * STEP_MS)
        return self._take_waiting(limit).get(asset, {}) if fresh else {}

    def _take_waiting(self, limit: int | None = None) -> dict[str, dict[int, list[tuple[Market, Bar]]]]:
        """Waiting bars that closed up to a limit, by asset and time; they do not wait any more."""
        taken: dict[str, dict[int, list[tuple[Market, Bar]]]] = {}
        for worker in self.workers:
            for market in worker.venue.markets:
                known = worker.progress.get(market.key)
                if known is None:
                    continue
                for bar in known.waiting:
                    if limit is None or bar.closed_at <= limit:
                        taken.setdefault(market.asset, {}).setdefault(bar.closed_at, []).append((market, bar))
                known.waiting = [bar for bar in known.waiting if limit is not None and bar.closed_at > limit]
        return taken

    async def _take_reported(self) -> dict[str, list[tuple[int, Side, float]]]:
        """New liquidations by asset: time, side, USD."""
        events = [event for worker in self.workers for event in worker.take_reported()]
        found: dict[str, list[tuple[int, Side, float]]] = {}
        for event in await self._store.add_liquidations(events):
            found.setdefault(event.market.asset, []).append((event.at, event.side, event.notional_usd))
        return found


def _reference(bars: Sequence[tuple[Market, Bar]]) -> tuple[Market, Bar]:
    """The market whose prices stand for the asset's: the one with the most open interest."""

    def size(row: tuple[Market, Bar]) -> tuple[Any, ...]:
        market, bar = row
        return (market.usd(bar.contracts or 0.0, bar.close), market.key)

    return max(bars, key=size)
