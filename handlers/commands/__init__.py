"""The commands: one registry, one file per feature, one way in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from engine.errors import CliffwatchError, InputError, NotReadyError
from handlers import wording
from handlers.access import FREE_COMMANDS, allowed
from handlers.answers import Answer, Button
from handlers.commands import (
    admin,
    alerts,
    cascade,
    clusters,
    liq,
    market,
    mute,
    quiet,
    rekt,
    risk,
    settings,
    skill,
    start,
    status,
    subscribe,
    why,
)
from handlers.commands import map as map_command
from handlers.commands.arguments import WithheldError
from handlers.commands.registry import Command, all_commands, find_command, split
from handlers.context import Request
from handlers.numbers import MOST_TEXT, DidYouMeanError, clean, label

__all__ = ["Command", "all_commands", "answer", "find_command"]

log = logging.getLogger(__name__)

_FEATURES = (
    *(start, liq, clusters, map_command, market, rekt, risk, cascade, skill),
    *(alerts, mute, quiet, settings, subscribe, status, why, admin),
)
"""Imported for what they register."""


async def answer(request: Request) -> Answer:
    """Answer one command line. Never raises: what goes wrong is told in one line, with an example that works."""
    # What cannot be sent back must not come in: lone surrogates and control characters.
    request = replace(request, text=clean(request.text))
    name, _ = split(request.text)
    try:
        found = await _answer(request)
    except DidYouMeanError as error:
        command = f"/{name} {error.asset}{error.price:.6g}"
        found = Answer(str(error), (f"Then: {command}",), buttons=(Button(label(error.price), command),))
    except WithheldError as error:
        found = error.answer
    except InputError as error:
        lines = (f"Try: {error.example}",) if error.example else ()
        found = Answer(str(error), lines)
    except CliffwatchError as error:
        found = Answer(str(error))
    except Exception:
        log.exception("command /%s failed", name[:20])
        found = Answer("Something went wrong here. It has been noted for the operator; nothing of yours is lost.")
    if request.services.simulated:
        found = replace(found, headline=f"[{wording.SIMULATED}] {found.headline}")
    return found


async def _answer(request: Request) -> Answer:
    name, arguments = split(request.text)
    command = find_command(name)
    if name not in FREE_COMMANDS and not await allowed(request):
        return Answer(
            "This bot is private.",
            (f"Its operator can let this chat in: /admin approve {request.chat.id}",),
            private=True,
        )
    try:
        return await command.run(request, arguments[:MOST_TEXT])
    except NotReadyError:
        if request.services.ready.is_set():
            raise
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(request.services.ready.wait(), request.patience_seconds)
    return await command.run(request, arguments[:MOST_TEXT])
