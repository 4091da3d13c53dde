"""A Discord webhook as a one-way face: alerts go to one channel, nothing comes back."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from engine.ports import Message, Outcome
from handlers.answers import Answer
from handlers.faces.discord_idiom import render_discord

PLATFORM = "webhook"
REMOTE_ID = "discord"
TIMEOUT_SECONDS = 20
MOST_ANSWER_BYTES = 65_536


class WebhookFace:
    """Posts messages to one address, which is a secret."""

    ready = True
    idempotent = False

    def __init__(self, url: str) -> None:
        self.state = "ok"
        self._url = url

    @property
    def platform(self) -> str:
        return PLATFORM

    def render(self, found: Answer) -> dict[str, Any]:
        return render_discord(found)

    async def send(self, message: Message) -> Outcome:
        """Post one message; the address appears in no error."""
        assert message.rendered is not None  # noqa: S101  # the dispatcher renders first
        payload: dict[str, Any] = {"content": message.rendered["content"], "allowed_mentions": {"parse": []}}
        if not message.plain:
            payload["embeds"] = [message.rendered["embed"]]
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        method, url = ("PATCH", f"{self._url}/messages/{message.edits}") if message.edits else ("POST", self._url)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, params={"wait": "true"}, json=payload, allow_redirects=False) as response,
            ):
                text = (await response.content.read(MOST_ANSWER_BYTES)).decode(errors="replace")
                outcome = _outcome(response.status, text)
                if message.edits and response.status == 404:
                    outcome = Outcome("dead", "the message is gone")
                self.state = "ok" if outcome.kind == "sent" else outcome.error
                return outcome
        except aiohttp.ClientConnectorError:
            return Outcome("retry", "cannot be reached")
        except (TimeoutError, aiohttp.ClientError) as error:
            return Outcome("unknown", type(error).__name__)


def _outcome(status: int, text: str) -> Outcome:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    answer = answer if isinstance(answer, dict) else {}
    if status in (200, 204):
        return Outcome("sent", remote_id=str(answer.get("id", "")))
    if status == 429:
        wait = answer.get("retry_after", 5)
        return Outcome("retry", "429", retry_after=float(wait) if isinstance(wait, int | float) else 5.0)
    if status in (401, 403, 404):
        return Outcome("gone", f"HTTP {status}")
    if status >= 500:
        return Outcome("retry", f"HTTP {status}")
    return Outcome("plain", f"HTTP {status}")
