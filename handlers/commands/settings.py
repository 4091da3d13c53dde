"""/settings, /history and /forget: a chat's preferences, its latest alerts, and deletion of its data."""

from __future__ import annotations

from dataclasses import replace

from engine.messages import AlertLogEntry, DeliveryStatus
from engine.preferences import quiet_text
from handlers import wording
from handlers.access import require_admin
from handlers.answers import Answer, Button
from handlers.commands.arguments import unexpected
from handlers.commands.buttons import page_buttons, split_page
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import LANGUAGES, N_, _, language_of, n_

A_PAGE = 7
MAX_TOLD = 200
SURE = "yes"
COLOURS = ("light", "dark")

_STATUS = {
    DeliveryStatus.DELIVERED: N_("delivered"),
    DeliveryStatus.UNCONFIRMED: N_("delivery unconfirmed"),
    DeliveryStatus.WAITING: N_("pending"),
    DeliveryStatus.HELD: N_("held until quiet hours end"),
    DeliveryStatus.OVER_CAP: N_("not sent, daily cap reached"),
    DeliveryStatus.FAILED: N_("not delivered"),
}


@command(
    "settings", "Show this chat's settings", "/settings", Parameter("colours", "light or dark charts"), admin_only=True
)
async def settings(request: Request, arguments: str) -> Answer:
    """Answer /settings [light | dark]."""
    chat, services = request.chat, request.services
    preferences = chat.preferences
    wanted = arguments.strip().lower()
    if wanted not in ("", *COLOURS):
        raise unexpected(wanted, "/settings light")
    if wanted:
        await require_admin(request)
        preferences = replace(preferences, light=wanted == "light")
        await services.store.chats.save_preferences(chat.id, preferences)
    rules = await services.store.rules.of_chat(chat.id)
    mutes = [
        _("everything") if asset == "*" else asset for asset in services.subscriptions.mutes_of(chat.id, request.now)
    ]
    quiet = quiet_text(preferences.quiet) or _("none")
    if preferences.quiet and preferences.loud:
        quiet = _("{hours}, largest still come through", hours=quiet)
    on = _("Messages: on") if chat.active else _("Messages: off, /start to resume")
    own = language_of(preferences, request.locale if chat.kind == "private" else "")
    pictures = _("Charts: light") if preferences.light else _("Charts: dark")
    other = (_("Dark charts"), "dark") if preferences.light else (_("Light charts"), "light")
    return Answer(
        n_("{count} alert set here", "{count} alerts set here", len(rules)),
        (
            _("Quiet hours: {hours} ({timezone})", hours=quiet, timezone=preferences.timezone),
            _("At most {count} alert messages a day", count=preferences.cap),
            _("Muted: {assets}", assets=", ".join(mutes) or _("nothing")),
            _("Language: {name}", name=LANGUAGES[own]) + f" · {pictures}",
            on,
        ),
        buttons=(
            Button(_("My alerts"), "/alerts"),
            Button(_("Quiet hours"), "/quiet"),
            Button(_("History"), "/history"),
            Button(_("Language"), "/language"),
            Button(other[0], f"/settings {other[1]}", here=True),
        ),
        changed=bool(wanted),
    )


@command("history", "List recent alerts and their delivery status", "/history")
async def history(request: Request, arguments: str) -> Answer:
    """Answer /history [p2]."""
    page = split_page(arguments)[1]
    rows = await request.services.store.alerts.recent(request.chat.id, MAX_TOLD)
    if not rows:
        return Answer(_("No alerts here yet."), buttons=(Button(_("My alerts"), "/alerts"),))
    zone, start = request.chat.preferences.timezone, (page - 1) * A_PAGE
    lines = tuple(
        f"{wording.clock(row.at, zone)} {row.asset} {row.kind}: {_status_text(row)}"
        for row in rows[start : start + A_PAGE]
    )
    return Answer(
        n_("The last {count} alert here", "The last {count} alerts here", len(rows)),
        lines,
        buttons=(*page_buttons("/history", page, len(rows), A_PAGE), Button(_("My alerts"), "/alerts")),
    )


def _status_text(row: AlertLogEntry) -> str:
    status = _(_STATUS[row.status])
    return f"{status} ({row.error})" if row.status is DeliveryStatus.FAILED else status


@command(
    "forget",
    "Delete everything stored about this chat",
    "/forget",
    Parameter("sure", "yes"),
    admin_only=True,
    for_own_chat=True,
)
async def forget(request: Request, arguments: str) -> Answer:
    """Answer /forget [yes]."""
    await require_admin(request)
    if arguments.strip().lower() != SURE:
        return Answer(
            _("Delete all alerts, settings and pending messages of this chat?"),
            (_("This can't be undone. It doesn't touch database backups the operator has made."),),
            buttons=(Button(_("Delete everything"), f"/forget {SURE}", here=True),),
        )
    services, chat = request.services, request.chat
    count = await services.subscriptions.forget_chat(chat.id)
    return Answer(
        n_(
            "Deleted {count} row about this chat.",
            "Deleted {count} rows about this chat.",
            count,
        ),
        (_("/start to begin again."),),
    )
