"""Clocks: steady when the machine's clock is set. A rehearsal's clock is a function of the machine's alone."""

from __future__ import annotations

import pytest

from engine.clock import STANDS_MS, ManualClock, ScaledClock, SteadyTime, SystemClock
from engine.errors import SettingError


def test_a_scaled_clock_runs_from_its_start_and_round_trips() -> None:
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


def test_a_manual_clock_is_constant() -> None:
    clock = ManualClock(5)
    assert (clock.now(), clock.now(), clock.speed) == (5, 5, 1.0)


class Machine:
    """A fake machine: a wall clock that can be set, and elapsed time."""

    def __init__(self) -> None:
        self.wall, self.passed = 1_000_000, 0
        self.clock = SteadyTime(lambda: self.wall, lambda: self.passed)

    def go(self, ms: int) -> int:
        self.wall += ms
        self.passed += ms
        return self.clock.now()


def test_after_a_small_step_back_time_runs_at_half_speed() -> None:
    machine = Machine()
    assert machine.go(1000) == 1_001_000
    machine.wall -= 4000
    shown = [machine.go(2) for _ in range(1000)]
    assert shown == sorted(shown)
    assert shown[-1] == pytest.approx(1_002_000, abs=5)
    assert machine.clock.jumps_back == 1
    machine.go(7000)
    assert machine.go(10) == machine.wall
    machine.wall -= 20
    assert machine.clock.now() == machine.clock.now()
    assert machine.clock.jumps_back == 1


def test_a_brief_leap_of_two_days_is_never_followed() -> None:
    machine, day = Machine(), 86_400_000
    machine.go(1000)
    machine.wall += 2 * day
    shown = [machine.go(1000) for _ in range(20)]
    assert shown[-1] == 1_021_000
    machine.wall -= 2 * day
    assert machine.go(1000) == 1_022_000
    assert machine.clock.taken_over == 0


@pytest.mark.parametrize("hours", [-1, 1, 48, -48])
def test_a_clock_that_was_set_is_followed_after_a_minute(hours: int) -> None:
    machine = Machine()
    machine.wall += 10**12
    machine.clock = SteadyTime(lambda: machine.wall, lambda: machine.passed)
    before = machine.go(1000)
    machine.wall += hours * 3_600_000
    assert machine.go(30_000) == before + 30_000, "we follow elapsed time meanwhile"
    assert machine.go(29_000) == before + 59_000
    assert machine.go(STANDS_MS) == machine.wall
    assert machine.clock.taken_over == 1
    assert machine.clock.moved_ms == pytest.approx(hours * 3_600_000, abs=10)
    assert machine.go(1000) == machine.wall
    assert machine.clock.jumps_back == (hours < 0)
