"""When each level was last traded: what makes a level carry much is above all how long it has gone untraded."""

from __future__ import annotations

from typing import Any

import numpy as np

_GROW = 1024


class TradedLevels:
    """Last time each level of the grid lay within a bar's range, and since when that has been watched."""

    def __init__(self) -> None:
        self.since: int | None = None
        self._first = 0
        self._at = np.zeros(0, dtype=np.int64)

    def touch(self, low: int, high: int, at: int) -> None:
        """The levels low..high were traded in a bar that closed at that time."""
        if self.since is None:
            self.since, self._first = at, low - _GROW
            self._at = np.zeros(high - low + 1 + 2 * _GROW, dtype=np.int64)
        before, after = max(self._first - low, 0), max(high - self._first - len(self._at) + 1, 0)
        if before or after:
            before, after = before and before + _GROW, after and after + _GROW
            self._at = np.pad(self._at, (before, after))
            self._first -= before
        touched = self._at[low - self._first : high - self._first + 1]
        np.maximum(touched, at, out=touched)  # a venue that lags must not make a level look untraded

    def last(self, low: int, high: int) -> int | None:
        """When any of the levels low..high was last traded; None if never since watching began."""
        start, end = max(low - self._first, 0), max(high - self._first + 1, 0)
        latest = int(self._at[start:end].max(initial=0))
        return latest or None

    def untraded(self, level: int, step: int, before: int, most: int) -> int:
        """Return how many levels in a row from a level on, stepwise outward, nobody traded since before a time."""
        levels = level + step * np.arange(most)
        traded = np.flatnonzero(self._times(levels) >= before)
        return int(traded[0]) if len(traded) else most

    def first_untraded(self, start: int, end: int, before: int) -> int | None:
        """Return the first of the levels from one to another that nobody traded since before a time; None without."""
        step = 1 if end >= start else -1
        levels = np.arange(start, end + step, step)
        old = np.flatnonzero(self._times(levels) < before)
        return int(levels[old[0]]) if len(old) else None

    def _times(self, levels: np.ndarray) -> np.ndarray:
        """When each of some levels was last traded, UTC ms, 0 for never, (n,) int64."""
        places = levels - self._first
        inside = (places >= 0) & (places < len(self._at))
        times: np.ndarray = np.where(inside, self._at[np.clip(places, 0, max(len(self._at) - 1, 0))], 0)
        return times

    def snapshot(self) -> dict[str, Any]:
        return {"since": self.since, "first": self._first, "at": self._at.copy()}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> TradedLevels:
        made = cls()
        made.since, made._first, made._at = (
            state["since"],
            state["first"],
            np.array(state["at"], dtype=np.int64),
        )
        return made
