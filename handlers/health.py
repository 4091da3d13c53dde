"""Health of the program: a verdict from data ages, the oldest due message, platforms and ticks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEARTBEAT = "heartbeat"
"""Key under which the running program stores its heartbeat."""

HEARTBEAT_SECONDS = 20.0
SILENT_MS = 120_000
STALE_SECONDS = 300.0
TICK_SECONDS = 120.0
DUE_SECONDS = 120.0
CLOCK_SECONDS = 30.0
START_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Signs:
    """Inputs of the health verdict.

    Attributes:
        ages: age of each coin's data, seconds, or None before its first map.
        tick_age: seconds since the last tick, on the monotonic clock.
        oldest_due: seconds since the oldest waiting message was due, 0 if none is.
        platforms: state of each chat platform, ok or its problem.
        dead: dead letters of the last day.
        clock_ahead: how far this machine's clock is ahead of the venues', seconds; None if unknown.
        set_aside: coins and rows that are set aside.
        database: problem of the database, empty if none.
        up: uptime, seconds.
        venues_well, venues: number of venues in state ok, and of all venues.
    """

    ages: Mapping[str, float | None] = field(default_factory=dict)
    tick_age: float = 0.0
    oldest_due: float = 0.0
    platforms: Mapping[str, str] = field(default_factory=dict)
    dead: int = 0
    clock_ahead: float | None = None
    set_aside: Sequence[str] = ()
    database: str = ""
    up: float = START_SECONDS
    venues_well: int = 0
    venues: int = 0


def troubles(signs: Signs) -> dict[str, str]:
    """Return the problems by area, each with a short description; empty if all is well."""
    problems: dict[str, str] = {}
    settled = signs.up >= START_SECONDS
    stale = [name for name, age in signs.ages.items() if (age is None and settled) or (age or 0.0) > STALE_SECONDS]
    if stale:
        problems["figures"] = ", ".join(stale[:5])
    if signs.tick_age > TICK_SECONDS and settled:
        problems["ticks"] = f"{signs.tick_age:.0f} s"
    if signs.oldest_due > DUE_SECONDS:
        problems["messages"] = f"{signs.oldest_due:.0f} s"
    down = [
        f"{name} {state}"
        for name, state in signs.platforms.items()
        if state != "ok" and (settled or state != "connecting")
    ]
    if down:
        problems["platform"] = ", ".join(down)
    if signs.dead:
        problems["dead"] = str(signs.dead)
    if signs.clock_ahead is not None and abs(signs.clock_ahead) > CLOCK_SECONDS:
        problems["clock"] = f"{signs.clock_ahead:+.0f} s"
    if signs.set_aside:
        problems["set aside"] = str(len(signs.set_aside))
    if signs.database:
        problems["database"] = signs.database
    if signs.venues and 2 * signs.venues_well < signs.venues and settled:
        problems["venues"] = f"{signs.venues_well} of {signs.venues}"
    return problems


def heartbeat(at: int, signs: Signs) -> str:
    """Return a heartbeat to store: its time, the problems, and the inputs of the verdict."""
    return json.dumps({"at": at, "troubles": troubles(signs), "signs": asdict(signs)})


def read_heartbeat(text: str | None, now: int) -> tuple[list[str], bool]:
    """Return lines to print for a stored heartbeat, and whether all is well."""
    try:
        row: dict[str, Any] = dict(json.loads(text or "{}"))
        at, wrong = int(row["at"]), {str(name): str(words) for name, words in dict(row["troubles"]).items()}
    except (ValueError, TypeError, KeyError):
        return ["no sign of life has ever been left"], False
    silent = now - at
    if not -SILENT_MS <= silent <= SILENT_MS:
        return [f"no sign of life for {silent / 1000:.0f} s"], False
    lines = [f"{name}: {words}" for name, words in wrong.items()]
    return lines or [f"well {max(silent, 0) / 1000:.0f} s ago"], not wrong
