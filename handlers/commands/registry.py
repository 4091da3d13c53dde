"""The registry: every command with its words, and how a line is split into name and arguments."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from difflib import get_close_matches

from engine.errors import InputError
from handlers.answers import Answer
from handlers.context import Request

Run = Callable[[Request, str], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument as slash commands show it."""

    name: str
    help: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        help: one line, at most 100 characters, that a platform's menu can show.
        example: a line that works.
        hidden: given by buttons; not in menus.
        aliases: other names people try; understood, not listed.
    """

    name: str
    help: str
    example: str
    run: Run
    parameters: tuple[Parameter, ...] = ()
    hidden: bool = False
    aliases: tuple[str, ...] = ()


THEMES: dict[str, tuple[str, ...]] = {
    "Levels": ("liq", "clusters", "map", "cascade"),
    "Market": ("market", "rekt", "risk", "skill"),
    "Alerts": ("threshold", "alert", "alerts", "history"),
    "When": ("mute", "quiet", "timezone"),
    "Here": ("settings", "subscribe", "unsubscribe", "start", "stop", "forget"),
    "Me": ("status", "help"),
}
MENU = tuple(name for names in THEMES.values() for name in names)
"""The order of /help and of the platforms' menus: what is asked most comes first."""

_COMMANDS: dict[str, Command] = {}
_ALIASES: dict[str, str] = {}
_NAME = re.compile(r"/?([A-Za-z]+)(?:@\w+)?(?:\s+|$)")


def command(
    name: str,
    help_text: str,
    example: str,
    *parameters: Parameter,
    hidden: bool = False,
    aliases: tuple[str, ...] = (),
) -> Callable[[Run], Run]:
    """Register a function as a command.

    Raises:
        ValueError: when the name is taken.
    """

    def register(run: Run) -> Run:
        for called in (name, *aliases):
            if called in _COMMANDS or called in _ALIASES:
                raise ValueError(f"two commands are called {called}")
        _COMMANDS[name] = Command(name, help_text, example, run, parameters, hidden, aliases)
        _ALIASES.update(dict.fromkeys(aliases, name))
        return run

    return register


def all_commands(*, hidden: bool = False) -> tuple[Command, ...]:
    """The commands of the menus, in order; with hidden, those of buttons too."""
    ordered = sorted(_COMMANDS.values(), key=lambda c: MENU.index(c.name) if c.name in MENU else len(MENU))
    return tuple(c for c in ordered if hidden or not c.hidden)


def find_command(name: str) -> Command:
    """The command of that name.

    Raises:
        InputError: naming the nearest one.
    """
    name = _ALIASES.get(name, name)
    if name in _COMMANDS:
        return _COMMANDS[name]
    close = get_close_matches(name, [c.name for c in all_commands()], n=1, cutoff=0.5)
    hint = f"Did you mean /{close[0]}?" if close else "/help lists what I know."
    raise InputError(f"There is no /{name[:20]}. {hint}" if name else f"A command begins with /. {hint}", "/liq 88000")


def split(text: str) -> tuple[str, str]:
    """Name (lower case, without / and @bot) and arguments of a command line."""
    match = _NAME.match(text.strip())
    if not match:
        return "", ""
    return match[1].lower(), text.strip()[match.end() :].strip()
