"""Clocks: what a rehearsal's says is a function of the machine's alone."""

from __future__ import annotations

import pytest

from engine.clock import ManualClock, ScaledClock, SteadyTime, SystemClock
from engine.errors import SettingError


def test_a_scaled_clock_runs_from_its_start_and_is_read_back() -> None:
    now = SystemClock().now()
    clock = ScaledClock(1_765_000_000_000, now - 1000, 60.0)
    assert clock.now() == pytest.approx(1_765_000_060_000, abs=30_000)
    assert ScaledClock.parse(clock.text) == clock


@pytest.mark.parametrize(
    "text", ["", "now", "1@2x3", "1765000000000@1765000000000x0", "1765000000000@1765000000000x-1"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="CLIFFWATCH_CLOCK"):
        ScaledClock.parse(text)


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock(5)
    assert (clock.now(), clock.now(), clock.speed) == (5, 5, 1.0)


def test_time_never_goes_back_and_catches_up_at_half_speed() -> None:
    wall, passed = [1_000_000], [0]
    clock = SteadyTime(lambda: wall[0], lambda: passed[0])

    def go(ms: int) -> int:
        wall[0] += ms
        passed[0] += ms
        return clock.now()

    assert go(1000) == 1_001_000
    wall[0] -= 3_600_000
    shown = [go(1) for _ in range(1000)]
    assert shown == sorted(shown)
    assert shown[-1] == pytest.approx(1_001_500, abs=2)
    assert clock.jumps_back == 1
    assert go(7_198_000) == pytest.approx(1_001_000 + 3_600_000, abs=1000)
    assert go(3000) == wall[0]
    wall[0] -= 20
    assert clock.now() == clock.now()
    assert clock.jumps_back == 1
