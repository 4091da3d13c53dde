"""Rate limits of platforms. We keep them ourselves: the client libraries send to other chats during a pause."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.chats import ChatKind


@dataclass(frozen=True, slots=True)
class Limits:
    """Messages a second in all, seconds between two in a chat, messages a minute in a group or channel.

    Messages are spaced evenly. Each also waits until a second has surely passed since the arrival of the one per_second
    before it: the platform counts when messages arrive, not when they leave.
    """

    per_second: int = 30
    chat_seconds: float = 1.0
    group_per_minute: int | None = 20


TELEGRAM = Limits()
DISCORD = Limits(per_second=40, chat_seconds=0.25, group_per_minute=None)
WEBHOOK = Limits(per_second=10, chat_seconds=0.1, group_per_minute=None)
UNLIMITED = Limits(per_second=1000, chat_seconds=0.0, group_per_minute=None)


SHARE = 0.995
"""Share of the permitted rate that we use."""

SLACK_SECONDS = 0.02
"""A message that leaves late by up to this does not delay those after it."""

MARGIN_SECONDS = 0.002
LONGEST_WAY_SECONDS = 5.0
UNANSWERED_SECONDS = 0.005
"""Pause between checks for the response that the next message waits for."""


SECOND_SECONDS = 60.0
"""If two chats must wait within this time, the platform limits all of our messages."""

ANSWER_SECONDS = 0.05
ALERTS_FIRST = 5.0
LONGEST_ANSWER_SECONDS = 30.0
"""After this long a user's answer is sent whatever else waits, even if the platform may refuse it."""


class InFlight:
    """One message in flight: when it left and when its response came, seconds on the monotonic clock."""

    __slots__ = ("answered", "left")

    def __init__(self, left: float) -> None:
        self.left = left
        self.answered: float | None = None


class Limiter:
    """Spaces and counts outgoing messages. monotonic is the process's own clock, in seconds."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._limits, self._monotonic = limits, monotonic
        self._gap = 1 / (limits.per_second * SHARE)
        self._next = 0.0
        self._flights: deque[InFlight] = deque(maxlen=limits.per_second)
        self._fastest = 1.0
        self._chats: dict[int, deque[float]] = {}
        self._groups: set[int] = set()
        self._paused_until = 0.0
        self._held: dict[int, tuple[float, float]] = {}
        """Chats that must wait: since when, and until when."""

        self.alerts_waiting = False

    def pause(self, seconds: float) -> None:
        """Make all messages wait, as the platform asked."""
        self._paused_until = max(self._paused_until, self._monotonic() + seconds)

    def hold(self, chat_id: int, seconds: float) -> bool:
        """Make a chat wait. Return whether all chats now wait, because a second one must within a minute."""
        now = self._monotonic()
        others = any(now - since <= SECOND_SECONDS for chat, (since, _) in self._held.items() if chat != chat_id)
        until = max(self._held.get(chat_id, (0.0, 0.0))[1], now + seconds)
        self._held[chat_id] = (now, until)
        if others:
            self.pause(seconds)
        return others

    def release(self, chat_id: int) -> None:
        """Stop making a chat wait."""
        self._held.pop(chat_id, None)

    def longest_wait(self) -> float:
        """Return the longest remaining wait that the platform has asked for, seconds; 0 if there is none."""
        now = self._monotonic()
        waits = [until - now for _, until in self._held.values()]
        return max(0.0, self._paused_until - now, *waits)

    async def turn(self, chat_id: int, kind: ChatKind) -> InFlight:
        """Wait until an answer may be sent, and return its flight. Alerts go first for up to ALERTS_FIRST seconds."""
        began = self._monotonic()
        while True:
            wait = self.wait_seconds()
            waited = self._monotonic() - began
            if waited > LONGEST_ANSWER_SECONDS or (not wait and not (self.alerts_waiting and waited < ALERTS_FIRST)):
                return self.note(chat_id, kind)
            await asyncio.sleep(min(max(wait, ANSWER_SECONDS), 1.0))

    def wait_seconds(self) -> float:
        """Return for how many seconds nothing may be sent."""
        now = self._monotonic()
        return max(self._next - now, self._paused_until - now, self._counted(now), 0.0)

    def _counted(self, now: float) -> float:
        """Return the seconds until the platform surely no longer counts the oldest of the last second's messages."""
        if len(self._flights) < self._limits.per_second:
            return 0.0
        oldest = self._flights[0]
        if oldest.answered is None:
            # Its arrival is unknown; after this long it was surely over a second ago.
            return UNANSWERED_SECONDS if now - oldest.left < 1 + LONGEST_WAY_SECONDS else 0.0
        return oldest.answered + 1 + MARGIN_SECONDS - self._fastest - now

    def dropped(self, flight: InFlight) -> None:
        """Record that a message did not leave after all."""
        flight.answered = flight.left - 1

    def answered(self, flight: InFlight) -> None:
        """Record that the platform responded. The fastest response is the lower bound of the round trip."""
        flight.answered = self._monotonic()
        self._fastest = min(self._fastest, flight.answered - flight.left)

    def note(self, chat_id: int, kind: ChatKind) -> InFlight:
        """Record that a message is being sent to a chat now, and return its flight."""
        now = self._monotonic()
        self._next = max(self._next, now - SLACK_SECONDS) + self._gap
        self._chats.setdefault(chat_id, deque()).append(now)
        if kind != "private":
            self._groups.add(chat_id)
        flight = InFlight(now)
        self._flights.append(flight)
        return flight

    def resting(self) -> set[int]:
        """Return the chats that must not be sent to yet."""
        now = self._monotonic()
        self._held = {chat: row for chat, row in self._held.items() if row[1] > now or now - row[0] <= SECOND_SECONDS}
        blocked = {chat for chat, (_, until) in self._held.items() if until > now}
        for chat_id, times in tuple(self._chats.items()):
            while times and times[0] <= now - 60:
                times.popleft()
            if not times:
                del self._chats[chat_id]
                continue
            quota = self._limits.group_per_minute if chat_id in self._groups else None
            if now - times[-1] < self._limits.chat_seconds or (quota is not None and len(times) >= quota):
                blocked.add(chat_id)
        return blocked
