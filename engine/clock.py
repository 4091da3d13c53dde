"""Clocks. Everything that needs the time is handed one of these; nothing else reads the time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import SettingError

JITTER_MS = 50
LEAP_MS = 5_000
"""The machine's clock against the time that has passed: what differs by less is followed, by more it has been set."""

STANDS_MS = 60_000
"""A clock that was set is followed once it has stood for so long: one that is two days ahead for a moment never is."""


class SteadyTime:
    """The machine's time, as steady as leases, retries and quiet hours need it.

    Set back a little, it runs at half speed until the machine's has caught up. Set by more, either way, it goes on by
    the time that passes until the new one has stood for a minute; then it is taken over whole, also backwards.

    Attributes:
        jumps_back: how often the machine's clock was set back, by more than a jitter.
        taken_over: how often a clock that had been set was followed; moved_ms: by how much it was set then.
    """

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], int]) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._shown, self._at = wall(), monotonic()
        self._leap: tuple[int, int] | None = None
        """While the machine's differs: by how much, and the monotonic time at which that began."""

        self._behind = False
        self.jumps_back = 0
        self.taken_over = 0
        self.moved_ms = 0

    def now(self) -> int:
        """UTC ms."""
        wall, at = self._wall(), self._monotonic()
        passed, self._at = at - self._at, at
        off = wall - (self._shown + passed)
        if abs(off) > LEAP_MS:
            self._shown = self._after_leap(wall, passed, off, at)
            return self._shown
        self._leap = None
        if wall >= self._shown:
            self._shown, self._behind = wall, False
            return wall
        if not self._behind:
            self.jumps_back += self._shown - wall > JITTER_MS
            self._behind = True
        self._shown += passed // 2
        return self._shown

    def _after_leap(self, wall: int, passed: int, off: int, at: int) -> int:
        """What to show while the machine's clock differs from the time that passes."""
        if self._leap is None or abs(off - self._leap[0]) > LEAP_MS:
            self.jumps_back += off < 0
            self._leap = (off, at)
        if at - self._leap[1] < STANDS_MS:
            return self._shown + passed
        self._leap = None
        self.taken_over += 1
        self.moved_ms = off
        return wall


def _steady_ms() -> int:
    """Milliseconds that have passed, those asleep included where the machine can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


MACHINE = SteadyTime(lambda: time.time_ns() // 1_000_000, _steady_ms)
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
