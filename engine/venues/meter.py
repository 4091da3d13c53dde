"""What has been asked of a venue: requests and their cost, over the last minute and in all."""

from __future__ import annotations

import time
from collections import deque
from statistics import median

WINDOW_SECONDS = 60.0
DATES = 9
"""Dates of answers that are compared with the machine's clock: each is a second coarse and as late as the answer."""


class Meter:
    """Counts by the machine's own steady time, as venues do. Cost is in the library's units."""

    def __init__(self) -> None:
        self.requests = 0
        self.cost = 0.0
        self._recent: deque[tuple[float, float]] = deque()
        self._ahead: deque[float] = deque(maxlen=DATES)

    def note(self, cost: float) -> None:
        """One request was made."""
        self.requests += 1
        self.cost += cost
        self._recent.append((time.monotonic(), cost))
        self._forget()

    def note_date(self, seconds: float | None) -> None:
        """An answer was dated by the venue, seconds since the epoch."""
        if seconds is not None:
            self._ahead.append(time.time() - seconds)

    @property
    def clock_ahead_seconds(self) -> float | None:
        """How far this machine's clock is ahead of the venue's; None before any of its answers was dated."""
        return median(self._ahead) if self._ahead else None

    def last_minute(self) -> tuple[int, float]:
        """Requests and cost of the last minute."""
        self._forget()
        return len(self._recent), sum(cost for _, cost in self._recent)

    def _forget(self) -> None:
        oldest = time.monotonic() - WINDOW_SECONDS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
