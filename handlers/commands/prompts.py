"""Questions to a user who pressed a button whose command has a blank."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.answers import Answer, Button
from handlers.commands.registry import command
from handlers.context import Request
from handlers.i18n import N_, _

ASKED_MS = 10 * 60_000
MAX_ASKED = 10_000

_QUESTIONS = {
    "/alert price": N_("Which price? E.g. 95k"),
    "/alert near": N_("How near and how large? E.g. 1% $20m or 1.5% normal"),
    "/alert funding": N_("What funding rate per 8h? E.g. 0.05%"),
    "/alert oi": N_("What 24h change in open interest? E.g. 10%"),
    "/alert risk": N_("What risk score, out of 100? E.g. 70"),
    "/alert cascade": N_("What cascade size in USD? E.g. $50m"),
    "/quiet": N_("Which hours? E.g. 23:00-07:00"),
    "/timezone": N_("Which time zone? E.g. Europe/Berlin or UTC+3"),
    "/liq": N_("Which price? E.g. 88000 or -3%"),
}


def question(line: str) -> str:
    """Return the question for a command with a blank."""
    question_text = next((text for start, text in _QUESTIONS.items() if line.startswith(start)), None)
    return _(question_text) if question_text else _("What should replace ? in {command}", command=line)


def ask(line: str) -> Answer:
    """Return the question as an answer; the user's next message fills the blank."""
    return Answer(question(line), (_("Reply with your next message, or /cancel."),), asks=line)


@command("cancel", "Cancel the pending question", "/cancel", hidden=True, quieting=True, for_own_chat=True)
async def cancel(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # the command itself ends the question
    """Answer /cancel."""
    return Answer(_("Cancelled."), buttons=(Button(_("Help"), "/help"),))


@dataclass(frozen=True, slots=True)
class _Open:
    command: str
    until: int


class Questions:
    """Open questions by user, valid for ten minutes. In memory only: a restart may lose them."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, str], _Open] = {}

    def put(self, request: Request, command: str) -> None:
        """Record that the sender was asked for a command's blank."""
        now = request.services.wall.now()
        if len(self._open) >= MAX_ASKED:
            self._open = {key: entry for key, entry in self._open.items() if entry.until > now}
        self._open[_key(request)] = _Open(command, now + ASKED_MS)

    def take(self, request: Request) -> str | None:
        """Remove and return the command that the sender's message completes, or None if none is open."""
        entry = self._open.pop(_key(request), None)
        return entry.command if entry is not None and entry.until > request.services.wall.now() else None


def _key(request: Request) -> tuple[str, int, str]:
    return request.platform, request.chat.id, request.user_id
