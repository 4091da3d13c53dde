"""/channel and /preview: how the bot behaves in a group or channel, for its admins."""

from __future__ import annotations

import re
from dataclasses import replace

from engine.announce import cluster_facts, nearest, source_facts
from engine.board import AssetBoard
from engine.errors import InputError
from engine.market import Side
from engine.preferences import PRIVATE, PUBLIC, Preferences
from handlers import wording
from handlers.access import require_admin
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import LANGUAGES, N_, _, language_of, n_

EXAMPLE = "/channel cap 6"
CAPS = (1, 100)
LOG = "log"
ROOMS_ON = "discord"
"""The platform whose channels lie beside each other, so that commands can be kept to one."""

SHOWN = 7
_MENTION = re.compile(r"<@&(\d{5,20})>|(\d{5,20})")
_PLACE = re.compile(r"<#(\d{5,20})>|(-?\d{5,20}(?:/\d+)?)")
_ROOMS = {
    PUBLIC: N_("Members' commands: answered here"),
    PRIVATE: N_("Members' commands: answered to them alone"),
}


@command(
    "channel",
    "How I behave in this group or channel (admins)",
    EXAMPLE,
    Parameter("setting", "cap, role, commands or log", choices=("cap", "role", "commands", "log")),
    Parameter("value", "Such as 6, a role, off, public, private"),
)
async def channel(request: Request, arguments: str) -> Answer:
    """Answer /channel [cap N | role R | commands public, private or a channel | log]."""
    if request.chat.kind == "private":
        raise InputError("That is for a group or channel; yours are /settings.", "/settings")
    await require_admin(request)
    words = arguments.split()
    if words == [LOG]:
        return await _log(request)
    preferences = request.chat.preferences
    if words:
        setting = _SETTINGS.get(words[0].lower())
        if setting is None or len(words) != 2:
            raise InputError("Say cap, role or commands and a value, or log.", EXAMPLE)
        if setting is _room and request.platform != ROOMS_ON and words[1].lower() not in (PUBLIC, PRIVATE):
            raise InputError(
                "{word!r} is neither public, private nor a channel.", "/channel commands private", word=words[1][:30]
            )
        preferences = setting(preferences, words[1])
        await request.services.store.save_preferences(request.chat.id, preferences)
    rules = await request.services.store.rules_of_chat(request.chat.id)
    alerts = "; ".join(f"{rule.text}, {wording.asset_or_all(rule.asset)}" for rule in rules) or _("none")
    role = (
        _("Role for the largest: {role}", role=preferences.role)
        if preferences.role
        else _("Role for the largest: none")
    )
    return Answer(
        _("{chat}: profile", chat=request.chat.title or _("this chat")),
        (
            _("Alerts: {rules}", rules=alerts),
            n_(
                "At most {count} message with alerts a day",
                "At most {count} messages with alerts a day",
                preferences.cap,
            ),
            role,
            _(_ROOMS[preferences.room])
            if preferences.room in _ROOMS
            else _("Members' commands: only in {room}", room=f"<#{preferences.room}>"),
            _("Language: {name}", name=LANGUAGES[language_of(preferences)]) + f" · {preferences.timezone}",
        ),
        buttons=(
            Button(_("Preview"), "/preview"),
            Button(_("Log"), "/channel log"),
            Button(_("Language"), "/language"),
            Button(_("Answer privately"), "/channel commands private", here=True)
            if preferences.room == PUBLIC
            else Button(_("Answer here"), "/channel commands public", here=True),
        ),
        changed=bool(words),
    )


def _cap(preferences: Preferences, word: str) -> Preferences:
    if not word.isdecimal() or len(word) > 6 or not CAPS[0] <= int(word) <= CAPS[1]:
        raise InputError("A cap lies between 1 and 100 messages a day, not {word}.", EXAMPLE, word=word[:20])
    return replace(preferences, cap=int(word))


def _role(preferences: Preferences, word: str) -> Preferences:
    if word.lower() in ("off", "none"):
        return replace(preferences, role="")
    match = _MENTION.fullmatch(word)
    if match is None:
        raise InputError("{word!r} is not a role: mention it, or say off.", "/channel role off", word=word[:30])
    return replace(preferences, role=match[1] or match[2])


def _room(preferences: Preferences, word: str) -> Preferences:
    if word.lower() in (PUBLIC, PRIVATE):
        return replace(preferences, room=word.lower())
    match = _PLACE.fullmatch(word)
    if match is None:
        raise InputError(
            "{word!r} is neither public, private nor a channel.", "/channel commands private", word=word[:30]
        )
    return replace(preferences, room=match[1] or match[2])


_SETTINGS = {"cap": _cap, "role": _role, "commands": _room}


async def _log(request: Request) -> Answer:
    """Who changed what here last."""
    rows = await request.services.store.changes(request.chat.id, SHOWN)
    zone = request.chat.preferences.timezone
    lines = tuple(f"{wording.clock(row.at, zone)} {row.who or _('the chat')}: {row.what}" for row in rows)
    head = (
        n_("The last {count} change here", "The last {count} changes here", len(rows))
        if rows
        else _("Nothing was changed here yet.")
    )
    return Answer(head, lines, private=True)


@command("preview", "A marked test alert as it will look here (admins)", "/preview")
async def preview(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # takes none
    """Answer /preview: the alert of the nearest cluster, marked as a test, on the way that alerts take."""
    await require_admin(request)
    services, now = request.services, request.now
    board = services.board(services.assets[0])
    facts = preview_facts(board, now)
    await services.store.add_message(request.chat.id, facts)
    services.wake()
    return Answer(_("A test alert is on its way here."), (_("It is marked, and counts for nothing."),))


def preview_facts(board: AssetBoard, now: int) -> dict[str, object]:
    """What a near alert of the nearest cluster would say now; a test alert where there is none."""
    mark = board.view.mark
    sides: tuple[Side, Side] = ("long", "short")
    clusters = [cluster for side in sides if (cluster := nearest(board, side, mark)) is not None]
    if not clusters:
        return {"kind": "test"}
    cluster = min(clusters, key=lambda c: c.distance(mark))
    return {
        "kind": "near",
        "preview": True,
        "asset": board.asset,
        "at": now,
        "side": cluster.side,
        "price": mark,
        "mark": mark,
        "distance": abs(cluster.distance(mark)),
        "cluster": cluster_facts(board, cluster, now),
        "forced_usd": cluster.forced_usd,
        "forced_low_usd": cluster.forced_low_usd,
        "forced_high_usd": cluster.forced_high_usd,
        **source_facts(board, now, cluster.far_price),
    }
