"""One platform's dispatcher: claims the oldest ready message per chat, marks it sent only on the platform's answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from engine.ports import Clock, Message, Outcome, Sender, Store
from handlers.answers import Answer
from handlers.delivery.limits import Flight, Limiter, Limits
from handlers.delivery.retry import Backoff

log = logging.getLogger(__name__)

LEASE_MS = 120_000
"""Longer than any client library's own retries of one send."""

SEND_SECONDS = 90.0
IDLE_SECONDS = 1.0
EXPIRE_SECONDS = 1.0
FINISH_SECONDS = 8.0
MOST_UNKNOWN = 3
"""How often a message whose fate is not known goes out where a second one would be seen: then it is given up."""

AT_ONCE = 8


class Renderer(Protocol):
    """How a face puts an answer into its own idiom: JSON values, kept and sent as they are."""

    def render(self, answer: Answer) -> dict[str, Any]: ...


class Platform(Sender, Renderer, Protocol):
    """A sender with its idiom.

    Attributes:
        ready: whether it is connected; nothing is claimed before, so that a late message is rendered as late.
        idempotent: whether sending a message again with its nonce makes no second one.
    """

    idempotent: bool

    @property
    def ready(self) -> bool: ...


class Dispatcher:
    """Sends one platform's messages until cancelled.

    Args:
        answer_of: the answer that a message's body stands for.
        chat_lost: told when a chat has been switched off because the platform says it is gone.
        undelivered: told of each message that was given up: its id, its chat where that matters, and why.
    """

    def __init__(
        self,
        platform: Platform,
        store: Store,
        wall: Clock,
        limits: Limits,
        answer_of: Callable[[Message], Answer],
        chat_lost: Callable[[int], Awaitable[None]],
        undelivered: Callable[[int, int | None, str], Awaitable[None]],
    ) -> None:
        self._platform, self._store, self._wall = platform, store, wall
        self._answer_of, self._chat_lost, self._undelivered = answer_of, chat_lost, undelivered
        self._expired_at = -EXPIRE_SECONDS
        self._limiter = Limiter(limits, time.monotonic)
        self._backoff = Backoff()
        self._chance = random.Random()  # noqa: S311  # spreads retries, guards nothing
        self._busy: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._stopping = False

    @property
    def platform(self) -> str:
        return self._platform.platform

    def wake(self) -> None:
        """Messages may be waiting."""
        self._woken.set()

    def stop(self) -> None:
        """Claim nothing more; run() ends once what is being sent has been answered."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Claim and send until stopped.

        Raises:
            StorageError: when the outbox cannot be read or written.
        """
        recovered = await self._store.recover_leases(self.platform)
        if recovered:
            log.info("%s: %d messages were being sent when the last run ended", self.platform, recovered)
        try:
            while not self._stopping:
                self._reap()
                await self._expire()
                self._woken.clear()
                wait = self._limiter.wait_seconds()
                full = len(self._tasks) >= AT_ONCE or not self._platform.ready
                if wait:
                    await self._pace(wait)
                elif full or not await self._claim_one():
                    await self._idle(0.05 if self._tasks else IDLE_SECONDS)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=FINISH_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _reap(self) -> None:
        """Let a failure to store end the dispatcher, and so the process: it must not go on as if it had been kept."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()

    async def _expire(self) -> None:
        """Now and then, drop what is past its time; an alert that never came holds back no other."""
        if time.monotonic() - self._expired_at < EXPIRE_SECONDS:
            return
        self._expired_at = time.monotonic()
        for message_id in await self._store.expire(self.platform):
            log.info("%s: message %d expired", self.platform, message_id)
            await self._undelivered(message_id, None, "expired")

    async def _idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), min(seconds, IDLE_SECONDS))

    async def _pace(self, seconds: float) -> None:
        """Wait for the limiter, whatever else is going on; a stop ends it within a second."""
        await asyncio.sleep(min(seconds, IDLE_SECONDS))

    async def _claim_one(self) -> bool:
        message = await self._store.claim(self.platform, LEASE_MS, self._busy | self._limiter.resting())
        if message is None:
            return False
        self._busy.add(message.chat_id)
        flight = self._limiter.note(message.chat_id, message.chat_kind)
        self._tasks.add(asyncio.create_task(self._deliver(message, flight), name=f"send {self.platform} {message.id}"))
        return True

    async def _deliver(self, message: Message, flight: Flight) -> None:
        try:
            if message.rendered is None:
                try:
                    rendered = self._platform.render(self._answer_of(message))
                except Exception:
                    log.exception("%s: message %d cannot be rendered", self.platform, message.id)
                    self._limiter.dropped(flight)
                    await self._give_up(message, "cannot be rendered")
                    return
                await self._store.keep_rendered(message.id, rendered)
                message = replace(message, rendered=rendered)
            outcome = await self._send(message)
            self._limiter.answered(flight)
            await self._record(message, outcome)
        finally:
            self._busy.discard(message.chat_id)
            self._woken.set()

    async def _send(self, message: Message) -> Outcome:
        try:
            return await asyncio.wait_for(self._platform.send(message), SEND_SECONDS)
        except TimeoutError:
            return Outcome("unknown", "no answer in time")
        except Exception as error:
            log.exception("%s: sending failed in an unforeseen way", self.platform)
            return Outcome("unknown", type(error).__name__)

    async def _record(self, message: Message, outcome: Outcome) -> None:
        """The table of DESIGN section 7: what each answer leads to."""
        now = self._wall.now()
        match outcome.kind:
            case "sent":
                await self._store.mark_sent(message.id, outcome.remote_id)
            case "retry":
                if outcome.retry_after is not None:
                    self._limiter.pause(outcome.retry_after)
                wait = self._backoff.seconds(message.attempts, self._chance.random(), outcome.retry_after)
                await self._store.put_back(message.id, now + round(wait * 1000), outcome.error)
            case "plain" if not message.plain:
                await self._store.put_back(message.id, now, outcome.error, plain=True)
            case "moved":
                await self._store.move_chat(message.chat_id, outcome.moved_to)
                await self._store.put_back(message.id, now, outcome.error)
            case "unknown" if self._platform.idempotent or not message.repeat or message.attempts < MOST_UNKNOWN:
                wait = self._backoff.seconds(message.attempts, self._chance.random())
                await self._store.put_back(message.id, now + round(wait * 1000), outcome.error, repeat=True)
            case "gone":
                await self._give_up(message, outcome.error)
                await self._store.switch_chat(message.chat_id, active=False, reason=outcome.error)
                await self._chat_lost(message.chat_id)
                log.warning("%s: chat #%d is gone (%s)", self.platform, message.chat_id, outcome.error)
            case _:
                await self._give_up(message, outcome.error)
                log.warning("%s: message %d is given up (%s)", self.platform, message.id, outcome.error)

    async def _give_up(self, message: Message, error: str) -> None:
        await self._store.give_up(message.id, error)
        told = message.chat_id if message.body.get("kind") != "undelivered" else None  # or two would never be done
        await self._undelivered(message.id, told, error)
