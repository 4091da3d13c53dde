"""What runs: feed, watch, faces and dispatchers as tasks of one loop, none of which dies unseen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from engine.announce import final_count
from engine.calibration.coefficients import calibrate_from
from engine.calibration.track_record import track_record
from engine.clock import MACHINE
from engine.errors import OffloadError, StorageError, TokenRefusedError
from engine.history import iso
from engine.messages import Message
from engine.offload import offload
from engine.ports import Clock, Feed, MarketStore
from engine.watch import Watch
from handlers.answers import Answer
from handlers.commands.status import signs_of
from handlers.context import Services
from handlers.delivery.dispatcher import Dispatcher
from handlers.health import HEARTBEAT, HEARTBEAT_SECONDS, heartbeat
from handlers.language import language_of, speaking
from handlers.messages import alert_answer

log = logging.getLogger(__name__)

CHECKPOINT_MS = 3_600_000
ALL_SNAPSHOTS = 10_000
RESTART_SECONDS = (1.0, 60.0)
KEEP_TIME_SECONDS = 5.0
DRAIN_SECONDS = 10.0
END_SECONDS = 10.0


@dataclass(slots=True)
class Runtime:
    """Runs until told to stop, or until something essential fails.

    Attributes:
        faces: tasks by name that are restarted when they fail and may end by themselves.
        leader: the face whose end is the end of the whole, such as the terminal of a demo.
    """

    services: Services
    feed: Feed
    market_store: MarketStore
    dispatchers: list[Dispatcher]
    faces: Mapping[str, Callable[[], Awaitable[None]]]
    leader: str | None = None
    _ticking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, stop: asyncio.Event) -> int:
        """Run; the exit status: 0 when told to stop or the leader ended, 1 when something essential failed.

        Raises:
            TokenRefusedError: when a platform refuses its token at the very first connect.
        """
        watch = self.services.watch
        essential = [
            asyncio.create_task(self._watch(), name="watch"),
            *(asyncio.create_task(d.run(), name=f"dispatcher {d.platform}") for d in self.dispatchers),
            asyncio.create_task(self._checkpoints(), name="checkpoints"),
            asyncio.create_task(self._keep_time(), name="keep time"),
            asyncio.create_task(self._heartbeat(), name="heartbeat"),
        ]
        faces = {name: asyncio.create_task(self._face(name, run), name=name) for name, run in self.faces.items()}
        stopped = asyncio.create_task(stop.wait(), name="stop")
        ends: list[asyncio.Task[object]] = [*essential, stopped]
        if self.leader is not None:
            ends.append(faces[self.leader])
        refused: list[TokenRefusedError] = []
        try:
            failed: list[asyncio.Task[object]] = []
            while not failed and not refused:
                waiting = {*ends, *(task for task in faces.values() if not task.done())}
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                failed = [task for task in done if task in essential]
                refused = [error for task in done if isinstance(error := _error_of(task), TokenRefusedError)]
                if done & set(ends):
                    break
            for task in failed:
                error = None if task.cancelled() else task.exception()
                log.error("%s ended: %s", task.get_name(), error or "without a reason", exc_info=error)
            if not failed and not refused and not stop.is_set():
                await self._drain()
            await self._end(essential, list(faces.values()))
        finally:
            for task in (*essential, *faces.values(), stopped):
                task.cancel()
            await asyncio.gather(*essential, *faces.values(), stopped, return_exceptions=True)
        if refused:
            raise refused[0]
        if not failed and watch.storable:
            await save_checkpoint(watch, self.market_store)
        return 1 if failed else 0

    async def _end(self, essential: list[asyncio.Task[None]], faces: list[asyncio.Task[None]]) -> None:
        """In an order in which nothing is cut in two: the tick, then what is being sent, then the faces."""
        async with self._ticking:
            for task in essential:
                if task.get_name() in ("watch", "checkpoints", "keep time", "heartbeat"):
                    task.cancel()
        for dispatcher in self.dispatchers:
            dispatcher.stop()
        sending = [task for task in essential if task.get_name().startswith("dispatcher")]
        if sending:
            await asyncio.wait(sending, timeout=END_SECONDS)
        for task in faces:
            task.cancel()

    async def _watch(self) -> None:
        services = self.services
        async for delivered in self.feed.ticks():
            async with self._ticking:
                record = await services.watch.tick(delivered)
            services.ticked_at = time.monotonic()
            if record.alerts:
                services.wake()
            if not services.ready.is_set() and not delivered.silent and not delivered.late:
                services.ready.set()

    async def _keep_time(self) -> None:
        """When the machine's clock was ahead and has been put right, let nothing wait for times that are past."""
        taken_over = MACHINE.taken_over
        while True:
            await asyncio.sleep(KEEP_TIME_SECONDS)
            MACHINE.now()  # it is followed only while somebody asks
            if MACHINE.taken_over != taken_over:
                taken_over = MACHINE.taken_over
                await self.clock_was_set(MACHINE.moved_ms)

    async def _heartbeat(self) -> None:
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

    async def clock_was_set(self, moved_ms: int) -> None:
        """Take in that the machine's clock was set, by so much."""
        log.warning("the machine's clock was set by %+.0f s; times go by the new one", moved_ms / 1000)
        if moved_ms >= 0:
            return
        async with self._ticking:
            now = self.services.clock.now()
            self.services.watch.clock_set_back(now)
            self.feed.clock_set_back(now)
            await self.services.store.clock_set_back(-moved_ms)
        self.services.wake()

    async def _face(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a face; one that fails is started again, ever more slowly."""
        wait = RESTART_SECONDS[0]
        while True:
            try:
                await run()
            except TokenRefusedError:
                raise
            except Exception:
                log.exception("%s failed; next try in %.0f s", name, wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RESTART_SECONDS[1])
            else:
                return

    async def _checkpoints(self) -> None:
        """Store the map every hour of the market's time, and how it has done once a day."""
        watch, clock = self.services.watch, self.services.clock
        saved_at, day = clock.now(), ""
        while True:
            await asyncio.sleep(min(CHECKPOINT_MS / 1000 / clock.speed, 60) / 4)
            saved_at = min(saved_at, clock.now())  # the clock may have been set back
            due = clock.now() - saved_at >= CHECKPOINT_MS
            if due and self.services.ready.is_set() and watch.storable:
                await save_checkpoint(watch, self.market_store)
                saved_at = clock.now()
                if iso(saved_at)[:10] != day:
                    day = iso(saved_at)[:10]
                    await self._track(day)

    async def _track(self, day: str) -> None:
        """Once a day, store how each map has done and fit F to what was reported; both in a process of their own."""
        for asset, board in tuple(self.services.watch.boards.items()):
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

    async def _drain(self) -> None:
        """Let what is waiting be sent before a leader's end ends everything."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while (await self.services.store.counts()).keys() & {"ready", "sending"}:
                    self.services.wake()
                    await asyncio.sleep(0.02)


def _error_of(task: asyncio.Task[object]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


async def save_checkpoint(watch: Watch, store: MarketStore) -> None:
    """Store the boards as they stand."""
    boards = {asset: (board.closed_at, board.snapshot()) for asset, board in watch.boards.items() if board.ready}
    if boards:
        await store.save_checkpoints(boards)


def answer_of(services: Services, wall: Clock) -> Callable[[Message], Answer]:
    """How a stored message's facts become an answer, at the moment it is first claimed."""

    def make(message: Message) -> Answer:
        board = services.watch.boards.get(message.body.get("asset", ""))
        price_now = board.mark if board is not None and board.ready else None
        late_ms = 0 if message.edits else wall.now() - message.created_at
        facts = message.body
        if facts.get("final") and board is not None and board.ready:
            facts = facts | final_count(board, facts)
        with speaking(language_of(message.wishes)):
            return alert_answer(facts, late_ms=late_ms, price_now=price_now, simulated=services.simulated)

    return make
