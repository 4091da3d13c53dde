"""Dispatch of command lines: run the command and turn every error into an answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from engine.errors import CliffwatchError, InputError, NotReadyError
from handlers import wording
from handlers.access import alive, allowed
from handlers.answers import Answer, Button
from handlers.budget import PICTURE_COST
from handlers.commands import (
    admin,
    alerts,
    cascade,
    channel,
    clusters,
    export,
    language,
    liq,
    market,
    mute,
    prompts,
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
from handlers.commands.registry import Command, all_commands, find_command, is_command, split
from handlers.context import Request
from handlers.i18n import _, error_text, language_of, use_language
from handlers.numbers import MAX_TEXT, DidYouMeanError, clean, label

__all__ = ["Command", "all_commands", "answer", "answer_within_budget", "find_command"]

log = logging.getLogger(__name__)

_FEATURES = (
    *(start, liq, clusters, map_command, market, rekt, risk, cascade, skill),
    *(alerts, mute, quiet, settings, language, export, subscribe, channel, status, why, prompts, admin),
)
"""Imported so that they register their commands."""


async def answer(request: Request) -> Answer:
    """Answer one command line, in the chat's language.

    Never raises; see _answered for what each error becomes.
    """
    # Lone surrogates and control characters could not be sent back in an answer.
    request = replace(request, text=clean(request.text))
    request = await alive(request)
    with use_language(language_of(request.chat.preferences, request.locale)):
        return await _answered(request)


async def answer_within_budget(request: Request) -> Answer | None:
    """Answer within the sender's rate limit. Return None if the limit notice was sent already."""
    services = request.services
    person = (request.platform, request.user_id)
    verdict = services.budget.spend(person, str(request.chat.id), services.wall.now(), _cost(request))
    if verdict == "yes" or await request.by_operator():
        return await answer(request)
    if verdict == "silence":
        return None
    with use_language(language_of(request.chat.preferences, request.locale)):
        return Answer(_("Too many requests. Try again in a minute."), notice=True)


def _cost(request: Request) -> float:
    """Return what a command costs of the rate limit; commands that make the bot quieter are free."""
    try:
        command = find_command(split(request.text)[0])
    except InputError:
        return 1.0
    if command.quieting and (request.chat.approved or request.services.access == "open"):
        return 0.0
    return PICTURE_COST if command.picture else 1.0


async def _answered(request: Request) -> Answer:
    """Answer a command line; an error becomes an answer. The first that applies:

    1. DidYouMeanError: what the user probably meant, as a button.
    2. WithheldError: the answer it carries, as the data is too stale to quote.
    3. InputError: its text, with a working example.
    4. CliffwatchError: its text, such as that a map is not ready.
    5. Anything else: logged with its traceback, and an apology that names no detail.
    """
    name = split(request.text)[0]
    try:
        reply = await _answer(request)
    except DidYouMeanError as error:
        command = f"/{name} {error.asset}{error.price:.6g}"
        if name != "liq" and error.typed in request.text:
            command = request.text.replace(error.typed, f"{error.price:.6g}", 1)
        then = _("If so: {command}", command=command)
        reply = Answer(error_text(error), (then,), buttons=(Button(label(error.price), command),))
    except WithheldError as error:
        reply = error.answer
    except InputError as error:
        example = error.example if error.example.startswith("/") or not error.example else f"/{name} {error.example}"
        lines = (_("Try: {example}", example=example),) if example else ()
        reply = Answer(error_text(error), lines)
    except CliffwatchError as error:
        reply = Answer(error_text(error))
    except Exception:
        log.exception("command /%s failed", name[:20])
        reply = Answer(_("Something went wrong. The error has been logged; your alerts are unaffected."))
    if request.services.simulated:
        reply = replace(reply, headline=f"[{_(wording.SIMULATED)}] {reply.headline}")
    return reply


async def _answer(request: Request) -> Answer:
    name, arguments = split(request.text)
    if name.upper() in request.services.assets and not is_command(name):
        name, arguments = "liq", f"{name} {arguments}".strip()  # /btc, /eth 3000
    command = find_command(name)
    own = command.for_own_chat and request.chat.kind == "private"
    if not command.for_strangers and not own and not await allowed(request):
        await request.services.store.chats.note_asked(request.chat.id)
        return Answer(
            _("This bot is private."),
            (_("The operator can approve this chat: {command}", command=f"/admin approve {request.chat.id}"),),
        )
    try:
        reply = await command.run(request, arguments[:MAX_TEXT])
    except NotReadyError:
        if request.services.ready.is_set():
            raise
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.patience_seconds):
                await request.services.ready.wait()
        reply = await command.run(request, arguments[:MAX_TEXT])
    if reply.changed and request.chat.kind != "private":
        await request.services.store.chats.log_change(request.chat.id, request.user_id, request.text[:MAX_TEXT])
    return reply
