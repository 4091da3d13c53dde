"""What has been asked of a venue: requests and their cost, over the last minute and in all."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping

WINDOW_SECONDS = 60.0


class Meter:
    """Counts by the machine's own steady time, as venues do. Cost is in the library's units."""

    def __init__(self) -> None:
        self.requests = 0
        self.cost = 0.0
        self._recent: deque[tuple[float, float]] = deque()
        self.last_status = 0
        self.retry_after: float | None = None

    def note(self, cost: float) -> None:
        """One request was made."""
        self.requests += 1
        self.cost += cost
        self._recent.append((time.monotonic(), cost))
        self._forget()

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """What came back: status, and for how many seconds the venue wants to be left alone."""
        self.last_status = status
        named = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
        self.retry_after = float(named) if re.fullmatch(r"\d{1,6}", str(named)) else None

    def last_minute(self) -> tuple[int, float]:
        """Requests and cost of the last minute."""
        self._forget()
        return len(self._recent), sum(cost for _, cost in self._recent)

    def _forget(self) -> None:
        oldest = time.monotonic() - WINDOW_SECONDS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()
