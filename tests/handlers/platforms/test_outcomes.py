"""Outcomes of the platforms' responses: each row of the tables over sockets, with the libraries unmodified."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp import web

from engine.messages import Outcome
from handlers.platforms.discord.webhook import DiscordWebhook, _outcome
from tests.conftest import until
from tests.handlers.platforms.test_senders import Discord, Telegram, _discord, _telegram, message
from tests.servers.discord import reply
from tests.servers.ills import PAGE
from tests.servers.telegram import PageError, RefusedError
from tests.servers.webhook import WebhookServer

TELEGRAM: list[tuple[RefusedError, str]] = [
    (PageError(403, PAGE), "retry"),
    (PageError(404, PAGE), "retry"),
    (PageError(400, PAGE), "retry"),
    (PageError(401, PAGE), "retry"),
    (PageError(200, PAGE), "retry"),
    (PageError(200, '{"ok": false, "description": "busy"}', "application/json"), "retry"),
    (PageError(200, "[]", "application/json"), "retry"),
    (PageError(200, '{"ok": tr', "application/json"), "unknown"),
    (PageError(400, "", "text/plain"), "retry"),
    (PageError(429, '{"ok":false,"error_code":429,"description":"Too Many Requests"}', "application/json"), "retry"),
    (PageError(429, '{"ok":false,"parameters":{"retry_after":"7"}}', "application/json"), "retry"),
    (RefusedError(429, "Too Many Requests: retry after 7", retry_after=7), "retry"),
    (RefusedError(500, "Internal Server Error"), "retry"),
    (RefusedError(502, "Bad Gateway"), "retry"),
    (RefusedError(409, "Conflict: terminated by other getUpdates request"), "retry"),
    (RefusedError(401, "Unauthorized"), "retry"),
    (RefusedError(404, "Not Found"), "retry"),
    (RefusedError(403, "Forbidden: bot was blocked by the user"), "gone"),
    (RefusedError(403, "Forbidden: user is deactivated"), "gone"),
    (RefusedError(403, "Forbidden: bot was kicked from the supergroup chat"), "gone"),
    (RefusedError(403, "Forbidden: bot can't initiate conversation with a user"), "gone"),
    (RefusedError(403, "Forbidden: something new"), "refused"),
    (RefusedError(400, "Bad Request: chat not found"), "refused"),
    (RefusedError(400, "Bad Request: TOPIC_CLOSED"), "refused"),
    (RefusedError(400, "Bad Request: message thread not found"), "refused"),
    (RefusedError(400, "Bad Request: not enough rights to send photos to the chat"), "refused"),
    (RefusedError(400, "Bad Request: CHAT_SEND_PLAIN_FORBIDDEN"), "refused"),
    (RefusedError(400, "Bad Request: can't parse entities: Unmatched end tag"), "plain"),
    (RefusedError(400, "Bad Request: BUTTON_DATA_INVALID"), "plain"),
    (RefusedError(400, "Bad Request: message is too long"), "plain"),
    (RefusedError(413, "Request Entity Too Large"), "plain"),
    (
        RefusedError(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1009),
        "moved",
    ),
]


async def test_every_row_of_telegrams_table() -> None:
    async with AsyncExitStack() as stack:
        bench = await _telegram(stack)
        assert isinstance(bench, Telegram)
        kinds = []
        for refused, _ in TELEGRAM:
            bench.server.faults[:] = [lambda method, _, r=refused: r if method == "sendMessage" else None]  # type: ignore[misc]
            kinds.append((await bench.sender.send(message(bench))).kind)
        wrong = [(str(row[0]), row[1], kind) for row, kind in zip(TELEGRAM, kinds, strict=True) if row[1] != kind]
        assert not wrong


async def test_editing_a_deleted_message_is_dead_and_an_unchanged_one_sent() -> None:
    async with AsyncExitStack() as stack:
        bench = await _telegram(stack)
        assert isinstance(bench, Telegram)
        for text, kind in (
            ("message is not modified", "sent"),
            ("message to edit not found", "dead"),
            ("MESSAGE_ID_INVALID", "dead"),
            ("message can't be edited", "dead"),
            ("not enough rights to edit", "refused"),
        ):
            refused = RefusedError(400, f"Bad Request: {text}")
            bench.server.faults[:] = [lambda method, _, r=refused: r if method == "editMessageText" else None]  # type: ignore[misc]
            assert (await bench.sender.send(replace(message(bench), edits="5"))).kind == kind, text


async def test_a_send_waits_longer_than_five_seconds() -> None:
    """The library's default timeout is five seconds, and each timeout would send one more copy."""
    async with AsyncExitStack() as stack:
        bench = await _telegram(stack)
        assert isinstance(bench, Telegram)
        bench.server.hold_sends.clear()
        sending = asyncio.create_task(bench.sender.send(message(bench)))
        await until(lambda: any(method == "sendMessage" for method, _ in bench.server.calls))
        await asyncio.sleep(5.5)
        bench.server.hold_sends.set()
        assert (await sending).kind == "sent"
        assert len(bench.server.sent) == 1


