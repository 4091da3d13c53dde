"""Detects an ill platform, as opposed to chats that are gone: many chats refuse within a minute."""

from __future__ import annotations

from collections import deque

WINDOW_MS = 60_000
MIN_CHATS = 4
"""The platform is ill if at least this many chats refuse within the window, and fewer accept messages."""


class Illness:
    """Refusals and successes within the last minute. Times are the machine's, UTC ms."""

    def __init__(self) -> None:
        self._refusals: deque[tuple[int, int]] = deque()
        self._successes: deque[tuple[int, int]] = deque()
        self.ill = False

    def succeeded(self, chat_id: int, now: int) -> None:
        """Record that a chat accepted a message."""
        self._successes.append((now, chat_id))
        self._forget(now)

    def refused(self, chat_id: int, now: int) -> bool:
        """Record that a chat is gone or refuses messages. Return whether the platform is ill."""
        self._refusals.append((now, chat_id))
        self._forget(now)
        return self.ill

    def _forget(self, now: int) -> None:
        for rows in (self._refusals, self._successes):
            while rows and not now - WINDOW_MS < rows[0][0] <= now:
                rows.popleft()
        refused, fine = ({chat_id for _, chat_id in rows} for rows in (self._refusals, self._successes))
        self.ill = len(refused) >= MIN_CHATS and len(refused) > len(fine - refused)
