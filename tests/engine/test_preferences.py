"""Preferences: quiet hours and days follow the chat's time zone, and both are parsed in the forms people type."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.market import DAY_MS, HOUR_MS
from engine.preferences import Preferences, day_start, parse_quiet, parse_timezone, quiet_text, quiet_until

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
MINUTES = st.integers(0, 24 * 60 - 1)


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def test_quiet_hours_use_the_chats_time_zone() -> None:
    preferences = Preferences("Europe/Berlin", parse_quiet("23:00-07:00"))
    assert quiet_until(preferences, at("2026-06-01T22:59", "Europe/Berlin")) is None
    assert quiet_until(preferences, at("2026-06-01T23:00", "Europe/Berlin")) == at("2026-06-02T05:00")
    assert quiet_until(preferences, at("2026-06-02T06:59", "Europe/Berlin")) == at("2026-06-02T05:00")
    assert quiet_until(preferences, at("2026-06-02T07:00", "Europe/Berlin")) is None


@pytest.mark.parametrize(
    ("night", "hours"),
    [("2026-03-28T23:00", 7), ("2026-10-24T23:00", 9), ("2026-07-01T23:00", 8)],
    ids=["clock forward", "clock back", "usual"],
)
def test_quiet_hours_follow_clock_changes(night: str, hours: int) -> None:
    preferences, start = Preferences("Europe/Berlin", (23 * 60, 7 * 60)), at(night, "Europe/Berlin")
    assert quiet_until(preferences, start) == start + hours * HOUR_MS


@given(zone=ZONES, start=MINUTES, end=MINUTES, now=st.integers(1_700_000_000_000, 1_900_000_000_000))
def test_quiet_hours_always_end_within_a_day(zone: str, start: int, end: int, now: int) -> None:
    preferences = Preferences(zone, (start, end))
    until = quiet_until(preferences, now)
    if until is not None and start != end:
        assert now < until <= now + DAY_MS + 2 * HOUR_MS
        again = quiet_until(preferences, until)
        # If the clock is set back across the end, the quiet hours repeat once.
        assert again is None or again <= until + 2 * HOUR_MS
    assert now - DAY_MS - 2 * HOUR_MS <= day_start(preferences, now) <= now


@pytest.mark.parametrize(
    ("text", "minutes"), [("23:00-07:00", (1380, 420)), ("22-8", (1320, 480)), ("0:30 – 6", (30, 360))]
)
def test_quiet_hours_are_parsed_in_common_forms(text: str, minutes: tuple[int, int]) -> None:
    assert parse_quiet(text) == minutes
    assert parse_quiet(quiet_text(minutes)) == minutes


@pytest.mark.parametrize("text", ["", "25-7", "7-7", "noon", "23:60-7", "1-2-3"])
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_quiet(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("utc", "UTC"),
        ("UTC+3", "Etc/GMT-3"),
        ("america/new york", "America/New_York"),
        ("africa/dar_es_salaam", "Africa/Dar_es_Salaam"),
        ("us/eastern", "US/Eastern"),
    ],
)
def test_time_zones_are_found_in_common_spellings(text: str, name: str) -> None:
    assert parse_timezone(text) == name
    assert datetime.now(UTC).astimezone(ZoneInfo(parse_timezone(text))).tzinfo is not None


@pytest.mark.parametrize("text", ["", "nowhere", "../../etc/passwd", "UTC+99", "a" * 400, "\0"])
def test_unknown_zones_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_timezone(text)
