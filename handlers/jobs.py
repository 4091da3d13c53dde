"""Background jobs: checkpoints, calibration and track record, clock corrections, heartbeats."""

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
from engine.ports import CheckpointStore, Feed
from handlers.commands.status import signs_of
from handlers.context import Services
from handlers.health import HEARTBEAT, HEARTBEAT_SECONDS, heartbeat

log = logging.getLogger(__name__)

CHECKPOINT_MS = 3_600_000
ALL_SNAPSHOTS = 10_000
KEEP_TIME_SECONDS = 5.0


@dataclass(slots=True)
class Jobs:
    """Background jobs, each a coroutine that runs until cancelled.

    Attributes:
        ticking: lock held while a tick is processed and stored, so that nothing changes halfway.
    """

    services: Services
    feed: Feed
    ticking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keep_checkpoints(self) -> None:
        """Store a checkpoint every hour of market time, and calibrate once a day."""
        pipeline, clock = self.services.pipeline, self.services.clock
        saved_at, day = clock.now(), ""
        while True:
            await asyncio.sleep(min(CHECKPOINT_MS / 1000 / clock.speed, 60) / 4)
            saved_at = min(saved_at, clock.now())  # the clock may have been set back
            due = clock.now() - saved_at >= CHECKPOINT_MS
            if due and self.services.ready.is_set() and not pipeline.downtime.pending:
                await save_checkpoint(pipeline, self.services.store.checkpoints)
                saved_at = clock.now()
                if iso(saved_at)[:10] != day:
                    day = iso(saved_at)[:10]
                    await self._calibrate(day)

    async def _calibrate(self, day: str) -> None:
        """Store each asset's track record and refit F to the reports, both computed in a separate process."""
        for asset, board in tuple(self.services.pipeline.boards.items()):
            if board.ready:
                hours, snapshots = board.hours.hours(), board.usual.past(ALL_SNAPSHOTS)
                try:
                    async with self.services.recording:
                        record = await offload(track_record, asset, hours)
                    board.calibrate(await offload(calibrate_from, hours, snapshots))
                except OffloadError:
                    log.warning("track record or calibration of %s failed", asset)  # alerts do not need it
                    continue
                self.services.records[asset] = record
                await self.services.store.track_records.save(asset, day, record.figures)

    async def keep_time(self) -> None:
        """Watch the machine's clock. When it is corrected, adjust stored times so that nothing waits too long."""
        taken_over = MACHINE.taken_over
        while True:
            await asyncio.sleep(KEEP_TIME_SECONDS)
            MACHINE.now()  # it detects changes only when it is read
            if MACHINE.taken_over != taken_over:
                taken_over = MACHINE.taken_over
                await self.clock_was_set(MACHINE.moved_ms)

    async def clock_was_set(self, moved_ms: int) -> None:
        """Log that the machine's clock was set by moved_ms. If it was set back, adjust stored times."""
        log.warning("the machine's clock was changed by %+.0f s; using the new time", moved_ms / 1000)
        if moved_ms >= 0:
            return
        async with self.ticking:
            now = self.services.clock.now()
            self.services.pipeline.clock_set_back(now)
            self.feed.clock_set_back(now)
            await self.services.store.outbox.clock_set_back(-moved_ms)
        self.services.wake()

    async def leave_heartbeats(self) -> None:
        """Store heartbeats, and check that the database file is still the one we opened.

        Raises:
            StorageError: when it is not; the open database is then saved beside it.
        """
        services = self.services
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if lost := services.store.lost:
                rescued = await services.store.rescue(f"{services.wall.now() // 1000}")
                raise StorageError(f"{lost}; the open database was saved to {rescued.name if rescued else 'no file'}")
            await services.store.meta.set(HEARTBEAT, heartbeat(services.wall.now(), await signs_of(services)))


async def save_checkpoint(pipeline: AlertPipeline, checkpoints: CheckpointStore) -> None:
    """Store a checkpoint of all boards that have a map."""
    boards = {asset: (board.closed_at, board.snapshot()) for asset, board in pipeline.boards.items() if board.ready}
    if boards:
        await checkpoints.save(boards)
