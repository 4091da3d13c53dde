"""The Discord platform over real sockets: commands, permissions, deliveries, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from engine.errors import TokenRefusedError
from engine.messages import Message, Outcome
from handlers.access import ASKED_AGAIN_MS, may_be_notified
from handlers.answers import Answer, Button
from handlers.commands.dispatch import all_commands, find_command
from handlers.pictures import Pictures
from handlers.platforms.discord.client import DiscordPlatform, check_discord
from handlers.platforms.discord.render import escape, render_discord
from handlers.platforms.discord.webhook import DiscordWebhook
from tests.conftest import until
from tests.handlers.kit import Kit
from tests.servers.discord import DiscordServer, reply


class Rig:
    """A platform connected to a server."""

    def __init__(self, kit: Kit, server: DiscordServer) -> None:
        self.kit, self.server = kit, server
        self.pictures = Pictures(kit.services)
        self.platform = DiscordPlatform(kit.services, self.pictures.draw, server.token, server.api, server.gateway)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self.platform.run())
        await until(lambda: self.platform.ready)

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.pictures.close()

    async def slash(self, user: int, name: str, **options: Any) -> Any:
        record = self.server.slash(user, self.server.channel.id, name, **options)
        await until(lambda: self.server.answer(record) is not None)
        return self.server.answer(record)

    def message(self, *, nonce: str = "nonce-1", plain: bool = False) -> Message:
        answer = Answer("BTC *88,910*", ("@everyone <@1> `x`",), buttons=(Button("Map", "/map btc"),))
        channel = str(self.server.channel.id)
        return Message(
            1, 1, channel, "channel", {}, self.platform.render(answer), 1, nonce, 2**60, 0, plain, repeat=False
        )


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    kit, server = await Kit.make(), DiscordServer()
    await server.start()
    made = Rig(kit, server)
    await made.start()
    yield made
    await made.stop()
    await server.stop()
    await kit.close()


async def test_the_command_tree_is_the_registry(rig: Rig) -> None:
    await until(rig.server.synced)
    assert rig.server.synced() == {command.name for command in all_commands()}


async def test_options_have_their_help_text(rig: Rig) -> None:
    await until(rig.server.synced)
    registered = rig.server.commands()
    descriptions = {(c["name"], o["name"]): o["description"] for c in registered for o in c.get("options", ())}
    wanted = {(c.name, p.name): p.help[:100] for c in (*all_commands(), find_command("admin")) for p in c.parameters}
    assert descriptions == wanted


async def test_autocomplete_offers_alert_numbers_to_pause_and_remove(rig: Rig) -> None:
    member, channel = rig.server.member.id, rig.server.channel.id
    await rig.slash(member, "alert", rule="price 80k")
    rule = rig.kit.services.pipeline.rules.rules[0].id
    proposed = await rig.server.propose(member, channel, "alerts", "number", "8")
    assert [row["value"] for row in proposed] == [str(rule)]
    assert proposed[0]["name"].startswith(f"#{rule} price 80,000")
    assert await rig.server.propose(rig.server.admin.id, channel, "alerts", "number", "") == []
    assert "Paused" in (await rig.slash(member, "alerts", action="pause", number=str(rule))).content
    assert "Resumed" in (await rig.slash(member, "alerts", action="resume", number=str(rule))).content
    assert "Removed" in (await rig.slash(member, "alerts", action="remove", number=str(rule))).content


async def test_alerts_stop_once_a_member_left_but_not_on_a_failed_lookup(rig: Rig) -> None:
    """The id of a private channel does not identify its user, so we store the user and look up the membership."""
    services, member = rig.kit.services, rig.server.member.id
    services.access, services.people["discord"] = "chats", rig.platform
    services.wall = rig.kit.clock
    server = await rig.kit.store.chats.upsert("discord", str(rig.server.channel.id), "channel", "alerts")
    await rig.kit.store.chats.approve(server.id, approved=True)
    assert "sent to you privately" in (await rig.slash(member, "alert", rule="price 80k")).content
    private = next(chat for chat in await rig.kit.store.chats.all("discord") if chat.kind == "private")
    assert private.person == str(member)
    assert await may_be_notified(services, private.id)
    rig.kit.clock.at += ASKED_AGAIN_MS
    rig.server.faults.append(lambda _, path: reply({"message": "503", "code": 0}, 503) if "/members/" in path else None)
    assert await may_be_notified(services, private.id), "a failed lookup does not mean that the member left"
    rig.server.faults.clear()
    rig.kit.clock.at += ASKED_AGAIN_MS
    rig.server.backend.remove_member(rig.server.guild.id, member)
    assert not await may_be_notified(services, private.id)


async def test_admin_is_for_operators_in_private_only(rig: Rig) -> None:
    """Discord hides the command in servers, and we refuse anybody but an operator."""
    await until(rig.server.synced)
    assert "admin" not in rig.server.synced(rig.server.admin.id)
    rig.kit.services.configured_operators = frozenset({("discord", str(rig.server.admin.id))})
    for user, words in ((rig.server.member.id, "Only the operator"), (rig.server.admin.id, "waiting for approval")):
        record = rig.server.slash(user, rig.server.private(user), "admin")
        await until(lambda record=record: rig.server.answer(record) is not None)  # type: ignore[misc]
        assert words in rig.server.answer(record).content


async def test_a_slash_command_is_answered_with_headline_embed_and_buttons(rig: Rig) -> None:
    answer = await rig.slash(rig.server.member.id, "liq", price="86000")
    assert answer.content.startswith("**BTC 86,000: ~$")
    assert "Not advice" in answer.embeds[0]["footer"]["text"]
    pressed = rig.server.click(rig.server.member.id, rig.server.channel.id, answer, "Map")
    await until(lambda: rig.server.answer(pressed) is not None)
    assert rig.server.answer(pressed).attachments[0]["filename"] == "cliffwatch.png"


async def test_only_admins_subscribe_a_channel_and_personal_answers_are_private(rig: Rig) -> None:
    assert {"subscribe", "unsubscribe", "channel", "preview"}.isdisjoint(rig.server.synced(rig.server.member.id))
    refused = await rig.slash(rig.server.member.id, "quiet", hours="23:00-07:00")
    assert "Only admins" in refused.content
    assert "Subscribed alerts: near calm" in (await rig.slash(rig.server.admin.id, "subscribe", tier="calm")).content
    mine = await rig.slash(rig.server.member.id, "threshold", rule="busy")
    assert mine.is_ephemeral
    assert "sent to you privately" in mine.content
    chats = {chat.kind for chat in await rig.kit.store.chats.all()}
    assert chats == {"channel", "private"}


async def test_a_message_arrives_once_per_nonce_and_mentions_nobody(rig: Rig) -> None:
    first = await rig.platform.send(rig.message())
    again = await rig.platform.send(rig.message())
    other = await rig.platform.send(rig.message(nonce="nonce-2"))
    assert first.kind == again.kind == other.kind == "sent"
    assert first.remote_id == again.remote_id != other.remote_id
    sent = rig.server.messages(rig.server.channel.id)
    assert len(sent) == 2
    assert sent[0].content == r"**BTC \*88,910\***"
    assert not getattr(sent[0], "mention_everyone", False)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"message": "Missing Permissions", "code": 50013}, 403), "gone"),
        (reply({"message": "Unknown Channel", "code": 10003}, 404), "gone"),
        (reply({"message": "Invalid Form Body", "code": 50035}, 400), "plain"),
        (reply({"message": "503", "code": 0}, 503), "retry"),
        (reply({"message": "401", "code": 0}, 401), "retry"),
        (reply({"message": "slow down", "retry_after": 45.0, "global": False}, 429, {"Via": "1.1"}), "retry"),
    ],
)
async def test_every_refusal_is_classified(rig: Rig, answer: web.Response, kind: str) -> None:
    body, status, headers = answer.body, answer.status, dict(answer.headers)

    def refuse(method: str, path: str) -> web.Response | None:
        if method == "POST" and path.endswith("/messages"):
            return web.Response(body=body, status=status, headers=headers)
        return None

    rig.server.faults.append(refuse)
    outcome = await rig.platform.send(rig.message())
    assert outcome.kind == kind
    if status == 429:
        assert outcome.retry_after == pytest.approx(45, abs=1)


async def test_messages_are_sent_if_registration_fails() -> None:
    """The daily quota of registrations is used up. We retry later, and the platform's state shows it."""
    kit, server = await Kit.make(), DiscordServer()
    await server.start()
    refused = reply({"message": "Max number of daily application command creates has been reached", "code": 30034}, 400)
    body, headers = refused.body, dict(refused.headers)

    def fault(method: str, path: str) -> web.Response | None:
        sync = method == "PUT" and path.endswith("/commands")
        return web.Response(body=body, status=400, headers=headers) if sync else None

    server.faults.append(fault)
    rig = Rig(kit, server)
    rig._task = asyncio.create_task(rig.platform.run())
    await until(lambda: rig.platform.ready)
    assert (await rig.platform.send(rig.message())).kind == "sent"
    await until(lambda: "commands not registered" in rig.platform.state)
    await rig.stop()
    await server.stop()
    await kit.close()


