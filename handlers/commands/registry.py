"""The command registry, and splitting of a command line into name and arguments."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from difflib import get_close_matches

from engine.errors import InputError
from handlers.answers import Answer
from handlers.context import Request
from handlers.i18n import N_

Run = Callable[[Request, str], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument, as slash commands show it.

    Attributes:
        kind: "asset", "price" or "rule" for autocomplete, empty for none.
        choices: all allowed values; empty if any is allowed.
    """

    name: str
    help: str
    kind: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        help: one line for a platform's menu, at most 100 characters.
        example: a command line that works.
        hidden: used by buttons, not shown in menus.
        aliases: other names that users try, accepted but not listed.
        picture: its answer may have a picture.
        quieting: it makes the bot quieter, and is exempt from the rate limit.
        admin_only: only admins may use it in a group.
        hidden_from_members: a platform may hide it from everyone but admins.
        group_only: it makes no sense in a private chat.
        operator_only: for operators, in a private chat with the bot; in no public menu.
        for_strangers: it works in chats that are not approved.
        for_own_chat: it works in a private chat that is not approved (any more).
    """

    name: str
    help: str
    example: str
    run: Run
    parameters: tuple[Parameter, ...] = ()
    hidden: bool = False
    aliases: tuple[str, ...] = ()
    picture: bool = False
    quieting: bool = False
    admin_only: bool = False
    hidden_from_members: bool = False
    group_only: bool = False
    operator_only: bool = False
    for_strangers: bool = False
    for_own_chat: bool = False


THEMES: dict[str, tuple[str, ...]] = {
    N_("Levels"): ("liq", "clusters", "map", "cascade"),
    N_("Market"): ("market", "rekt", "risk", "skill"),
    N_("Alerts"): ("threshold", "alert", "alerts", "history"),
    N_("When"): ("mute", "quiet", "timezone"),
    N_("Here"): ("settings", "language", "start", "stop", "export", "forget"),
    N_("Groups"): ("subscribe", "unsubscribe", "channel", "preview"),
    N_("Me"): ("status", "help"),
}
MENU = tuple(name for names in THEMES.values() for name in names)
"""Order of /help and of the platforms' menus, most used first."""

OTHER_WORDS = {
    **dict.fromkeys(("remove", "delete"), "/alerts remove 1"),
    "pause": "/alerts pause 1",
    "resume": "/alerts resume 1",
    "undo": "/alerts",
    "price": "/market btc",
    "funding": "/market btc",
    "oi": "/market btc",
}
"""Words that users take for commands, each with the command line they probably mean."""

_COMMANDS: dict[str, Command] = {}
_ALIASES: dict[str, str] = {}
_NAME = re.compile(r"/?([A-Za-z]+)(?:@\w+)?(?:\s+|$)")


def command(
    name: str,
    help_text: str,
    example: str,
    *parameters: Parameter,
    aliases: tuple[str, ...] = (),
    **flags: bool,
) -> Callable[[Run], Run]:
    """Register a function as a command.

    Args:
        flags: the boolean fields of Command.

    Raises:
        ValueError: when the name is taken.
    """

    def register(run: Run) -> Run:
        for each in (name, *aliases):
            if each in _COMMANDS or each in _ALIASES:
                raise ValueError(f"two commands have the name {each}")
        _COMMANDS[name] = Command(name, help_text, example, run, parameters, aliases=aliases, **flags)
        _ALIASES.update(dict.fromkeys(aliases, name))
        return run

    return register


def all_commands(*, hidden: bool = False) -> tuple[Command, ...]:
    """Return the menu commands in order, with hidden=True also the hidden ones."""
    ordered = sorted(_COMMANDS.values(), key=lambda c: MENU.index(c.name) if c.name in MENU else len(MENU))
    return tuple(c for c in ordered if hidden or not c.hidden)


def names_of(flag: str) -> frozenset[str]:
    """Return the names of the commands that have a flag, such as admin_only."""
    return frozenset(c.name for c in _COMMANDS.values() if getattr(c, flag))


def is_command(name: str) -> bool:
    """Return whether there is a command or alias of that name."""
    return _ALIASES.get(name, name) in _COMMANDS


def find_command(name: str) -> Command:
    """Return the command of that name or alias.

    Raises:
        InputError: when there is none; it names a similar command if there is one.
    """
    name = _ALIASES.get(name, name)
    if name in _COMMANDS:
        return _COMMANDS[name]
    if name in OTHER_WORDS:
        raise InputError("No /{name} command. See /help for the list.", OTHER_WORDS[name], name=name)
    close = get_close_matches(name, [c.name for c in all_commands()], n=1, cutoff=0.5)
    if not name:
        raise InputError("Commands start with /. See /help for the list.", "/liq 88000")
    if close:
        raise InputError("No /{name} command. Did you mean /{close}?", "/liq 88000", name=name[:20], close=close[0])
    raise InputError("No /{name} command. See /help for the list.", "/liq 88000", name=name[:20])


def split(text: str) -> tuple[str, str]:
    """Return the name (lower case, without / and @bot) and the arguments of a command line."""
    match = _NAME.match(text.strip())
    if not match:
        return "", ""
    return match[1].lower(), text.strip()[match.end() :].strip()
