"""A platform that is ill is told apart from chats that are gone: many refusals of many chats within a minute."""

from __future__ import annotations

from collections import deque

WINDOW_MS = 60_000
MIN_CHATS = 4
"""So many chats gone within the window, and fewer that can be written to: it is the platform."""


class Illness:
    """What a platform said of chats within the last minute. Times are the machine's, UTC ms."""

    def __init__(self) -> None:
        self._refusals: deque[tuple[int, int]] = deque()
        self._successes: deque[tuple[int, int]] = deque()
        self.ill = False

    def succeeded(self, chat_id: int, now: int) -> None:
        """A chat was written to."""
        self._successes.append((now, chat_id))
        self._forget(now)

    def refused(self, chat_id: int, now: int) -> bool:
        """A chat is said to be gone, or refused; return whether it is the platform that is ill."""
        self._refusals.append((now, chat_id))
        self._forget(now)
        return self.ill

    def _forget(self, now: int) -> None:
        for rows in (self._refusals, self._successes):
            while rows and not now - WINDOW_MS < rows[0][0] <= now:
                rows.popleft()
        refused, fine = ({chat_id for _, chat_id in rows} for rows in (self._refusals, self._successes))
        self.ill = len(refused) >= MIN_CHATS and len(refused) > len(fine - refused)
