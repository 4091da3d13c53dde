"""What runs beside the market and the chats: checkpoints, calibration and track record, the clock, a sign of life."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from engine.calibration.coefficients import calibrate_from
from engine.calibration.track_record import track_record
from engine.clock import MACHINE
from engine.errors import OffloadError, StorageError
from engine.history import iso
from engine.offload import offload
from engine.pipeline import AlertPipeline
from engine.ports import Feed, MarketStore
from handlers.commands.status import signs_of
from handlers.context import Services
from handlers.health import HEARTBEAT, HEARTBEAT_SECONDS, heartbeat

log = logging.getLogger(__name__)

CHECKPOINT_MS = 3_600_000
ALL_SNAPSHOTS = 10_000
KEEP_TIME_SECONDS = 5.0


@dataclass(slots=True)
class Jobs:
    """The program's own chores, each a coroutine that runs until cancelled.

    Attributes:
        ticking: held while a tick is decided and stored, so that nothing is changed in the middle of one.
    """

    services: Services
    feed: Feed
    market_store: MarketStore
    ticking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keep_checkpoints(self) -> None:
        """Store the map every hour of the market's time, and how it has done once a day."""
        pipeline, clock = self.services.pipeline, self.services.clock
        saved_at, day = clock.now(), ""
        while True:
            await asyncio.sleep(min(CHECKPOINT_MS / 1000 / clock.speed, 60) / 4)
            saved_at = min(saved_at, clock.now())  # the clock may have been set back
            due = clock.now() - saved_at >= CHECKPOINT_MS
            if due and self.services.ready.is_set() and not pipeline.downtime.pending:
                await save_checkpoint(pipeline, self.market_store)
                saved_at = clock.now()
                if iso(saved_at)[:10] != day:
                    day = iso(saved_at)[:10]
                    await self._calibrate(day)

    async def _calibrate(self, day: str) -> None:
        """Once a day, store how each map has done and fit F to what was reported; both in a process of their own."""
        for asset, board in tuple(self.services.pipeline.boards.items()):
            if board.ready:
                hours, snapshots = board.hours.hours(), board.usual.past(ALL_SNAPSHOTS)
                try:
                    async with self.services.recording:
                        record = await offload(track_record, asset, hours)
                    board.calibrate(await offload(calibrate_from, hours, snapshots))
                except OffloadError:
                    log.warning("the track record of %s could not be made", asset)  # the alerts go on without it
                    continue
                self.services.records[asset] = record
                await self.services.store.save_track_record(asset, day, record.figures)

    async def keep_time(self) -> None:
        """When the machine's clock was ahead and has been put right, let nothing wait for times that are past."""
        taken_over = MACHINE.taken_over
        while True:
            await asyncio.sleep(KEEP_TIME_SECONDS)
            MACHINE.now()  # it is followed only while somebody asks
            if MACHINE.taken_over != taken_over:
                taken_over = MACHINE.taken_over
                await self.clock_was_set(MACHINE.moved_ms)

    async def clock_was_set(self, moved_ms: int) -> None:
        """Take in that the machine's clock was set, by so much."""
        log.warning("the machine's clock was set by %+.0f s; times go by the new one", moved_ms / 1000)
        if moved_ms >= 0:
            return
        async with self.ticking:
            now = self.services.clock.now()
            self.services.pipeline.clock_set_back(now)
            self.feed.clock_set_back(now)
            await self.services.store.clock_set_back(-moved_ms)
        self.services.wake()

    async def leave_heartbeats(self) -> None:
        """Leave word of how the program is, and see that the database is still the one that was opened.

        Raises:
            StorageError: when it is not: what was open is then written beside it.
        """
        services = self.services
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if lost := services.store.lost:
                rescued = await services.store.rescue(f"{services.wall.now() // 1000}")
                raise StorageError(f"{lost}; what was open is in {rescued.name if rescued else 'no file'}")
            await services.store.set_meta(HEARTBEAT, heartbeat(services.wall.now(), await signs_of(services)))


async def save_checkpoint(pipeline: AlertPipeline, store: MarketStore) -> None:
    """Store the boards as they stand."""
    boards = {asset: (board.closed_at, board.snapshot()) for asset, board in pipeline.boards.items() if board.ready}
    if boards:
        await store.save_checkpoints(boards)
