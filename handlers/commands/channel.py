"""/channel and /preview: how the bot behaves in a group or channel, for its admins."""

from __future__ import annotations

import re
from dataclasses import replace

from engine.board import AssetBoard
from engine.errors import InputError
from engine.facts import cluster_facts, nearest, source_facts
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
"""The platform whose servers have several channels, so that commands can be confined to one."""

SHOWN = 7
_MENTION = re.compile(r"<@&(\d{5,20})>|(\d{5,20})")
_PLACE = re.compile(r"<#(\d{5,20})>|(-?\d{5,20}(?:/\d+)?)")
_ROOMS = {
    PUBLIC: N_("Members' commands: answered here"),
    PRIVATE: N_("Members' commands: answered privately"),
}


@command(
    "channel",
    "Show or change settings of this group or channel (admins)",
    EXAMPLE,
    Parameter("setting", "cap, role, commands or log", choices=("cap", "role", "commands", "log")),
    Parameter("value", "Such as 6, a role, off, public, private"),
    admin_only=True,
    group_only=True,
    hidden_from_members=True,
)
async def channel(request: Request, arguments: str) -> Answer:
    """Answer /channel [cap N | role R | commands public, private or a channel | log]."""
    if request.chat.kind == "private":
        raise InputError("That's for groups and channels. Here, use /settings.", "/settings")
    await require_admin(request)
    words = arguments.split()
    if words == [LOG]:
        return await _log(request)
    preferences = request.chat.preferences
    if words:
        setting = _SETTINGS.get(words[0].lower())
        if setting is None or len(words) != 2:
            raise InputError("Use cap, role or commands with a value, or log.", EXAMPLE)
        if setting is _room and request.platform != ROOMS_ON and words[1].lower() not in (PUBLIC, PRIVATE):
            raise InputError(
                "Use public, private or a channel, not {word!r}.", "/channel commands private", word=words[1][:30]
            )
        preferences = setting(preferences, words[1])
        await request.services.store.chats.save_preferences(request.chat.id, preferences)
    rules = await request.services.store.rules.of_chat(request.chat.id)
    alerts = "; ".join(f"{rule.text}, {wording.asset_or_all(rule.asset)}" for rule in rules) or _("none")
    role = (
        _("Role pinged for the largest: {role}", role=preferences.role)
        if preferences.role
        else _("Role pinged for the largest: none")
    )
    return Answer(
        _("{chat}: settings", chat=request.chat.title or _("this chat")),
        (
            _("Alerts: {rules}", rules=alerts),
            n_(
                "At most {count} alert message a day",
                "At most {count} alert messages a day",
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
        raise InputError("Cap must be 1 to 100 messages a day, not {word}.", EXAMPLE, word=word[:20])
    return replace(preferences, cap=int(word))


def _role(preferences: Preferences, word: str) -> Preferences:
    if word.lower() in ("off", "none"):
        return replace(preferences, role="")
    match = _MENTION.fullmatch(word)
    if match is None:
        raise InputError("{word!r} isn't a role. Mention one, or use off.", "/channel role off", word=word[:30])
    return replace(preferences, role=match[1] or match[2])


def _room(preferences: Preferences, word: str) -> Preferences:
    if word.lower() in (PUBLIC, PRIVATE):
        return replace(preferences, room=word.lower())
    match = _PLACE.fullmatch(word)
    if match is None:
        raise InputError("Use public, private or a channel, not {word!r}.", "/channel commands private", word=word[:30])
    return replace(preferences, room=match[1] or match[2])


_SETTINGS = {"cap": _cap, "role": _role, "commands": _room}


async def _log(request: Request) -> Answer:
    """List the latest changes to this chat's settings, with their authors."""
    rows = await request.services.store.chats.changes(request.chat.id, SHOWN)
    zone = request.chat.preferences.timezone
    lines = tuple(f"{wording.clock(row.at, zone)} {row.who or _('the chat')}: {row.what}" for row in rows)
    head = (
        n_("The last {count} change here", "The last {count} changes here", len(rows))
        if rows
        else _("No changes here yet.")
    )
    return Answer(head, lines, private=True)


@command("preview", "Send a marked test alert here (admins)", "/preview", admin_only=True, hidden_from_members=True)
async def preview(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # takes none
    """Answer /preview: queue an alert for the nearest cluster, marked as a test, like any alert."""
    await require_admin(request)
    services, now = request.services, request.now
    board = services.board(services.assets[0])
    facts = preview_facts(board, now)
    await services.store.outbox.add_message(request.chat.id, facts)
    services.wake()
    return Answer(_("Test alert on its way."), (_("It's marked as a test and doesn't count."),))


def preview_facts(board: AssetBoard, now: int) -> dict[str, object]:
    """Return the facts of a near alert for the nearest cluster, or of a test alert if there is none."""
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
