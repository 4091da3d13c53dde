"""Using the bot on Discord: autocomplete, forms, edits in place, visibility, roles, languages, user apps."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from engine.preferences import Preferences
from handlers.answers import Answer
from handlers.commands.autocomplete import proposed
from tests.conftest import until
from tests.handlers.kit import Kit, filled_board
from tests.handlers.platforms.test_discord import Rig
from tests.servers.discord import DiscordServer


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    kit = await Kit.make(boards={"BTC": filled_board(), "ETH": filled_board("ETH", 3000.0)})
    server = DiscordServer()
    await server.start()
    made = Rig(kit, server)
    await made.start()
    await until(server.synced)
    yield made
    await made.stop()
    await server.stop()
    await kit.close()


async def pressed(rig: Rig, user: int, message: Any, label: str) -> Any:
    """Press a button of a message. Return the answer."""
    record = rig.server.click(user, rig.server.channel.id, message, label)
    await until(lambda: rig.server.answer(record) is not None)
    return rig.server.answer(record)


async def test_only_the_person_who_asked_edits_an_answer(rig: Rig) -> None:
    member, admin = rig.server.member.id, rig.server.admin.id
    first = await rig.slash(member, "map", asset="btc")
    record = rig.server.click(member, rig.server.channel.id, first, "ETH")
    await until(lambda: "ETH" in rig.server.backend.get_message(rig.server.channel.id, first.id).content)
    assert record.message_id in (None, first.id)
    changed = rig.server.backend.get_message(rig.server.channel.id, first.id)
    assert changed.attachments
    other = await pressed(rig, admin, changed, "±3%")
    assert other.is_ephemeral
    assert other.id != first.id


async def test_a_form_asks_for_missing_values(rig: Rig) -> None:
    member = rig.server.member.id
    sent = await rig.slash(member, "alert")
    record = rig.server.click(member, rig.server.channel.id, sent, "A price")
    await until(lambda: rig.server.form(record) is not None)
    form = rig.server.form(record)
    assert form["title"].startswith("Which price?")
    submitted = rig.server.submit(member, rig.server.channel.id, form, "95k")
    await until(lambda: rig.server.answer(submitted) is not None)
    assert "Alerts set: price 95,000 once, BTC" in rig.server.answer(submitted).content
    assert rig.server.answer(submitted).is_ephemeral


async def test_coins_and_cluster_prices_are_proposed(rig: Rig) -> None:
    coins = await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "asset", "e")
    assert coins[0] == {"name": "ETH", "value": "eth"}
    prices = await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "price", "8")
    assert prices[0]["value"] == "8"
    assert re.fullmatch(r"8\d,\d{3} longs [+-]\d\.\d% ~\$.*", prices[1]["name"])
    assert proposed(rig.kit.services, "price", "", "eth")
    assert all(len(name) <= 100 for name, _ in proposed(rig.kit.services, "price", "9" * 200))


async def test_the_age_of_data_follows_the_readers_clock(rig: Rig) -> None:
    answer = await rig.slash(rig.server.member.id, "liq", price="86000")
    assert re.search(r"-# data from <t:\d{10}:R>", answer.embeds[0]["description"])


async def test_a_role_is_mentioned_for_top_tier_only(rig: Rig) -> None:
    role = 123456789012345678
    admin = rig.server.admin.id
    assert "settings" in (await rig.slash(admin, "channel", setting="role", value=f"<@&{role}>")).content
    (chat,) = await rig.kit.store.chats.all("discord")
    assert chat.preferences.role == str(role)
    bodies: list[dict[str, Any]] = [{"kind": "near"}, {"kind": "near", "top_tier": True}]
    for number, body in enumerate(bodies):
        message = replace(rig.message(nonce=f"role-{number}"), body=body, preferences=chat.preferences)
        assert (await rig.platform.send(message)).kind == "sent"
    quiet, loud = rig.server.messages(rig.server.channel.id)
    assert not quiet.content.startswith("<@&")
    assert loud.content.startswith(f"<@&{role}> **BTC")


async def test_personal_answers_are_ephemeral(rig: Rig) -> None:
    admin, member = rig.server.admin.id, rig.server.member.id
    assert (await rig.slash(member, "settings")).is_ephemeral
    assert not (await rig.slash(member, "liq", price="86000")).is_ephemeral
    await rig.slash(admin, "channel", setting="commands", value="private")
    assert (await rig.slash(member, "liq", price="86000")).is_ephemeral


async def test_commands_can_require_a_channel(rig: Rig) -> None:
    admin, member = rig.server.admin.id, rig.server.member.id
    await rig.slash(admin, "channel", setting="commands", value="<#99999999>")
    refused = await rig.slash(member, "liq", price="86000")
    assert refused.content == "**Use commands in <#99999999>.**"
    assert refused.is_ephemeral
    assert (await rig.slash(admin, "liq", price="86000")).content.startswith("**BTC 86,000")


async def test_commands_are_described_in_every_language(rig: Rig) -> None:
    synced = {command["name"]: command for command in rig.server.commands()}
    assert set(synced["liq"]["description_localizations"]) >= {"es-ES", "ru", "pt-BR", "vi", "zh-CN"}
    assert synced["subscribe"]["default_member_permissions"] not in (None, "0")
    assert sorted(synced["liq"]["integration_types"]) == [0, 1]
    assert synced["channel"]["contexts"] == [0]


async def test_a_user_installed_app_works_without_the_bot(rig: Rig) -> None:
    member = rig.server.member.id
    record = rig.server.slash(member, rig.server.channel.id, "threshold", own=True, rule="busy")
    await until(lambda: rig.server.answer(record) is not None)
    assert "Alerts set" in rig.server.answer(record).content
    assert "privately" not in rig.server.answer(record).content  # it is their private chat already
    (chat,) = await rig.kit.store.chats.all("discord")
    assert chat.kind == "private"


async def test_private_alerts_send_a_test_message(rig: Rig) -> None:
    await rig.slash(rig.server.member.id, "threshold", rule="busy")
    message = await rig.kit.store.outbox.claim("discord", 1000, ())
    assert message is not None
    assert message.body["kind"] == "test"
    assert message.chat_kind == "private"


async def test_a_thread_subscribes_separately(rig: Rig) -> None:
    thread = rig.server.backend.create_thread(rig.server.channel.id, "majors", owner_id=rig.server.admin.id)
    record = rig.server.slash(rig.server.admin.id, thread.id, "subscribe", tier="calm")
    await until(lambda: rig.server.answer(record) is not None)
    assert "Subscribed majors: near calm" in rig.server.answer(record).content
    (chat,) = await rig.kit.store.chats.all("discord")
    assert (chat.remote_id, chat.kind) == (str(thread.id), "channel")
    message = replace(rig.message(), remote_chat=chat.remote_id)
    assert (await rig.platform.send(message)).kind == "sent"
    assert len(rig.server.messages(thread.id)) == 1


async def test_commands_between_users_apply_to_the_members_private_chat(rig: Rig) -> None:
    member = rig.server.member.id
    record = rig.server.slash(member, rig.server.channel.id, "settings", between_people=True)
    await until(lambda: rig.server.answer(record) is not None)
    (chat,) = await rig.kit.store.chats.all("discord")
    assert (chat.kind, chat.remote_id) == ("private", await rig.platform.private_chat(str(member)))


async def test_unapproved_chats_get_no_autocomplete(rig: Rig) -> None:
    rig.kit.services.access = "chats"
    assert await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "asset", "e") == []
    chat = await rig.kit.store.chats.upsert("discord", str(rig.server.channel.id), "channel", "")
    await rig.kit.store.chats.approve(chat.id, approved=True)
    assert await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "asset", "e")


async def test_a_picture_that_cannot_be_drawn_is_left_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(answer: Answer) -> bytes:
        raise OSError("no memory")

    monkeypatch.setattr(rig.platform.incoming, "_draw", broken)
    answer = await rig.slash(rig.server.member.id, "map", asset="btc")
    assert answer.content.startswith("**BTC ")
    assert not answer.attachments


async def test_with_a_role_nobody_else_is_mentioned(rig: Rig) -> None:
    backend, guild = rig.server.backend, rig.server.guild.id
    role, other = (backend.create_role(guild, name, mentionable=True).id for name in ("traders", "others"))
    answer = Answer(f"BTC @everyone @here <@{rig.server.member.id}> <@&{other}>")
    message = replace(
        rig.message(),
        body={"kind": "near", "top_tier": True},
        rendered=rig.platform.render(answer),
        preferences=Preferences(role=str(role)),
    )
    assert (await rig.platform.send(message)).kind == "sent"
    (sent,) = rig.server.messages(rig.server.channel.id)
    assert "@everyone" in sent.content
    assert not sent.mention_everyone
    assert (sent.ping_role_ids, sent.ping_user_ids) == ([role], [])
