"""Supervisor of all tasks: feed, alerts, platforms, dispatchers and jobs. No task fails unnoticed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from engine.errors import TokenRefusedError
from handlers.context import Services
from handlers.delivery.dispatcher import Dispatcher
from handlers.jobs import Jobs, save_checkpoint

log = logging.getLogger(__name__)

RESTART_SECONDS = (1.0, 60.0)
DRAIN_SECONDS = 10.0
END_SECONDS = 10.0


@dataclass(slots=True)
class Supervisor:
    """Runs all tasks until it is stopped or an essential task ends.

    Attributes:
        platforms: coroutine functions by platform, each restarted when it fails; each may also return.
        foreground: the platform whose end ends the process, such as the terminal of a demo.
    """

    services: Services
    jobs: Jobs
    dispatchers: list[Dispatcher]
    platforms: Mapping[str, Callable[[], Awaitable[None]]]
    foreground: str | None = None

    async def run(self, stop: asyncio.Event) -> int:
        """Run all tasks. Return the exit status: 0 if stopped or the foreground ended, 1 if an essential task ended.

        Raises:
            TokenRefusedError: when a platform refuses its token at the first connection.
        """
        pipeline = self.services.pipeline
        essential = [
            asyncio.create_task(self._watch(), name="watch"),
            *(asyncio.create_task(d.run(), name=f"dispatcher {d.platform}") for d in self.dispatchers),
            asyncio.create_task(self.jobs.keep_checkpoints(), name="checkpoints"),
            asyncio.create_task(self.jobs.keep_time(), name="keep time"),
            asyncio.create_task(self.jobs.leave_heartbeats(), name="heartbeat"),
        ]
        platforms = {
            name: asyncio.create_task(self._platform(name, run), name=name) for name, run in self.platforms.items()
        }
        stopped = asyncio.create_task(stop.wait(), name="stop")
        ends: list[asyncio.Task[object]] = [*essential, stopped]
        if self.foreground is not None:
            ends.append(platforms[self.foreground])
        refused: list[TokenRefusedError] = []
        try:
            failed: list[asyncio.Task[object]] = []
            while not failed and not refused:
                waiting = {*ends, *(task for task in platforms.values() if not task.done())}
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                failed = [task for task in done if task in essential]
                refused = [error for task in done if isinstance(error := _error_of(task), TokenRefusedError)]
                if done & set(ends):
                    break
            for task in failed:
                error = None if task.cancelled() else task.exception()
                log.error("%s ended: %s", task.get_name(), error or "no error", exc_info=error)
            if not failed and not refused and not stop.is_set():
                await self._drain()
            await self._end(essential, list(platforms.values()))
        finally:
            for task in (*essential, *platforms.values(), stopped):
                task.cancel()
            await asyncio.gather(*essential, *platforms.values(), stopped, return_exceptions=True)
        if refused:
            raise refused[0]
        if not failed and not pipeline.downtime.pending:
            await save_checkpoint(pipeline, self.services.store.checkpoints)
        return 1 if failed else 0

    async def _end(self, essential: list[asyncio.Task[None]], platforms: list[asyncio.Task[None]]) -> None:
        """Stop in an order that interrupts nothing: the tick, then messages being sent, then the platforms."""
        async with self.jobs.ticking:
            for task in essential:
                if task.get_name() in ("watch", "checkpoints", "keep time", "heartbeat"):
                    task.cancel()
        for dispatcher in self.dispatchers:
            dispatcher.stop()
        sending = [task for task in essential if task.get_name().startswith("dispatcher")]
        if sending:
            await asyncio.wait(sending, timeout=END_SECONDS)
        for task in platforms:
            task.cancel()

    async def _watch(self) -> None:
        services = self.services
        async for delivered in self.jobs.feed.ticks():
            async with self.jobs.ticking:
                record = await services.pipeline.process(delivered)
            services.ticked_at = time.monotonic()
            if record.alerts:
                services.wake()
            if not services.ready.is_set() and not delivered.silent and not delivered.late:
                services.ready.set()

    async def _platform(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a platform, and restart it with growing delays when it fails."""
        wait = RESTART_SECONDS[0]
        while True:
            try:
                await run()
            except TokenRefusedError:
                raise
            except Exception:
                log.exception("%s failed; restarting in %.0f s", name, wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RESTART_SECONDS[1])
            else:
                return

    async def _drain(self) -> None:
        """Give waiting messages DRAIN_SECONDS to be sent after the foreground ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while (await self.services.store.outbox.counts()).keys() & {"ready", "sending"}:
                    self.services.wake()
                    await asyncio.sleep(0.02)


def _error_of(task: asyncio.Task[object]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
