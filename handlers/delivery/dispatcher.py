"""One platform's dispatcher: claims each chat's oldest due message, marks it sent only when confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal, Protocol

from engine.messages import Message, Outcome
from engine.ports import Clock, Sender, Store
from handlers.answers import Answer
from handlers.delivery.illness import WINDOW_MS, Illness
from handlers.delivery.limits import InFlight, Limiter, Limits
from handlers.delivery.retry import Backoff

log = logging.getLogger(__name__)

LEASE_MS = 120_000
"""Longer than any client library's own retries of one send."""

SEND_SECONDS = 90.0
IDLE_SECONDS = 1.0
EXPIRE_SECONDS = 1.0
FINISH_SECONDS = 8.0
UNKNOWN_SECONDS = (10.0, 60.0, 300.0)
"""Pauses after sends with unknown delivery status, on platforms without idempotent sends.

There are at most as many copies as pauses; then the message counts as perhaps delivered.
"""

NONCE_MS = 120_000
"""How long a platform surely remembers a nonce: until then a second send makes no second message."""

DAY_MS = 86_400_000
SAID_SECONDS = 60.0
WAITS = (5.0, 3600.0)
"""Seconds: the wait used for an invalid one, and the longest that we accept."""

MAX_MOVES = 5
LEFT = "no longer a member"

AT_ONCE = 8


Notice = Literal["refused", "perhaps", "back", "ill"]
"""A chat that refuses us, a message perhaps delivered, a chat that is back, a platform that is ill."""


class Renderer(Protocol):
    """Renders an answer in the platform's format: JSON values, stored and sent unchanged."""

    def render(self, answer: Answer) -> dict[str, Any]: ...


class Platform(Sender, Renderer, Protocol):
    """A sender that also renders and reports its state.

    Attributes:
        state: ok, or the problem, in a few words.
        ready: whether it is connected. Nothing is claimed before, so that a late message is rendered as late.
        idempotent: whether sending a message again with its nonce makes no second one.
    """

    idempotent: bool

    @property
    def ready(self) -> bool: ...

    @property
    def state(self) -> str: ...


