"""Last trade time of each level. Size at a level depends above all on how long it has gone untraded."""

from __future__ import annotations

from typing import Any

import numpy as np

_GROW = 1024


class TradedLevels:
    """Last time each grid level was within a bar's range, and when recording began."""

    def __init__(self) -> None:
        self.since: int | None = None
        self._first = 0
        self._at = np.zeros(0, dtype=np.int64)

    def touch(self, low: int, high: int, at: int) -> None:
        """Record that levels low..high traded in a bar that closed at `at`, UTC ms."""
        if self.since is None:
            self.since, self._first = at, low - _GROW
            self._at = np.zeros(high - low + 1 + 2 * _GROW, dtype=np.int64)
        before, after = max(self._first - low, 0), max(high - self._first - len(self._at) + 1, 0)
        if before or after:
            before, after = before and before + _GROW, after and after + _GROW
            self._at = np.pad(self._at, (before, after))
            self._first -= before
        touched = self._at[low - self._first : high - self._first + 1]
        np.maximum(touched, at, out=touched)  # a lagging venue must not make a level look untraded

    def last(self, low: int, high: int) -> int | None:
        """Return when any of the levels low..high last traded, UTC ms, or None if not since recording began."""
        start, end = max(low - self._first, 0), max(high - self._first + 1, 0)
        latest = int(self._at[start:end].max(initial=0))
        return latest or None

    def untraded(self, level: int, step: int, before: int, most: int) -> int:
        """Return how many consecutive levels from `level` on have not traded since `before`, at most `most`."""
        levels = level + step * np.arange(most)
        traded = np.flatnonzero(self._times(levels) >= before)
        return int(traded[0]) if len(traded) else most

    def first_untraded(self, start: int, end: int, before: int) -> int | None:
        """Return the first level from `start` to `end` that has not traded since `before`, or None."""
        step = 1 if end >= start else -1
        levels = np.arange(start, end + step, step)
        old = np.flatnonzero(self._times(levels) < before)
        return int(levels[old[0]]) if len(old) else None

    def _times(self, levels: np.ndarray) -> np.ndarray:
        """Return when each of some levels last traded, UTC ms, 0 for never, (n,) int64."""
        places = levels - self._first
        inside = (places >= 0) & (places < len(self._at))
        times: np.ndarray = np.where(inside, self._at[np.clip(places, 0, max(len(self._at) - 1, 0))], 0)
        return times

    def snapshot(self) -> dict[str, Any]:
        return {"since": self.since, "first": self._first, "at": self._at.copy()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> TradedLevels:
        traded = cls()
        traded.since, traded._first, traded._at = (
            state["since"],
            state["first"],
            np.array(state["at"], dtype=np.int64),
        )
        return traded