async def test_an_unreachable_server_is_retried(rig: Rig) -> None:
    await rig.server.stop()
    assert (await rig.platform.send(rig.message())).kind in ("retry", "unknown")


async def test_a_wrong_token_stops_the_platform() -> None:
    kit, server = await Kit.make(), DiscordServer()
    await server.start()
    pictures = Pictures(kit.services)
    platform = DiscordPlatform(kit.services, pictures.draw, "wrong-token-wrong", server.api, server.gateway)
    with pytest.raises(TokenRefusedError):
        async with asyncio.timeout(10):
            await platform.run()
    assert platform.state == "token refused"
    lines, well = await check_discord("wrong-token-wrong", server.api, server.gateway)
    assert (lines, well) == (["the token was refused"], False)
    lines, well = await check_discord(server.token, server.api, server.gateway)
    assert well, lines
    assert "permissions=" in " ".join(lines)
    pictures.close()
    await server.stop()
    await kit.close()


async def test_a_webhook_gets_messages_and_its_refusals_are_classified() -> None:
    seen: list[dict[str, Any]] = []
    answers = [
        web.json_response({"id": "5"}),
        web.json_response({"retry_after": 3}, status=429),
        web.json_response({"code": 10015, "message": "Unknown Webhook"}, status=404),
    ]

    async def take(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return answers.pop(0)

    app = web.Application()
    app.router.add_post("/api/webhooks/1/secret", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    webhook = DiscordWebhook(f"http://127.0.0.1:{runner.addresses[0][1]}/api/webhooks/1/secret")
    message = Message(
        1, 1, "discord", "private", {}, webhook.render(Answer("h", ("@everyone",))), 1, "n", 2**60, 0, False, False
    )
    outcomes = [await webhook.send(message) for _ in range(3)]
    assert outcomes == [
        Outcome("sent", remote_id="5"),
        Outcome("retry", "429", retry_after=3.0),
        Outcome("gone", "HTTP 404, 10015"),
    ]
    assert seen[0]["allowed_mentions"] == {"parse": []}
    await runner.cleanup()
    assert (await webhook.send(message)).kind == "retry"


def test_text_is_escaped_for_discord() -> None:
    assert escape("*a* _b_ `c` ||d|| <@1> [x](y)") == r"\*a\* \_b\_ \`c\` \|\|d\|\| \<@1> [x]\(y)"
    assert escape("~$19M (likely $9-37M)") == "~$19M (likely $9-37M)"


def test_everything_stays_within_discords_limits() -> None:
    rendered = render_discord(
        Answer("*" * 5000, ("_" * 3000, "`" * 3000), buttons=tuple(Button("b" * 99, f"/x {n}") for n in range(30)))
    )
    assert len(rendered["content"]) <= 2000
    assert len(rendered["embed"]["description"]) <= 4096
    assert len(rendered["buttons"]) == 15
    assert len(rendered["buttons"][0][0]) == 80
