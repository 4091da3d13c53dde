"""/start, /help and /stop: the introduction, the list of commands, and switching a chat off."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from engine.errors import CliffwatchError, InputError
from engine.facts import source_facts
from handlers import wording
from handlers.access import CODE, STOPPED, allowed, claim, require_admin, resume
from handlers.answers import Answer, Button
from handlers.commands.liq import overview
from handlers.commands.map import DEFAULT_REACH, map_request
from handlers.commands.registry import THEMES, Parameter, command, find_command
from handlers.context import Request
from handlers.i18n import _, error_text, n_

LINK = "-"
"""Replaces spaces, which links cannot contain: /start liq-btc-88000 means /liq btc 88000."""


@command(
    "start",
    "Introduce the bot, show nearest clusters, send a test alert",
    "/start",
    Parameter("code", "The operator's code"),
    picture=True,
    for_strangers=True,
)
async def start(request: Request, arguments: str) -> Answer:
    """Answer /start [code or link]: three lines, the nearest clusters with a picture, and a test alert."""
    code = arguments if CODE.fullmatch(arguments) else ""  # links that add the bot to a group send other words here
    claimed = bool(code) and await claim(request, code)
    if not claimed and not await allowed(request):
        lines = [_("The operator can approve this chat: {command}", command=f"/admin approve {request.chat.id}")]
        if code:
            lines.insert(0, _("That code isn't valid."))
        return Answer(_("Cliffwatch. This bot is private."), tuple(lines))
    if (linked := await _linked(request, arguments)) is not None:
        return linked
    services = request.services
    with contextlib.suppress(TimeoutError):  # the first map is worth a wait of some seconds
        async with asyncio.timeout(request.patience_seconds):
            await services.ready.wait()
    by_admin = await request.by_admin()
    if by_admin:
        await resume(request)
        await services.store.outbox.add_message(request.chat.id, {"kind": "test"})
        services.wake()
    lines = [
        _("I alert you before price reaches levels where leveraged positions get liquidated."),
        _(
            "Watching {assets}. Every number shows its age and uncertainty.",
            assets=", ".join(services.assets[:8]),
        ),
        wording.disclaimer() + (" " + _("A test alert follows.") if by_admin else ""),
    ]
    answer = Answer(
        _("Cliffwatch: where leveraged positions break"),
        buttons=(
            Button(_("Alert me"), "/threshold normal"),
            Button(_("Clusters"), "/clusters"),
            Button(_("Map"), "/map"),
            *((Button(_("Quiet at night"), "/quiet 23:00-07:00"),) if await _may_be_asked(request) else ()),
            Button(_("Help"), "/help"),
        ),
    )
    try:
        asset = services.assets[0]
        board = services.board(asset)
        lines += overview(board, request.now).lines[:4]
        picture = map_request(request, board, DEFAULT_REACH)
        answer = replace(answer, picture=picture, footer=wording.sources(source_facts(board, request.now)))
    except CliffwatchError as error:
        lines.append(error_text(error))
    if claimed:
        lines.insert(0, _("You're now the operator of this bot."))
    return replace(answer, lines=tuple(lines))


async def _may_be_asked(request: Request) -> bool:
    """Return whether to offer quiet hours: in a private chat that has none and no alerts yet."""
    if request.chat.kind != "private" or request.chat.preferences.quiet is not None:
        return False
    return not await request.services.store.rules.of_chat(request.chat.id)


async def _linked(request: Request, arguments: str) -> Answer | None:
    """Return the answer to the command in a link such as t.me/bot?start=liq-btc-88000, or None."""
    name, *words = arguments.split(LINK)
    if name not in LINKED or not all(word.replace(".", "").isalnum() for word in words):
        return None
    return await find_command(name).run(request, " ".join(words))


LINKED = ("liq", "clusters", "map", "market", "rekt", "risk", "skill", "cascade")
"""Commands that a link may run: those that change nothing."""


@command(
    "help", "List all commands, or explain one", "/help liq", Parameter("command", "Command name"), for_strangers=True
)
async def help_(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # every command takes both
    """Answer /help [command]."""
    if arguments:
        entry = find_command(arguments.split(maxsplit=1)[0].lstrip("/").lower())
        words = [f"{p.name}: {_(p.help)}" for p in entry.parameters]
        example = _("Example: {example}", example=entry.example)
        return Answer(f"/{entry.name}: {_(entry.help)}", (*words, example))
    lines = tuple(f"{_(theme)}: {' '.join(f'/{name}' for name in names)}" for theme, names in THEMES.items())
    return Answer(_("Commands"), (*lines, _("/help liq explains one command.")), footer=wording.disclaimer())


@command("stop", "Stop all alerts here", "/stop", quieting=True, admin_only=True, for_own_chat=True)
async def stop(request: Request, arguments: str) -> Answer:
    """Answer /stop: switch the chat off; its rules are kept for /start."""
    await require_admin(request)
    if arguments:
        word = arguments.split(maxsplit=1)[0]
        only = f"/mute {word[:20].lower()} 2d"
        raise InputError(
            "/stop takes no arguments: it ends all alerts. One coin: {command}; one rule: /alerts", only, command=only
        )
    rules = await request.services.store.rules.of_chat(request.chat.id)
    await request.services.subscriptions.deactivate_chat(request.chat.id, STOPPED)
    kept = n_("{count} alert kept.", "{count} alerts kept.", len(rules)) if rules else ""
    return Answer(
        _("Stopped: no more messages here."),
        (" ".join(part for part in (kept, _("/start to resume.")) if part),),
        changed=True,
    )
