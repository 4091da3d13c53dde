"""A chat's preferences: time zone, quiet hours, daily cap, language. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from engine.errors import InputError

CAP = {"private": 6, "group": 12, "channel": 12}
"""Default daily cap, messages with alerts, by kind of chat."""

PUBLIC, PRIVATE = "public", "private"
NO_PLACES = frozenset({"Factory", "localtime", "posixrules", "leapseconds", "tzdata.zi"})

_TIME = r"(\d{1,2})(?:[:.h]([0-5]\d))?\s*(?:h|hrs?|uhr|o'clock)?\s*([ap]\.?m\.?)?"
_QUIET = re.compile(rf"(?:from\s+)?{_TIME}\s*(?:-|to|until|till)\s*{_TIME}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Preferences:
    """A chat's preferences.

    Attributes:
        timezone: name in the time zone database.
        quiet: start and end of quiet hours, minutes of the local day; None for none.
        loud: alerts of the top tier come through quiet hours.
        cap: daily cap, messages with alerts.
        language: tag of the chosen language, empty for the platform's.
        locale: language that the platform last reported.
        light: pictures are dark on white.
        role: the platform's id of the role to mention in alerts of the top tier, empty for none.
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
    """Return when the current quiet hours end, UTC ms, or None outside quiet hours.

    Their end is a local time, also if the clocks change in between.
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
    # If that hour comes twice, use the later one: the earlier may be over already.
    ends = datetime.combine(day, time(end // 60, end % 60, fold=1), ZoneInfo(preferences.timezone))
    return max(int(ends.timestamp() * 1000), now + 1)


def day_start(preferences: Preferences, now: int) -> int:
    """Return the chat's last local midnight, UTC ms."""
    midnight = datetime.combine(_local(preferences, now).date(), time(), ZoneInfo(preferences.timezone))
    return int(midnight.timestamp() * 1000)


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    """Return the names of time zones by their casefolded form.

    Only names of the database that comes with the program: others, such as localtime, differ between machines.
    """
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return {name.casefold(): name for name in names if name not in NO_PLACES}


@lru_cache(maxsize=1024)
def is_timezone(name: str) -> bool:
    """Return whether a name is that of a time zone that can be loaded."""
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
    """Return quiet hours such as 23:00-07:00 or 22-8, in minutes of the day.

    Raises:
        InputError: when they are not valid, or start and end are the same.
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
    """Return the minute of the day of a 24-hour time, or a 12-hour one with am or pm; None if it is not valid."""
    hour = int(hours)
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower().startswith("p") else 0)
    return hour * 60 + int(minutes or 0) if hour < 24 else None


def quiet_text(quiet: tuple[int, int] | None) -> str:
    """Return quiet hours as users write them, empty for none."""
    if quiet is None:
        return ""
    return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in quiet)


def parse_timezone(text: str) -> str:
    """Return the name of a time zone, from Europe/Berlin in any case, a city, or an offset such as UTC+3.

    Raises:
        InputError: when there is none of that name, or several.
    """
    name = re.sub(r"\s+", "_", text.strip())
    offset = _OFFSET.fullmatch(name)
    if offset and int(offset[2]) <= 14:
        return _zone_of_offset(offset[1], int(offset[2]), int(offset[3] or 0))
    exact = _zones().get(name.casefold())
    if exact is not None:
        return exact
    city = "/" + name.casefold()
    places = sorted({zone for key, zone in _zones().items() if key.endswith(city)})
    preferred = [zone for zone in places if not zone.startswith(NO_CITIES)]
    if len(preferred or places) == 1:
        return (preferred or places)[0]
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
"""Places that use an offset of half or quarter hours all year."""

_SEASONAL = {
    ("-", 3, 30): "America/St_Johns",
    ("-", 2, 30): "America/St_Johns",
    ("+", 10, 30): "Australia/Adelaide",
    ("+", 12, 45): "Pacific/Chatham",
    ("+", 13, 45): "Pacific/Chatham",
}


def _zone_of_offset(sign: str, hours: int, minutes: int) -> str:
    """Return the time zone that uses an offset.

    Raises:
        InputError: when none uses it all year; for a seasonal offset it names a place to use instead.
    """
    if not minutes:
        # The names in the database have opposite signs.
        return f"Etc/GMT{'-' if sign == '+' else '+'}{hours}" if hours else "UTC"
    if (zone := _BROKEN.get((sign, hours, minutes))) is not None:
        return zone
    shown = f"UTC{sign}{hours}:{minutes:02}"
    if (place := _SEASONAL.get((sign, hours, minutes))) is not None:
        raise InputError("{offset} applies only part of the year. Name a city.", f"/timezone {place}", offset=shown)
    raise InputError("No time zone uses {offset}. Name a city.", "/timezone Asia/Kolkata", offset=shown)
