"""/quiet and /timezone: a chat's quiet hours and the time zone they are in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from engine.preferences import Preferences, parse_quiet, parse_timezone, quiet_text
from handlers.access import require_admin
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import _

LOUD = "loud"


@command(
    "quiet",
    "Set hours when alerts are held, then summed up",
    "/quiet 23:00-07:00",
    Parameter("hours", "Such as 23:00-07:00, plus loud to let the largest through, or off"),
    admin_only=True,
)
async def quiet(request: Request, arguments: str) -> Answer:
    """Answer /quiet [hours [loud] | off]."""
    preferences = request.chat.preferences
    if not arguments:
        return Answer(_said(preferences), (_clock(preferences, request.now),), buttons=_buttons(preferences))
    await require_admin(request)
    words = arguments.lower().split()
    loud = LOUD in words
    hours = " ".join(word for word in words if word != LOUD)
    preferences = replace(preferences, quiet=None if hours == "off" else parse_quiet(hours), loud=loud)
    await request.services.store.chats.save_preferences(request.chat.id, preferences)
    return Answer(_said(preferences), (_clock(preferences, request.now),), buttons=_buttons(preferences), changed=True)


@command(
    "timezone",
    "Set the time zone for quiet hours",
    "/timezone Europe/Berlin",
    Parameter("zone", "Europe/Berlin"),
    admin_only=True,
)
async def timezone(request: Request, arguments: str) -> Answer:
    """Answer /timezone [name]."""
    preferences = request.chat.preferences
    if arguments:
        await require_admin(request)
        preferences = replace(preferences, timezone=parse_timezone(arguments))
        await request.services.store.chats.save_preferences(request.chat.id, preferences)
    head = _("This chat's time zone is {timezone}", timezone=preferences.timezone)
    buttons = (Button(_("Change it"), "/timezone ?"),)
    return Answer(head, (_clock(preferences, request.now),), buttons=buttons, changed=bool(arguments))


def _said(preferences: Preferences) -> str:
    if preferences.quiet is None:
        return _("No quiet hours: alerts come any time")
    hours = quiet_text(preferences.quiet)
    if preferences.loud:
        return _("Quiet {hours}: alerts are held, then sent as one message; largest still come through", hours=hours)
    return _("Quiet {hours}: alerts are held, then sent as one message", hours=hours)


def _clock(preferences: Preferences, now: int) -> str:
    local = datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(preferences.timezone))
    return _(
        "It's {time} here ({timezone}). Change with /timezone.", time=f"{local:%H:%M}", timezone=preferences.timezone
    )


def _buttons(preferences: Preferences) -> tuple[Button, ...]:
    if preferences.quiet is None:
        return (
            Button("23:00-07:00", "/quiet 23:00-07:00", here=True),
            Button(_("Other hours"), "/quiet ?"),
            Button(_("Time zone"), "/timezone ?"),
        )
    other = f"/quiet {quiet_text(preferences.quiet)}" + ("" if preferences.loud else f" {LOUD}")
    return (
        Button(_("Hold the largest too") if preferences.loud else _("Let the largest through"), other, here=True),
        Button(_("Other hours"), "/quiet ?"),
        Button(_("Off"), "/quiet off", here=True),
    )
