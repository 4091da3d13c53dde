"""Messages other than alerts: to operators, to subscribers, on a chat's own state. Facts in, an Answer out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from handlers import wording
from handlers.answers import Answer, Button
from handlers.i18n import N_, _, n_

Facts = Mapping[str, Any]


def _full(facts: Facts) -> Answer:
    cap = facts["cap"]
    return Answer(
        n_(
            "Daily cap reached ({count} alert message): no more until midnight",
            "Daily cap reached ({count} alert messages): no more until midnight",
            cap,
        ),
        (
            _("Midnight {timezone}. Sweeps of the largest clusters still come through.", timezone=facts["timezone"]),
            _("For fewer, larger ones: {command}", command="/threshold calm"),
        ),
        buttons=(Button(_("Calm"), "/threshold calm"), Button(_("My alerts"), "/alerts")),
    )


def _undelivered(facts: Facts) -> Answer:
    return Answer(
        _("Couldn't deliver a message to chat {chat}: {error}", chat=facts["chat"], error=facts["error"]),
        (
            _(
                "It's #{message}. /admin dead lists failed messages, /admin resend retries them.",
                message=facts["message"],
            ),
        ),
        buttons=(Button(_("Failed"), "/admin dead"),),
    )


def _welcome(facts: Facts) -> Answer:
    count = facts["rules"]
    head = (
        n_("Welcome back: your alert is on again", "Welcome back: your {count} alerts are on again", count)
        if count
        else _("Welcome back: no alerts are set")
    )
    return Answer(
        head,
        (_("Alerts missed in the meantime aren't sent. /clusters shows what's near now."),),
        buttons=(Button(_("My alerts"), "/alerts"), Button(_("Clusters"), "/clusters")),
    )


def _lost(facts: Facts) -> Answer:
    return Answer(
        _("I can't post in {chat} any more: its alerts are paused", chat=facts["chat"]),
        (_("They resume automatically once I can post there again. Your rules are kept."),),
    )


def _waits(facts: Facts) -> Answer:
    return Answer(
        _("I can't post in {chat} right now: its alerts are waiting", chat=facts["chat"]),
        (_("They'll be sent as soon as I can. After a day without, its alerts are paused."),),
    )


def _refused(facts: Facts) -> Answer:
    return Answer(
        _("Can't message chat {chat}: {error}", chat=facts["chat"], error=facts["error"]),
        (_("Its messages are waiting. After a day it's switched off; any message from it switches it back on."),),
    )


def _perhaps(facts: Facts) -> Answer:
    return Answer(
        _("A message to chat {chat} may not have arrived: {error}", chat=facts["chat"], error=facts["error"]),
        (_("Sent three times, repeats marked, but the platform never confirmed it."),),
    )


_PLATFORM_STATES = {
    "token refused": N_("{platform} refuses the token. I'll keep trying."),
    "intents refused": N_("{platform} refuses the intents. I'll keep trying."),
    "refusing": N_("{platform} is refusing many chats at once. None is switched off; messages are waiting."),
}


def _platform(facts: Facts) -> Answer:
    text = _PLATFORM_STATES.get(facts["state"], N_("{platform} has a problem: {state}"))
    named = {"platform": str(facts["platform"]).capitalize(), "state": facts["state"]}
    return Answer(_(text, **named), (_("See /status for details."),), buttons=(Button(_("Status"), "/status"),))


def _let_in(facts: Facts) -> Answer:  # noqa: ARG001  # every kind takes them
    return Answer(
        _("The operator has approved this chat."),
        (_("{command} shows what I do.", command="/start"),),
        buttons=(Button(_("Alert me"), "/threshold normal"), Button(_("Clusters"), "/clusters")),
    )


def _test(facts: Facts) -> Answer:  # noqa: ARG001  # every kind takes them
    return Answer(
        _("Test alert: this is how I'll reach you here"),
        (_("Real ones show the cluster, how much, how sure and how old."), wording.disclaimer()),
    )


NOTICES: dict[str, Callable[[Facts], Answer]] = {
    "full": _full,
    "undelivered": _undelivered,
    "welcome": _welcome,
    "let_in": _let_in,
    "lost": _lost,
    "waits": _waits,
    "refused": _refused,
    "perhaps": _perhaps,
    "platform": _platform,
    "test": _test,
}
"""Renderer of each kind of notice."""