DISCORD = [
    (reply({"message": "internal network error", "code": 40333}, 403), "retry"),
    (web.Response(text="error code: 1020", status=403), "retry"),
    (web.Response(text=PAGE, status=404, content_type="text/html"), "retry"),
    (reply({"message": "harmful link", "code": 240000}, 403), "plain"),
    (reply({"message": "Missing Access", "code": 50001}, 403), "gone"),
    (reply({"message": "Missing Permissions", "code": 50013}, 403), "gone"),
    (reply({"message": "Unknown Channel", "code": 10003}, 404), "gone"),
    (reply({"message": "Cannot send messages to this user", "code": 50007}, 403), "gone"),
    (reply({"message": "Thread is archived", "code": 50083}, 400), "refused"),
    (reply({"message": "Thread is locked", "code": 160005}, 403), "refused"),
    (reply({"message": "slowmode", "code": 20016}, 400), "retry"),
    (reply({"message": "Invalid Form Body", "code": 50035}, 400), "plain"),
    (reply({"message": "401: Unauthorized", "code": 0}, 401), "retry"),
    (reply({"message": "503", "code": 0}, 503), "retry"),
    (web.Response(text="error code: 1015", status=429), "retry"),
]


async def test_every_row_of_discords_table() -> None:
    async with AsyncExitStack() as stack:
        bench = await _discord(stack)
        assert isinstance(bench, Discord)
        kinds = []
        for answer, _ in DISCORD:
            kept = (answer.body, answer.status, dict(answer.headers))

            def fault(method: str, path: str, kept: tuple[object, int, dict[str, str]] = kept) -> web.Response | None:
                body, status, headers = kept
                sends = method == "POST" and path.endswith("/messages")
                return web.Response(body=body, status=status, headers=headers) if sends else None

            bench.server.faults[:] = [fault]
            kinds.append((await bench.sender.send(message(bench))).kind)
        wrong = [(row[0].text, row[1], kind) for row, kind in zip(DISCORD, kinds, strict=True) if row[1] != kind]
        assert not wrong


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "wait"),
    [
        (429, {"retry_after": 7.5}, {}, "retry", 7.5),
        (429, {"retry_after": "7.5"}, {}, "retry", 7.5),
        (429, {}, {"Retry-After": "9"}, "retry", 9.0),
        (429, {"retry_after": "soon"}, {}, "retry", 5.0),
        (404, {"code": 10015}, {}, "gone", None),
        (401, {"code": 50027}, {}, "gone", None),
        (403, {}, {}, "retry", None),
        (404, {}, {}, "retry", None),
        (200, {}, {}, "unknown", None),
        (200, {"id": "5"}, {}, "sent", None),
    ],
)
def test_webhook_outcomes(
    status: int, body: dict[str, object], headers: dict[str, str], kind: str, wait: float | None
) -> None:
    outcome = _outcome(status, json.dumps(body), headers)
    assert (outcome.kind, outcome.retry_after) == (kind, wait)


async def test_a_webhook_edits_in_its_thread_and_checks_the_message_id() -> None:
    server = WebhookServer()
    await server.start()
    try:
        webhook = DiscordWebhook(f"{server.url}?thread_id=77")
        sent = message(_Shown(webhook))  # type: ignore[arg-type]  # the part of a bench that it needs
        assert (await webhook.send(sent)).kind == "sent"
        assert (await webhook.send(replace(sent, edits="2"))).kind == "sent"
        assert [(method, path, query["thread_id"]) for method, path, query in server.asked] == [
            ("POST", "/secret-part-of-the-address", "77"),
            ("PATCH", "/secret-part-of-the-address/messages/2", "77"),
        ]
        server.changes = "3"
        assert await webhook.send(replace(sent, edits="9")) == Outcome("dead", "another message was changed")
    finally:
        await server.stop()


class _Shown:
    """The part of a bench that message() needs."""

    remote_chat = "x"

    def __init__(self, webhook: DiscordWebhook) -> None:
        self.sender = webhook
