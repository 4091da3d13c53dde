"""Clocks. Code that needs market time is passed one of these and never reads the time itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import SettingError

JITTER_MS = 50
LEAP_MS = 5_000
"""Deviation of the machine's clock from elapsed time: we follow a smaller one, while a larger one means it was set."""

STANDS_MS = 60_000
"""How long a clock that was set must stay so before we follow it: one that is two days ahead for a moment never is."""


class SteadyTime:
    """The machine's time, as steady as leases, retries and quiet hours need it.

    If the machine's clock is set back a little, this one runs at half speed until the machine's catches up. If it is
    set by more, either way, this one follows elapsed time until the new time has lasted a minute, and then jumps to
    it, even backwards.

    Attributes:
        jumps_back: how often the machine's clock was set back, by more than JITTER_MS.
        taken_over: how often we adopted the new time of a clock that was set.
        moved_ms: how far we moved the last time, ms.
    """

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], int]) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._shown, self._at = wall(), monotonic()
        self._leap: tuple[int, int] | None = None
        """While the machine's clock differs: by how much, ms, and the monotonic time at which that began, ms."""

        self._behind = False
        self.jumps_back = 0
        self.taken_over = 0
        self.moved_ms = 0

    def now(self) -> int:
        """Return the time, UTC ms."""
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
        """Return the time, UTC ms, while the machine's clock differs from elapsed time."""
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
    """Return monotonic milliseconds, including time suspended if the machine can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


MACHINE = SteadyTime(lambda: time.time_ns() // 1_000_000, _steady_ms)
"""The clock of this process."""


class SystemClock:
    """The machine's own clock, UTC."""

    speed = 1.0

    def now(self) -> int:
        return MACHINE.now()


@dataclass
class ManualClock:
    """A clock that changes only when it is set, for replays and tests."""

    at: int = 0
    speed: float = 1.0

    def now(self) -> int:
        return self.at


@dataclass(frozen=True)
class ScaledClock:
    """A rehearsal's clock: it showed `start` when the machine's showed `origin`, and runs `speed` times as fast.

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
        """Return the clock of a text like START@ORIGINxSPEED, with times in UTC ms.

        Raises:
            SettingError: when the text has another form.
        """
        match = re.fullmatch(r"(\d{12,14})@(\d{12,14})x(\d+(?:\.\d+)?)", text)
        if not match or float(match[3]) <= 0:
            raise SettingError("CLIFFWATCH_CLOCK: expected system, or START@ORIGINxSPEED with times in milliseconds")
        return cls(int(match[1]), int(match[2]), float(match[3]))
