"""One suite over all senders: messages arrive whole, responses mean the same everywhere, no secret leaks."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Protocol

import pytest
from aiohttp import web
from rich.console import Console

from engine.chats import Chat
from engine.messages import Message, Outcome
from engine.preferences import Preferences
from handlers.answers import Answer
from handlers.delivery.dispatcher import Platform
from handlers.logs import RedactingFormatter
from handlers.pictures import Pictures
from handlers.platforms.discord.client import DiscordPlatform
from handlers.platforms.discord.webhook import DiscordWebhook
from handlers.platforms.signed_webhook import SignedWebhook, outcome_of, permitted, signature
from handlers.platforms.telegram.client import TelegramPlatform
from handlers.platforms.terminal import TerminalPlatform
from tests.conftest import until
from tests.handlers.kit import Kit
from tests.servers.discord import DiscordServer, reply
from tests.servers.memory import MemoryPlatform
from tests.servers.telegram import RefusedError, Spoil, TelegramServer
from tests.servers.webhook import WebhookServer

ANSWER = Answer("BTC 88,910: near <88.0k> & *such*", ("~$38M longs_here @everyone", "x > y"), footer="mark · 14 s old")
KEY = "a-key-of-some-length"


class Bench(Protocol):
    """A sender with its platform."""

    sender: Platform
    remote_chat: str
    secrets: tuple[str, ...]

    def arrived(self) -> list[str]: ...

    def raw(self) -> list[Any]: ...

    def refuse(self, what: str) -> None: ...

    def spoil(self, how: Spoil) -> None: ...


class Memory:
    secrets: tuple[str, ...] = ()
    remote_chat = "7"

    def __init__(self) -> None:
        self.platform = MemoryPlatform()
        self.sender: Platform = self.platform

    def arrived(self) -> list[str]:
        return [message.rendered["text"] for message in self.platform.sent if message.rendered]

    def raw(self) -> list[Any]:
        return self.arrived()

    def refuse(self, what: str) -> None:
        answers = {"slow down": Outcome("retry", "429", 7.0), "gone": Outcome("gone", "403")}
        self.platform.answers = [answers.get(what, Outcome("retry", "5xx"))]

    def spoil(self, how: Spoil) -> None:
        self.platform.answers = [Outcome("unknown", how)]


class Terminal:
    """Printing is sending, so nothing can be refused."""

    secrets: tuple[str, ...] = ()
    remote_chat = "local"

    def __init__(self, kit: Kit) -> None:
        self.out = io.StringIO()
        chat = Chat(1, "terminal", "local", "private", preferences=Preferences())
        pictures = Pictures(kit.services)
        platform = TerminalPlatform(kit.services, chat, pictures.draw, None)  # type: ignore[arg-type]  # no picture is drawn
        platform._console = Console(file=self.out, width=200)
        self.sender: Platform = platform
        pictures.close()

    def arrived(self) -> list[str]:
        return [self.out.getvalue()] if self.out.getvalue() else []

    def raw(self) -> list[Any]:
        return self.out.getvalue().split("BTC 88,910")[1:]

    def refuse(self, what: str) -> None:
        pytest.skip(f"a terminal cannot refuse: {what}")

    def spoil(self, how: Spoil) -> None:
        pytest.skip(f"a terminal has no response to break: {how}")


class Telegram:
    remote_chat = "7"

    def __init__(self, platform: TelegramPlatform, server: TelegramServer) -> None:
        self.sender: Platform = platform
        self.server = server
        self.secrets: tuple[str, ...] = (server.token,)

    def arrived(self) -> list[str]:
        return [sent.plain for sent in self.server.sent]

    def raw(self) -> list[Any]:
        return [sent.text for sent in self.server.sent]

    def refuse(self, what: str) -> None:
        answers = {
            "slow down": RefusedError(429, "Too Many Requests: retry after 7", retry_after=7),
            "gone": RefusedError(403, "Forbidden: bot was blocked by the user"),
        }
        refused = answers.get(what, RefusedError(502, "Bad Gateway"))
        self.server.faults.append(lambda method, _: refused if method == "sendMessage" else None)

    def spoil(self, how: Spoil) -> None:
        self.server.spoils = how


class Discord:
    def __init__(self, platform: DiscordPlatform, server: DiscordServer) -> None:
        self.sender: Platform = platform
        self.server, self.remote_chat = server, str(server.channel.id)
        self.secrets: tuple[str, ...] = (server.token,)

    def _messages(self) -> list[Any]:
        return self.server.messages(self.server.channel.id)

    def arrived(self) -> list[str]:
        return [f"{message.content}\n{json.dumps(message.embeds)}" for message in self._messages()]

    def raw(self) -> list[Any]:
        return self.arrived()

    def refuse(self, what: str) -> None:
        answers = {
            "slow down": reply({"message": "slow down", "retry_after": 45.0, "global": False}, 429, {"Via": "1.1"}),
            "gone": reply({"message": "Missing Permissions", "code": 50013}, 403),
        }
        refusal = answers.get(what, reply({"message": "503", "code": 0}, 503))
        body, status, headers = refusal.body, refusal.status, dict(refusal.headers)

        def fault(method: str, path: str) -> web.Response | None:
            sends = method == "POST" and path.endswith("/messages")
            return web.Response(body=body, status=status, headers=headers) if sends else None

        self.server.faults.append(fault)

    def spoil(self, how: Spoil) -> None:
        self.server.spoils = how


class Webhook:
    remote_chat = "x"

    def __init__(self, sender: Platform, server: WebhookServer, *more: str) -> None:
        self.sender, self.server = sender, server
        self.secrets = (server.url, "secret-part", *more)

    def arrived(self) -> list[str]:
        return [json.dumps(json.loads(body), ensure_ascii=False) for _, body in self.server.posts]

    def raw(self) -> list[Any]:
        return [body for _, body in self.server.posts]

    def refuse(self, what: str) -> None:
        answers: dict[str, tuple[int, dict[str, str], dict[str, Any]]] = {
            "slow down": (429, {"Retry-After": "7"}, {"retry_after": 7.0}),
            "gone": (410 if isinstance(self.sender, SignedWebhook) else 404, {}, {"code": 10015}),
        }
        self.server.refuses = answers.get(what, (503, {}, {}))

    def spoil(self, how: Spoil) -> None:
        self.server.spoils = how


async def _telegram(stack: AsyncExitStack) -> Bench:
    kit, server = await Kit.make(), TelegramServer()
    await server.start()
    pictures = Pictures(kit.services)
    platform = TelegramPlatform(kit.services, pictures.draw, server.token, server.url)
    await _running(stack, platform.run, lambda: platform.ready, kit, server.stop, pictures)
    return Telegram(platform, server)


async def _discord(stack: AsyncExitStack) -> Bench:
    kit, server = await Kit.make(), DiscordServer()
    await server.start()
    pictures = Pictures(kit.services)
    platform = DiscordPlatform(kit.services, pictures.draw, server.token, server.api, server.gateway)
    await _running(stack, platform.run, lambda: platform.ready, kit, server.stop, pictures)
    return Discord(platform, server)


async def _running(
    stack: AsyncExitStack, run: Any, ready: Callable[[], bool], kit: Kit, stop: Any, pictures: Pictures
) -> None:
    """Run a platform until the test is over."""
    task = asyncio.create_task(run())

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        pictures.close()
        await stop()
        await kit.close()

    stack.push_async_callback(end)
    await until(ready)


async def _webhook(stack: AsyncExitStack) -> Bench:
    server = WebhookServer()
    await server.start()
    stack.push_async_callback(server.stop)
    return Webhook(DiscordWebhook(server.url), server)


async def _generic(stack: AsyncExitStack) -> Bench:
    server = WebhookServer()
    await server.start()
    stack.push_async_callback(server.stop)
    return Webhook(SignedWebhook(server.url, KEY, lambda: 1_800_000_000.0), server, KEY)


async def _terminal(stack: AsyncExitStack) -> Bench:
    kit = await Kit.make()
    stack.push_async_callback(kit.close)
    return Terminal(kit)


async def _memory(stack: AsyncExitStack) -> Bench:  # async like the other factories
    return Memory()


@pytest.fixture(params=[_memory, _terminal, _telegram, _discord, _webhook, _generic], ids=lambda make: make.__name__)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield await request.param(stack)


def message(bench: Bench, *, plain: bool = False, nonce: str = "nonce-1") -> Message:
    rendered = json.loads(json.dumps(bench.sender.render(ANSWER)))
    facts = {"kind": "near", "asset": "BTC", "cluster": {"id": "c"}}
    return Message(1, 1, bench.remote_chat, "private", facts, rendered, 1, nonce, 2**60, 0, plain, repeat=False)


@pytest.fixture
def quiet_secrets(bench: Bench, caplog: pytest.LogCaptureFixture) -> Callable[[Outcome], None]:
    caplog.set_level(logging.DEBUG)

    def check(outcome: Outcome) -> None:
        shown = RedactingFormatter(bench.secrets)
        for secret in bench.secrets:
            assert secret not in outcome.error
            for record in caplog.records:
                assert secret not in shown.format(record)
                assert not (record.name.startswith("handlers") and secret in record.getMessage())

    return check


async def test_a_message_arrives_whole(bench: Bench) -> None:
    outcome = await bench.sender.send(message(bench))
    assert outcome.kind == "sent"
    (text,) = bench.arrived()
    for part in ("88,910", "38M longs", "14 s old"):
        assert part in text


async def test_plain_text_arrives_too(bench: Bench) -> None:
    assert (await bench.sender.send(message(bench, plain=True))).kind == "sent"
    assert "88,910" in bench.arrived()[0]


async def test_a_retry_sends_the_same(bench: Bench) -> None:
    await bench.sender.send(message(bench))
    await bench.sender.send(message(bench))
    first, *again = bench.raw()
    # Discord keeps one message per nonce; all others get the same bytes again.
    assert all(each == first for each in again)
    assert len(again) == (0 if bench.sender.platform == "discord" else 1)


@pytest.mark.parametrize(
    ("what", "kinds"), [("slow down", {"retry"}), ("gone", {"gone"}), ("trouble", {"retry", "unknown"})]
)
async def test_every_refusal_means_the_same_everywhere(
    bench: Bench, what: str, kinds: set[str], quiet_secrets: Callable[[Outcome], None]
) -> None:
    bench.refuse(what)
    outcome = await bench.sender.send(message(bench))
    assert outcome.kind in kinds
    if what == "slow down":
        assert outcome.retry_after is not None
        assert outcome.retry_after >= 7
    quiet_secrets(outcome)


@pytest.mark.parametrize("how", ["cut", "garbage"])
async def test_a_broken_response_leaves_the_outcome_unknown(
    bench: Bench, how: Spoil, quiet_secrets: Callable[[Outcome], None]
) -> None:
    bench.spoil(how)
    outcome = await bench.sender.send(message(bench))
    # A status of 200 is enough for a signed webhook. Telegram itself never responds with a page.
    kind = "sent" if isinstance(bench.sender, SignedWebhook) else "unknown"
    assert outcome.kind == ("retry" if how == "garbage" and isinstance(bench, Telegram) else kind)
    quiet_secrets(outcome)


async def test_a_message_is_edited_in_place(bench: Bench) -> None:
    first = await bench.sender.send(message(bench))
    rendered = json.loads(json.dumps(bench.sender.render(replace(ANSWER, headline="final count"))))
    change = replace(message(bench, nonce="nonce-2"), rendered=rendered, edits=first.remote_id)
    outcome = await bench.sender.send(change)
    assert outcome.kind == "sent"
    assert "final count" in bench.arrived()[-1]
    if bench.sender.platform in ("telegram", "discord") and not isinstance(bench, Memory):
        assert len(bench.arrived()) == 1
        assert (await bench.sender.send(change)).kind == "sent"
        gone = await bench.sender.send(replace(change, edits="1577000000000000001"))
        assert gone.kind == "dead"


async def test_receivers_compute_the_same_signature() -> None:
    async with AsyncExitStack() as stack:
        webhook = await _generic(stack)
        assert isinstance(webhook, Webhook)
        await webhook.sender.send(message(webhook))
        ((headers, body),) = webhook.server.posts
        assert headers["X-Cliffwatch-Timestamp"] == "1800000000"
        assert headers["X-Cliffwatch-Signature"] == "sha256=" + signature(KEY, "1800000000", body)
        assert headers["Idempotency-Key"] == "nonce-1"
        sent = json.loads(body)
        assert (sent["kind"], sent["asset"], sent["headline"]) == ("near", "BTC", ANSWER.headline)
        assert sent["facts"]["cluster"] == {"id": "c"}


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *(
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
            "224.0.0.1",
            "255.255.255.255",
        ),
        # Metadata services of clouds, and reserved ranges.
        *("192.0.0.192", "168.63.129.16", "100.100.100.200", "192.88.99.1", "fec0::1", "2001:db8::1", "3fff::1"),
        # IPv4 within IPv6: by translators, relays, tunnels, old notation.
        *("64:ff9b::a9fe:a9fe", "64:ff9b::a83f:8110", "64:ff9b:1::808:808", "::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    ],
)
def test_internal_addresses_are_refused(address: str) -> None:
    assert not permitted(address, loopback=False)


def test_public_addresses_are_permitted_and_plain_http_stays_on_this_machine() -> None:
    assert permitted("93.184.216.34", loopback=False)
    assert permitted("2606:2800:220:1:248:1893:25c8:1946", loopback=False)
    assert permitted("64:ff9b::5db8:d822", loopback=False)  # 93.184.216.34 in a network without IPv4
    assert permitted("127.0.0.1", loopback=True)
    assert not permitted("93.184.216.34", loopback=True)


async def test_a_name_of_an_internal_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        inside = "169.254.169.254"
        return [(2, 1, 6, "", (address, port)) for address in ("93.184.216.34", inside)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    webhook = SignedWebhook("https://rebind.example/x", KEY)
    outgoing = Message(1, 1, "x", "private", {}, webhook.render(ANSWER), 1, "n", 2**60, 0, plain=False, repeat=False)
    outcome = await webhook.send(outgoing)
    assert (outcome.kind, outcome.error) == ("dead", "the address is internal")
    assert asked == ["rebind.example"]


async def test_redirects_are_not_followed() -> None:
    async with AsyncExitStack() as stack:
        webhook = await _generic(stack)
        assert isinstance(webhook, Webhook)
        webhook.server.refuses = (302, {"Location": webhook.server.url}, {})
        assert (await webhook.sender.send(message(webhook))).kind == "dead"
        assert webhook.server.posts == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("nan", 5.0), ("", 5.0), ("-4", 1.0), ("1e9", 3600.0), ("Thu, 01 Jan 1970 00:01:00 GMT", 60.0)],
)
def test_retry_after_is_parsed_and_bounded(header: str, seconds: float) -> None:
    assert outcome_of(429, header, 0.0).retry_after == seconds
