"""How the program is doing: a verdict from ages, the oldest due message, platforms and ticks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEARTBEAT = "heartbeat"
"""Under which the running program leaves word of how it is."""

HEARTBEAT_SECONDS = 20.0
SILENT_MS = 120_000
STALE_SECONDS = 300.0
TICK_SECONDS = 120.0
DUE_SECONDS = 120.0
CLOCK_SECONDS = 30.0
START_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Signs:
    """What a verdict rests on.

    Attributes:
        ages: of each coin's figures, seconds; None where there is no map yet.
        tick_age: since the last tick, by the time that passed, seconds.
        oldest_due: how long the message has been due that waits longest, seconds; 0 where none does.
        platforms: the state of each chat platform, ok or what is wrong.
        dead: messages given up within a day.
        clock_ahead: of this machine against the venues', seconds; None where none has said.
        set_aside: coins and rows that are set aside.
        database: what is wrong with it, empty where nothing is.
        up: since when it runs, seconds.
        venues_well, venues: how many venues answer, and how many there are.
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
    """Return what is wrong, by what it is of, with a few words or figures each; empty where all is well."""
    found: dict[str, str] = {}
    settled = signs.up >= START_SECONDS
    stale = [name for name, age in signs.ages.items() if (age is None and settled) or (age or 0.0) > STALE_SECONDS]
    if stale:
        found["figures"] = ", ".join(stale[:5])
    if signs.tick_age > TICK_SECONDS and settled:
        found["ticks"] = f"{signs.tick_age:.0f} s"
    if signs.oldest_due > DUE_SECONDS:
        found["messages"] = f"{signs.oldest_due:.0f} s"
    down = [
        f"{name} {state}"
        for name, state in signs.platforms.items()
        if state != "ok" and (settled or state != "connecting")
    ]
    if down:
        found["platform"] = ", ".join(down)
    if signs.dead:
        found["dead"] = str(signs.dead)
    if signs.clock_ahead is not None and abs(signs.clock_ahead) > CLOCK_SECONDS:
        found["clock"] = f"{signs.clock_ahead:+.0f} s"
    if signs.set_aside:
        found["set aside"] = str(len(signs.set_aside))
    if signs.database:
        found["database"] = signs.database
    if signs.venues and 2 * signs.venues_well < signs.venues and settled:
        found["venues"] = f"{signs.venues_well} of {signs.venues}"
    return found


def heartbeat(at: int, signs: Signs) -> str:
    """Return a sign of life to be kept: when, and what was wrong."""
    return json.dumps({"at": at, "troubles": troubles(signs), "signs": asdict(signs)})


def read_heartbeat(text: str | None, now: int) -> tuple[list[str], bool]:
    """Return what a kept sign of life comes to: lines to print, and whether all is well."""
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