class Dispatcher:
    """Sends one platform's messages until cancelled.

    Args:
        answer_of: makes the answer from a message's body.
        chat_lost: called after a chat was switched off, as the platform reports it gone or its owner left.
        undelivered: called for each message given up: its id, its chat if operators are to be notified, and why.
        people: called with each notice, the chat's id and the error.
        may_be_told: whether a chat may still get alerts.
        limiter: shared with the platform's other traffic; by default one of its own.
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
        people: Callable[[Notice, int, str], Awaitable[None]] | None = None,
        limiter: Limiter | None = None,
        may_be_notified: Callable[[int], Awaitable[bool]] | None = None,
    ) -> None:
        self._platform, self._store, self._wall = platform, store, wall
        self._answer_of, self._chat_lost, self._undelivered = answer_of, chat_lost, undelivered
        self._expired_at = -EXPIRE_SECONDS
        self._limiter = limiter or Limiter(limits, time.monotonic)
        self._people, self._may_be_notified = people, may_be_notified
        self._illness = Illness()
        self._fault_reported = False
        self._switched_off: dict[int, tuple[int, int]] = {}
        """Chats switched off within the last minute: when (UTC ms), and the message given up for it."""

        self._backoff = Backoff()
        self._chance = random.Random()  # noqa: S311  # spreads retries, guards nothing
        self._busy: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._stopping = False

    @property
    def platform(self) -> str:
        return self._platform.platform

    @property
    def state(self) -> str:
        """The platform's state in a few words: ok, or the problem."""
        state = self._platform.state
        if state == "ok" and self.ill:
            return "refuses many chats at once"
        if state == "ok" and self.pause_seconds >= SAID_SECONDS:
            return f"asked us to wait for {self.pause_seconds:.0f} s"
        return state

    @property
    def pause_seconds(self) -> float:
        """The longest remaining wait that the platform has asked for, seconds."""
        return self._limiter.longest_wait()

    @property
    def ill(self) -> bool:
        """True while the platform refuses many chats at once."""
        return self._illness.ill

    def wake(self) -> None:
        """Check for due messages now."""
        self._woken.set()

    def stop(self) -> None:
        """Claim nothing more. run() ends once the sends in flight are answered, or after FINISH_SECONDS."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Claim and send until stopped.

        Raises:
            StorageError: when the outbox cannot be read or written.
        """
        recovered = await self._store.outbox.recover_leases(self.platform)
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
        """Propagate storage failures: the process must exit rather than carry on as if the write had succeeded."""
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()

    async def _expire(self) -> None:
        """Once a second, give up expired messages and report them, so that they do not suppress the next alert."""
        if time.monotonic() - self._expired_at < EXPIRE_SECONDS:
            return
        self._expired_at = time.monotonic()
        for message_id in await self._store.outbox.expire(self.platform):
            log.info("%s: message %d expired", self.platform, message_id)
            await self._undelivered(message_id, None, "expired")

    async def _idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, IDLE_SECONDS)):
                await self._woken.wait()

    async def _pace(self, seconds: float) -> None:
        """Wait for the limiter, at most IDLE_SECONDS, so that a stop is noticed."""
        await asyncio.sleep(min(seconds, IDLE_SECONDS))

    async def _claim_one(self) -> bool:
        message = await self._store.outbox.claim(self.platform, LEASE_MS, self._busy | self._limiter.resting())
        self._limiter.alerts_waiting = message is not None
        if message is None:
            return False
        self._busy.add(message.chat_id)
        flight = self._limiter.note(message.chat_id, message.chat_kind)
        self._tasks.add(asyncio.create_task(self._deliver(message, flight), name=f"send {self.platform} {message.id}"))
        return True

    async def _deliver(self, message: Message, flight: InFlight) -> None:
        try:
            if self._may_be_notified is not None and not await self._may_be_notified(message.chat_id):
                self._limiter.dropped(flight)
                await self._store.outbox.give_up(message.id, LEFT)
                await self._store.chats.set_active(message.chat_id, active=False, reason=LEFT)
                await self._chat_lost(message.chat_id)
                return
            if message.rendered is None:
                try:
                    rendered = self._platform.render(self._answer_of(message))
                except Exception:
                    log.exception("%s: message %d cannot be rendered", self.platform, message.id)
                    self._limiter.dropped(flight)
                    await self._give_up(message, "cannot be rendered")
                    return
                await self._store.outbox.keep_rendered(message.id, rendered)
                message = replace(message, rendered=rendered)
            outcome = await self._send(message)
            self._limiter.answered(flight)
            await self._record(message, outcome)
        finally:
            self._busy.discard(message.chat_id)
            self._woken.set()

    async def _send(self, message: Message) -> Outcome:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                return await self._platform.send(message)
        except TimeoutError:
            return Outcome("unknown", "no answer in time")
        except Exception as error:
            log.exception("%s: unexpected error while sending", self.platform)
            return Outcome("unknown", type(error).__name__)

    async def _record(self, message: Message, outcome: Outcome) -> None:
        """Act on the outcome of a send; see the table in docs/reliability.md."""
        match outcome.kind:
            case "sent":
                await self._store.outbox.mark_sent(message.id, outcome.remote_id)
                await self._can_be_written_to(message.chat_id)
            case "retry":
                await self._retry(message, outcome)
            case "plain" if not message.plain:
                await self._store.outbox.put_back(message.id, self._wall.now(), outcome.error, plain=True)
            case "moved" if outcome.moved_to != message.remote_chat and message.attempts <= MAX_MOVES:
                await self._store.chats.move(message.chat_id, outcome.moved_to)
                await self._put_back(message, outcome.error, 0.0 if message.attempts == 1 else None)
            case "moved" if message.attempts <= MAX_MOVES:
                await self._put_back(message, "moved to its own id")
            case "refused":
                await self._refused(message, outcome.error)
            case "gone":
                await self._gone(message, outcome.error)
            case "unknown":
                await self._unknown(message, outcome.error)
            case _:
                await self._give_up(message, outcome.error)
                log.warning("%s: gave up on message %d (%s)", self.platform, message.id, outcome.error)

    async def _put_back(self, message: Message, error: str, seconds: float | None = None) -> None:
        """Requeue a message, due in that many seconds; by default after an exponential back-off."""
        if seconds is None:
            seconds = self._backoff.seconds(message.attempts, self._chance.random())
        await self._store.outbox.put_back(message.id, self._wall.now() + round(seconds * 1000), error)

    async def _retry(self, message: Message, outcome: Outcome) -> None:
        wait = None
        if outcome.retry_after is not None:
            wait = bounded(outcome.retry_after)
            everything = self._limiter.hold(message.chat_id, wait)
            if wait >= SAID_SECONDS:
                whose = "everything" if everything else f"chat #{message.chat_id}"
                log.warning("%s: %s must wait %.0f s (%s)", self.platform, whose, wait, outcome.error)
        pause = self._backoff.seconds(message.attempts, self._chance.random(), wait)
        await self._put_back(message, outcome.error, pause)

    async def _unknown(self, message: Message, error: str) -> None:
        """Retry a message that may have arrived: soon while its nonce is remembered, else a few times with pauses."""
        now = self._wall.now()
        if self._platform.idempotent and now - message.tried_at < NONCE_MS:
            wait = self._backoff.seconds(message.attempts, self._chance.random())
            await self._store.outbox.put_back(message.id, now + round(wait * 1000), error, repeat=True)
            return
        if message.copies + 1 >= len(UNKNOWN_SECONDS):
            await self._store.outbox.mark_perhaps(message.id)
            await self._tell("perhaps", message.chat_id, error)
            log.warning("%s: message %d may have been delivered (%s)", self.platform, message.id, error)
            return
        wait = UNKNOWN_SECONDS[message.copies]
        await self._store.outbox.put_back(message.id, now + round(wait * 1000), error, repeat=True, copy=True)

    async def _refused(self, message: Message, error: str) -> None:
        """Requeue a message that the chat refuses for now. After a day of refusals the chat is lost."""
        now = self._wall.now()
        if self._illness.refused(message.chat_id, now):
            await self._is_ill()
            await self._put_back(message, error)
            return
        since, new = await self._store.chats.mark_refused(message.chat_id)
        if now - since >= DAY_MS:
            await self._lose(message, error)
            return
        await self._put_back(message, error)
        if new:
            log.warning("%s: chat #%d refuses messages (%s)", self.platform, message.chat_id, error)
            await self._tell("refused", message.chat_id, error)

    async def _gone(self, message: Message, error: str) -> None:
        """Switch off a chat that the platform reports gone, unless it reports many at once."""
        now = self._wall.now()
        if self._illness.refused(message.chat_id, now):
            await self._is_ill()
            since, _ = await self._store.chats.mark_refused(message.chat_id)
            if now - since < DAY_MS:
                await self._put_back(message, error)
                return
        self._switched_off = {chat: row for chat, row in self._switched_off.items() if now - row[0] < WINDOW_MS}
        self._switched_off[message.chat_id] = (now, message.id)
        await self._lose(message, error)

    async def _lose(self, message: Message, error: str) -> None:
        await self._give_up(message, error)
        await self._store.chats.set_active(message.chat_id, active=False, reason=error)
        await self._chat_lost(message.chat_id)
        log.warning("%s: chat #%d is gone (%s)", self.platform, message.chat_id, error)

    async def _is_ill(self) -> None:
        """Reactivate the chats just switched off, as the platform refuses many at once. Notify operators once."""
        off, self._switched_off = self._switched_off, {}
        for chat_id, (_, message_id) in off.items():
            await self._store.chats.set_active(chat_id, active=True)
            await self._store.outbox.revive([message_id])
            await self._tell("back", chat_id, "")
        if not self._fault_reported:
            self._fault_reported = True
            log.error("%s: many chats refuse at once; none is switched off for it", self.platform)
            await self._tell("ill", 0, "")

    async def _can_be_written_to(self, chat_id: int) -> None:
        self._illness.succeeded(chat_id, self._wall.now())
        self._limiter.release(chat_id)
        await self._store.chats.mark_reachable(chat_id)
        if self._fault_reported and not self._illness.ill:
            self._fault_reported = False
            log.warning("%s: chats accept messages again", self.platform)

    async def _tell(self, notice: Notice, chat_id: int, error: str) -> None:
        if self._people is not None:
            await self._people(notice, chat_id, error)

    async def _give_up(self, message: Message, error: str) -> None:
        await self._store.outbox.give_up(message.id, error)
        notify_chat = message.chat_id if message.body.get("kind") != "undelivered" else None  # no notice about a notice
        await self._undelivered(message.id, notify_chat, error)


def bounded(seconds: float) -> float:
    """Return the wait that a platform asked for, seconds, at most an hour: after that we ask again."""
    if not math.isfinite(seconds) or seconds < 0:
        return WAITS[0]
    return min(seconds, WAITS[1])
