"""What somebody is asked who pressed a button whose command has a blank."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.answers import Answer, Button
from handlers.commands.registry import command
from handlers.context import Request
from handlers.i18n import N_, _

ASKED_MS = 10 * 60_000
MAX_ASKED = 10_000

_QUESTIONS = {
    "/alert price": N_("At which price? Such as 95k"),
    "/alert near": N_("How near, and how large? Such as 1% $20m, or 1.5% normal"),
    "/alert funding": N_("From which funding rate per 8 hours? Such as 0.05%"),
    "/alert oi": N_("From which change of open interest in 24 hours? Such as 10%"),
    "/alert risk": N_("From which risk of 100? Such as 70"),
    "/alert cascade": N_("From how many USD? Such as $50m"),
    "/quiet": N_("Which hours? Such as 23:00-07:00"),
    "/timezone": N_("Which time zone? Such as Europe/Berlin or UTC+3"),
    "/liq": N_("Which price? Such as 88000 or -3%"),
}


def question(line: str) -> str:
    """The question for a command with a blank."""
    known = next((text for start, text in _QUESTIONS.items() if line.startswith(start)), None)
    return _(known) if known else _("What shall stand for ? in {command}", command=line)


def ask(line: str) -> Answer:
    """The question as an answer; what is typed next fills the blank."""
    return Answer(question(line), (_("Your next message is the answer. /cancel ends it."),), asks=line)


@command("cancel", "Nothing is asked any more", "/cancel", hidden=True)
async def cancel(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # the command itself ends the question
    """Answer /cancel."""
    return Answer(_("Nothing is asked any more."), buttons=(Button(_("Help"), "/help"),))


@dataclass(frozen=True, slots=True)
class _Open:
    command: str
    until: int


class Questions:
    """Who was asked what, for ten minutes: kept in memory, as a question is no promise."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, str], _Open] = {}

    def put(self, request: Request, command: str) -> None:
        """Whoever asks was asked for a command's blank."""
        now = request.services.wall.now()
        if len(self._open) >= MAX_ASKED:
            self._open = {key: known for key, known in self._open.items() if known.until > now}
        self._open[_key(request)] = _Open(command, now + ASKED_MS)

    def take(self, request: Request) -> str | None:
        """The command that a message of theirs completes; None where nothing was asked."""
        known = self._open.pop(_key(request), None)
        return known.command if known is not None and known.until > request.services.wall.now() else None


def _key(request: Request) -> tuple[str, int, str]:
    return request.platform, request.chat.id, request.user_id
