"""Clocks. Everything that needs the time is handed one of these; nothing else reads the time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import SettingError


class SteadyTime:
    """The machine's time, never going back: set back, it runs at half speed until the machine's has caught up.

    Leases, retries and quiet hours go by it: were it to stand still they would, and were it to go back what was due
    would not be. jumps_back counts how often the machine's was set back, by more than a jitter.
    """

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], int]) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._shown = wall()
        self._held: tuple[int, int] | None = None
        """While the machine's is behind: what was shown when that began, and the monotonic time of it."""

        self.jumps_back = 0

    def now(self) -> int:
        """UTC ms."""
        wall, at = self._wall(), self._monotonic()
        if wall >= self._shown:
            self._shown, self._held = wall, None
            return wall
        if self._held is None:
            self.jumps_back += self._shown - wall > JITTER_MS
            self._held = (self._shown, at)
        shown, since = self._held
        self._shown = max(self._shown, shown + (at - since) // 2)
        return self._shown


JITTER_MS = 50
MACHINE = SteadyTime(lambda: time.time_ns() // 1_000_000, lambda: time.monotonic_ns() // 1_000_000)
"""The one of this process."""


class SystemClock:
    """The machine's own clock, UTC."""

    speed = 1.0

    def now(self) -> int:
        return MACHINE.now()


@dataclass
class ManualClock:
    """A clock that stands still until it is set: for replays and tests."""

    at: int = 0
    speed: float = 1.0

    def now(self) -> int:
        return self.at


@dataclass(frozen=True)
class ScaledClock:
    """A rehearsal's clock: it stood at `start` when the machine's stood at `origin`, and runs `speed` times as fast.

    A pure function of the machine's clock, so that several processes share it and a restart does not reset it.
    """

    start: int
    origin: int
    speed: float

    def now(self) -> int:
        return self.start + round((MACHINE.now() - self.origin) * self.speed)

    @property
    def text(self) -> str:
        return f"{self.start}@{self.origin}x{self.speed:g}"

    @classmethod
    def parse(cls, text: str) -> ScaledClock:
        """A clock from `start@origin x speed`, times in UTC ms.

        Raises:
            SettingError: when the text has another form.
        """
        match = re.fullmatch(r"(\d{12,14})@(\d{12,14})x(\d+(?:\.\d+)?)", text)
        if not match or float(match[3]) <= 0:
            raise SettingError("CLIFFWATCH_CLOCK: expected system, or START@ORIGINxSPEED with times in milliseconds")
        return cls(int(match[1]), int(match[2]), float(match[3]))
