"""A Discord webhook as a send-only platform: alerts go to one channel, nothing comes back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import aiohttp
from yarl import URL

from engine.messages import Message, Outcome
from handlers.answers import Answer
from handlers.platforms.discord.outcomes import code_in, outcome_of_answer
from handlers.platforms.discord.render import render_discord

PLATFORM = "webhook"
REMOTE_ID = "discord"
TIMEOUT_SECONDS = 20
MAX_ANSWER_BYTES = 65_536


class DiscordWebhook:
    """Posts messages to one address, which is secret."""

    ready = True
    idempotent = False

    def __init__(self, url: str) -> None:
        self.state = "ok"
        self._url = URL(url)

    @property
    def platform(self) -> str:
        return PLATFORM

    def _url_of(self, message_id: str) -> URL:
        """Return the URL for editing a message: below the webhook's path, with the query that names its thread."""
        return self._url.with_path(f"{self._url.path.rstrip('/')}/messages/{message_id}", keep_query=True)

    def render(self, answer: Answer) -> dict[str, Any]:
        return render_discord(answer)

    async def send(self, message: Message) -> Outcome:
        """Post one message. The address appears in no error."""
        assert message.rendered is not None  # noqa: S101  # the dispatcher renders first
        payload: dict[str, Any] = {"content": message.rendered["content"], "allowed_mentions": {"parse": []}}
        if not message.plain:
            payload["embeds"] = [message.rendered["embed"]]
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        method, url = ("PATCH", self._url_of(message.edits)) if message.edits else ("POST", self._url)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url.update_query(wait="true"), json=payload, allow_redirects=False) as response,
            ):
                text = (await response.content.read(MAX_ANSWER_BYTES)).decode(errors="replace")
                outcome = _outcome(response.status, text, response.headers, edits=message.edits)
                self.state = "ok" if outcome.kind == "sent" else outcome.error
                return outcome
        except aiohttp.ClientConnectorError:
            return Outcome("retry", "cannot be reached")
        except (TimeoutError, aiohttp.ClientError) as error:
            return Outcome("unknown", type(error).__name__)


def _outcome(
    status: int, text: str, headers: Mapping[str, str] = MappingProxyType({}), *, edits: str | None = None
) -> Outcome:
    """Return the outcome of a response. A success must name the message, for an edit the one we edited."""
    code, answer = code_in(text)
    if status in (200, 204):
        number = str(answer.get("id", ""))
        if edits and number != edits:
            return Outcome("dead", "another message was changed" if number else "no message id in the answer")
        return Outcome("sent", remote_id=number) if number else Outcome("unknown", "an answer without a message")
    return outcome_of_answer(status, code, headers, answer, edit=bool(edits))
