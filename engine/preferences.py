"""What a chat prefers: its clock, its quiet hours, its cap, its language. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from engine.errors import InputError

CAP = {"private": 6, "group": 12, "channel": 12}
"""Messages with alerts a day, by kind of chat."""

PUBLIC, PRIVATE = "public", "private"
NO_PLACES = frozenset({"Factory", "localtime", "posixrules", "leapseconds", "tzdata.zi"})

_TIME = r"(\d{1,2})(?:[:.h]([0-5]\d))?\s*(?:h|hrs?|uhr|o'clock)?\s*([ap]\.?m\.?)?"
_QUIET = re.compile(rf"(?:from\s+)?{_TIME}\s*(?:-|to|until|till)\s*{_TIME}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a chat wants of alerts.

    Attributes:
        timezone: a name of the time zone database.
        quiet: minutes of the local day from which and until which nothing is sent, None for never.
        loud: the top tier comes through quiet hours.
        cap: messages with alerts a day.
        language: the chosen one's tag, empty for the platform's. locale: the platform's, as it was last seen.
        light: pictures in dark ink on white.
        role: the platform's id of the role that an alert of the top tier mentions, empty for none.
        room: where members' commands are answered: public, private, or the remote id of one chat.
    """

    timezone: str = "UTC"
    quiet: tuple[int, int] | None = None
    loud: bool = False
    cap: int = CAP["private"]
    language: str = ""
    locale: str = ""
    light: bool = False
    role: str = ""
    room: str = PUBLIC


def quiet_until(preferences: Preferences, now: int) -> int | None:
    """When the quiet hours that are on now end, UTC ms; None while there are none.

    Their end is a time on the chat's own clock, also where that clock is set forward or back in between.
    """
    if preferences.quiet is None:
        return None
    start, end = preferences.quiet
    local = _local(preferences, now)
    minute = local.hour * 60 + local.minute
    inside = start <= minute < end if start < end else (minute >= start or minute < end)
    if not inside:
        return None
    day = local.date() if minute < end else local.date() + timedelta(days=1)
    # Where that hour comes twice the later one is meant: the earlier may be over already.
    ends = datetime.combine(day, time(end // 60, end % 60, fold=1), ZoneInfo(preferences.timezone))
    return max(int(ends.timestamp() * 1000), now + 1)


def day_start(preferences: Preferences, now: int) -> int:
    """The chat's last local midnight, UTC ms."""
    midnight = datetime.combine(_local(preferences, now).date(), time(), ZoneInfo(preferences.timezone))
    return int(midnight.timestamp() * 1000)


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    """Names of time zones as people may write them to their own writing.

    Those of the database that comes with the program: what else a machine has, such as localtime, another has not.
    """
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return {name.casefold(): name for name in names if name not in NO_PLACES}


@lru_cache(maxsize=1024)
def is_timezone(name: str) -> bool:
    """Whether a name is one of a time zone that can be loaded."""
    if _zones().get(name.casefold()) != name:
        return False
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def _local(preferences: Preferences, now: int) -> datetime:
    return datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(preferences.timezone))


def parse_quiet(text: str) -> tuple[int, int]:
    """Quiet hours such as 23:00-07:00 or 22-8, minutes of the day.

    Raises:
        InputError: when it is none, or of no length.
    """
    match = _QUIET.fullmatch(text.strip().replace("\u2013", "-"))
    if not match:
        raise InputError("Hours must look like 23:00-07:00, not {word!r}.", "/quiet 23:00-07:00", word=text[:20])
    start, end = (_minute_of(match[i], match[i + 1], match[i + 2]) for i in (1, 4))
    if start is None or end is None:
        raise InputError("Hours must look like 23:00-07:00, not {word!r}.", "/quiet 23:00-07:00", word=text[:20])
    if start == end:
        raise InputError("Quiet hours need a different start and end.", "/quiet 23:00-07:00")
    return start, end


def _minute_of(hours: str, minutes: str | None, half: str | None) -> int | None:
    """The minute of the day of a time on a clock of 24 hours, or of 12 with am or pm; None where there is none."""
    hour = int(hours)
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower().startswith("p") else 0)
    return hour * 60 + int(minutes or 0) if hour < 24 else None


def quiet_text(quiet: tuple[int, int] | None) -> str:
    """Quiet hours as people write them, empty for none."""
    if quiet is None:
        return ""
    return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in quiet)


def parse_timezone(text: str) -> str:
    """The name of a time zone such as Europe/Berlin, however it was capitalised, or an offset such as UTC+3.

    Raises:
        InputError: when there is none of that name.
    """
    name = re.sub(r"\s+", "_", text.strip())
    offset = _OFFSET.fullmatch(name)
    if offset and int(offset[2]) <= 14:
        return _zone_of_offset(offset[1], int(offset[2]), int(offset[3] or 0))
    found = _zones().get(name.casefold())
    if found is not None:
        return found
    city = "/" + name.casefold()
    places = sorted({zone for key, zone in _zones().items() if key.endswith(city)})
    known = [zone for zone in places if not zone.startswith(NO_CITIES)]
    if len(known or places) == 1:
        return (known or places)[0]
    if places:
        raise InputError("Which one: {zones}?", f"/timezone {places[0]}", zones=", ".join(places[:4]))
    raise InputError("Unknown time zone {word!r}.", "/timezone Europe/Berlin", word=text[:30])


NO_CITIES = ("Etc/", "US/", "Brazil/", "Canada/", "Mexico/", "Chile/")
_OFFSET = re.compile(r"(?:utc|gmt)?_?([+-])(\d{1,2})(?::?([0-5]\d))?", re.IGNORECASE)
_BROKEN = {
    ("+", 3, 30): "Asia/Tehran",
    ("+", 4, 30): "Asia/Kabul",
    ("+", 5, 30): "Asia/Kolkata",
    ("+", 5, 45): "Asia/Kathmandu",
    ("+", 6, 30): "Asia/Yangon",
    ("+", 8, 45): "Australia/Eucla",
    ("+", 9, 30): "Australia/Darwin",
    ("-", 9, 30): "Pacific/Marquesas",
}
"""Offsets of half hours and quarters, by the place that keeps to them all year."""

_SEASONAL = {
    ("-", 3, 30): "America/St_Johns",
    ("-", 2, 30): "America/St_Johns",
    ("+", 10, 30): "Australia/Adelaide",
    ("+", 12, 45): "Pacific/Chatham",
    ("+", 13, 45): "Pacific/Chatham",
}


def _zone_of_offset(sign: str, hours: int, minutes: int) -> str:
    """The zone that keeps to an offset.

    Raises:
        InputError: naming the place to write instead, where the offset is that of a season.
    """
    if not minutes:
        # In that database the signs are the other way round.
        return f"Etc/GMT{'-' if sign == '+' else '+'}{hours}" if hours else "UTC"
    if (zone := _BROKEN.get((sign, hours, minutes))) is not None:
        return zone
    shown = f"UTC{sign}{hours}:{minutes:02}"
    if (place := _SEASONAL.get((sign, hours, minutes))) is not None:
        raise InputError("{offset} applies only part of the year. Name a city.", f"/timezone {place}", offset=shown)
    raise InputError("No time zone uses {offset}. Name a city.", "/timezone Asia/Kolkata", offset=shown)
