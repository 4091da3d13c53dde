"""Counts requests to a venue and their cost, over the last minute and in total."""

from __future__ import annotations

import time
from collections import deque
from statistics import median

WINDOW_SECONDS = 60.0
DATES = 9
"""How many response dates we compare with this machine's clock: each is coarse (1 s) and as late as its response."""


class Meter:
    """Counts in the machine's monotonic time, at real speed as venues do. Cost is in the library's units."""

    def __init__(self) -> None:
        self.requests = 0
        self.cost = 0.0
        self._recent: deque[tuple[float, float]] = deque()
        self._ahead: deque[float] = deque(maxlen=DATES)

    def note(self, cost: float) -> None:
        """Count one request."""
        self.requests += 1
        self.cost += cost
        self._recent.append((time.monotonic(), cost))
        self._forget()

    def note_date(self, seconds: float | None) -> None:
        """Add the date of a venue's response, seconds since the epoch; None is ignored."""
        if seconds is not None:
            self._ahead.append(time.time() - seconds)

    @property
    def clock_ahead_seconds(self) -> float | None:
        """How far this machine's clock is ahead of the venue's, None before the first dated response."""
        return median(self._ahead) if self._ahead else None

    def last_minute(self) -> tuple[int, float]:
        """Return the number of requests in the last minute and their cost."""
        self._forget()
        return len(self._recent), sum(cost for _, cost in self._recent)

    def _forget(self) -> None:
        oldest = time.monotonic() - WINDOW_SECONDS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
