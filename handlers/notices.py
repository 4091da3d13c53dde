"""Messages that are no alerts: to operators, to subscribers, and of a chat's own state. Facts in, an Answer out."""

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
            "{count} message with alerts today: no more until midnight",
            "{count} messages with alerts today: no more until midnight",
            cap,
        ),
        (
            _("Midnight of {timezone}. Sweeps of the largest clusters still come.", timezone=facts["timezone"]),
            _("Fewer and larger ones: {command}", command="/threshold calm"),
        ),
        buttons=(Button(_("Calm"), "/threshold calm"), Button(_("My alerts"), "/alerts")),
    )


def _undelivered(facts: Facts) -> Answer:
    return Answer(
        _("A message to chat {chat} could not be delivered: {error}", chat=facts["chat"], error=facts["error"]),
        (
            _(
                "It is #{message}. /admin dead lists what was given up, /admin resend sends it again.",
                message=facts["message"],
            ),
        ),
        buttons=(Button(_("Given up"), "/admin dead"),),
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
        (_("What happened meanwhile is not repeated. /clusters shows what is near now."),),
        buttons=(Button(_("My alerts"), "/alerts"), Button(_("Clusters"), "/clusters")),
    )


def _lost(facts: Facts) -> Answer:
    return Answer(
        _("I cannot write in {chat} any more: its alerts are paused", chat=facts["chat"]),
        (_("They go on by themselves once I may write there again. Their rules are kept."),),
    )


def _waits(facts: Facts) -> Answer:
    return Answer(
        _("I may not write in {chat} for now: its alerts wait", chat=facts["chat"]),
        (_("They are sent as soon as I may. After a day without, its alerts are paused."),),
    )


def _refused(facts: Facts) -> Answer:
    return Answer(
        _("Chat {chat} may not be written to: {error}", chat=facts["chat"], error=facts["error"]),
        (_("Its messages wait. After a day of that it is switched off; any message from it switches it on again."),),
    )


def _perhaps(facts: Facts) -> Answer:
    return Answer(
        _("A message to chat {chat} was perhaps delivered: {error}", chat=facts["chat"], error=facts["error"]),
        (_("It was sent three times without a word from the platform, marked as a possible repeat."),),
    )


_PLATFORM_STATES = {
    "token refused": N_("{platform} refuses the token. I go on trying."),
    "intents refused": N_("{platform} refuses the intents. I go on trying."),
    "refusing": N_("{platform} refuses many chats at once. None is switched off for it; messages wait."),
}


def _platform(facts: Facts) -> Answer:
    text = _PLATFORM_STATES.get(facts["state"], N_("{platform} has trouble: {state}"))
    named = {"platform": str(facts["platform"]).capitalize(), "state": facts["state"]}
    return Answer(_(text, **named), (_("/status says more."),), buttons=(Button(_("Status"), "/status"),))


def _let_in(facts: Facts) -> Answer:  # noqa: ARG001  # every kind takes them
    return Answer(
        _("The operator has let this chat in."),
        (_("{command} shows what I do.", command="/start"),),
        buttons=(Button(_("Alert me"), "/threshold normal"), Button(_("Clusters"), "/clusters")),
    )


def _test(facts: Facts) -> Answer:  # noqa: ARG001  # every kind takes them
    return Answer(
        _("Test alert: this is how I will reach you here"),
        (_("Real ones say which cluster, how much, how sure and how old."), wording.disclaimer()),
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
"""How each is rendered, by its kind."""
