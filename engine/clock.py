"""Clocks. Everything that needs the time is handed one of these; nothing else reads the time."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from engine.errors import SettingError


class SystemClock:
    """The machine's own clock, UTC."""

    speed = 1.0

    def now(self) -> int:
        return time.time_ns() // 1_000_000


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
        return self.start + round((time.time_ns() // 1_000_000 - self.origin) * self.speed)

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
