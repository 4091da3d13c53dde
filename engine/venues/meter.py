"""What has been asked of a venue: requests and their cost, over the last minute and in all."""

from __future__ import annotations

import time
from collections import deque

WINDOW_SECONDS = 60.0


class Meter:
    """Counts by the machine's own steady time, as venues do. Cost is in the library's units."""

    def __init__(self) -> None:
        self.requests = 0
        self.cost = 0.0
        self._recent: deque[tuple[float, float]] = deque()

    def note(self, cost: float) -> None:
        """One request was made."""
        self.requests += 1
        self.cost += cost
        self._recent.append((time.monotonic(), cost))
        self._forget()

    def last_minute(self) -> tuple[int, float]:
        """Requests and cost of the last minute."""
        self._forget()
        return len(self._recent), sum(cost for _, cost in self._recent)

    def _forget(self) -> None:
        oldest = time.monotonic() - WINDOW_SECONDS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
