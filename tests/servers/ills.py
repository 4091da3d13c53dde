"""Responses of platforms that are ill, as opposed to errors of a message: switches for both servers.

Each is a response of the outcome tables that means "not now": the message was not accepted, and nothing is known about
the chat. A sender that takes one for final loses its message.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from aiohttp import web

from tests.servers.discord import DiscordServer, reply
from tests.servers.telegram import PageError, RefusedError, TelegramServer

PAGE = "<html><body>error code: 1020</body></html>"

TELEGRAM: dict[str, Callable[[], RefusedError]] = {
    "a proxy forbids": lambda: PageError(403, PAGE),
    "a proxy finds nothing": lambda: PageError(404, PAGE),
    "a proxy's good page": lambda: PageError(200, PAGE),
    "ok is false": lambda: PageError(200, '{"ok": false, "description": "busy"}', "application/json"),
    "no answer at all": lambda: PageError(502, "", "text/plain"),
    "slow down, without a number": lambda: PageError(
        429, '{"ok":false,"error_code":429,"description":"Too Many Requests"}', "application/json"
    ),
    "slow down": lambda: RefusedError(429, "Too Many Requests: retry after 2", retry_after=2),
    "the token is refused": lambda: RefusedError(401, "Unauthorized"),
    "internal error": lambda: RefusedError(500, "Internal Server Error"),
}
"""Responses to sends, by name."""

DISCORD: dict[str, Callable[[], web.Response]] = {
    "internal network error": lambda: reply({"message": "internal network error", "code": 40333}, 403),
    "an edge page forbids": lambda: web.Response(text="error code: 1020", status=403),
    "an edge page finds nothing": lambda: web.Response(text=PAGE, status=404, content_type="text/html"),
    "slow down, without a number": lambda: web.Response(text="error code: 1015", status=429),
    "the token is refused": lambda: reply({"message": "401: Unauthorized", "code": 0}, 401),
    "unavailable": lambda: reply({"message": "503", "code": 0}, 503),
}


def ill_telegram(server: TelegramServer, name: str) -> Callable[[], None]:
    """Make a server answer sends with this. Return the function that ends it."""

    def fault(method: str, fields: dict[str, str]) -> RefusedError | None:  # the servers' signature
        return TELEGRAM[name]() if method.startswith("send") else None

    server.faults.append(fault)
    return lambda: server.faults.remove(fault)


def ill_discord(server: DiscordServer, name: str) -> Callable[[], None]:
    """As ill_telegram, for Discord."""

    def fault(method: str, path: str) -> web.Response | None:
        return DISCORD[name]() if method == "POST" and path.endswith("/messages") else None

    server.faults.append(fault)
    return lambda: server.faults.remove(fault)


async def weather(telegram: TelegramServer, discord: DiscordServer, chance: random.Random) -> None:
    """Switch on two random ills for some seconds, again and again, until cancelled."""
    ills: list[tuple[Callable[..., Callable[[], None]], object, str]] = [
        *((ill_telegram, telegram, name) for name in TELEGRAM),
        *((ill_discord, discord, name) for name in DISCORD),
    ]
    while True:
        await asyncio.sleep(chance.uniform(1, 5))
        ends = [make(server, name) for make, server, name in chance.sample(ills, 2)]
        try:
            await asyncio.sleep(chance.uniform(1, 4))
        finally:
            for end in ends:
                end()
