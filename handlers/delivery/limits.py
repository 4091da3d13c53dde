"""How fast a platform may be written to. Kept here and not in the client libraries: they let others through a pause."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.ports import ChatKind


@dataclass(frozen=True, slots=True)
class Limits:
    """Messages a second in all, seconds between two in a chat, messages a minute in a group or channel."""

    per_second: int = 30
    chat_seconds: float = 1.0
    group_per_minute: int | None = 20


TELEGRAM = Limits()
DISCORD = Limits(per_second=40, chat_seconds=0.25, group_per_minute=None)
UNLIMITED = Limits(per_second=1000, chat_seconds=0.0, group_per_minute=None)


class Limiter:
    """Counts what was sent. monotonic is the process's own clock, in seconds."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._limits, self._monotonic = limits, monotonic
        self._sent: deque[float] = deque()
        self._chats: dict[int, deque[float]] = {}
        self._groups: set[int] = set()
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """The platform said to wait: everything does."""
        self._paused_until = max(self._paused_until, self._monotonic() + seconds)

    def wait_seconds(self) -> float:
        """How long nothing may be sent."""
        now = self._monotonic()
        while self._sent and self._sent[0] <= now - 1:
            self._sent.popleft()
        full = self._sent[0] + 1 - now if len(self._sent) >= self._limits.per_second else 0.0
        return max(full, self._paused_until - now, 0.0)

    def note(self, chat_id: int, kind: ChatKind) -> None:
        """Something is being sent to a chat now."""
        now = self._monotonic()
        self._sent.append(now)
        self._chats.setdefault(chat_id, deque()).append(now)
        if kind != "private":
            self._groups.add(chat_id)

    def resting(self) -> set[int]:
        """Chats that may not be written to yet."""
        now, found = self._monotonic(), set()
        for chat_id, times in tuple(self._chats.items()):
            while times and times[0] <= now - 60:
                times.popleft()
            if not times:
                del self._chats[chat_id]
                continue
            quota = self._limits.group_per_minute if chat_id in self._groups else None
            if now - times[-1] < self._limits.chat_seconds or (quota is not None and len(times) >= quota):
                found.add(chat_id)
        return found
