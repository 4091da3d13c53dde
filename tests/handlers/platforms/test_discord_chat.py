"""Talking to the bot on Discord: proposals, forms, answers in place, who sees what, roles, languages, own apps."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

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
    """What a button answers."""
    record = rig.server.click(user, rig.server.channel.id, message, label)
    await until(lambda: rig.server.answer(record) is not None)
    return rig.server.answer(record)


async def test_an_answer_is_changed_in_its_place_by_whoever_asked(rig: Rig) -> None:
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


async def test_a_form_asks_for_what_is_missing(rig: Rig) -> None:
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


async def test_coins_and_prices_of_clusters_are_proposed(rig: Rig) -> None:
    found = await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "asset", "e")
    assert found[0] == {"name": "ETH", "value": "eth"}
    prices = await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "price", "8")
    assert prices[0]["value"] == "8"
    assert re.fullmatch(r"8\d,\d{3} longs [+-]\d\.\d% ~\$.*", prices[1]["name"])
    assert proposed(rig.kit.services, "price", "", "eth")
    assert all(len(name) <= 100 for name, _ in proposed(rig.kit.services, "price", "9" * 200))


async def test_figures_say_their_age_on_the_readers_clock(rig: Rig) -> None:
    answer = await rig.slash(rig.server.member.id, "liq", price="86000")
    assert re.search(r"-# data from <t:\d{10}:R>", answer.embeds[0]["description"])


async def test_a_role_is_called_for_the_largest_alone(rig: Rig) -> None:
    role = 123456789012345678
    admin = rig.server.admin.id
    assert "settings" in (await rig.slash(admin, "channel", setting="role", value=f"<@&{role}>")).content
    (chat,) = await rig.kit.store.chats("discord")
    assert chat.preferences.role == str(role)
    bodies: list[dict[str, Any]] = [{"kind": "near"}, {"kind": "near", "top_tier": True}]
    for number, body in enumerate(bodies):
        message = replace(rig.message(nonce=f"role-{number}"), body=body, preferences=chat.preferences)
        assert (await rig.face.send(message)).kind == "sent"
    quiet, loud = rig.server.messages(rig.server.channel.id)
    assert not quiet.content.startswith("<@&")
    assert loud.content.startswith(f"<@&{role}> **BTC")


async def test_what_concerns_one_is_seen_by_one(rig: Rig) -> None:
    admin, member = rig.server.admin.id, rig.server.member.id
    assert (await rig.slash(member, "settings")).is_ephemeral
    assert not (await rig.slash(member, "liq", price="86000")).is_ephemeral
    await rig.slash(admin, "channel", setting="commands", value="private")
    assert (await rig.slash(member, "liq", price="86000")).is_ephemeral


async def test_commands_can_be_kept_to_one_room(rig: Rig) -> None:
    admin, member = rig.server.admin.id, rig.server.member.id
    await rig.slash(admin, "channel", setting="commands", value="<#99999999>")
    told = await rig.slash(member, "liq", price="86000")
    assert told.content == "**Use commands in <#99999999>.**"
    assert told.is_ephemeral
    assert (await rig.slash(admin, "liq", price="86000")).content.startswith("**BTC 86,000")


async def test_commands_are_described_in_every_language(rig: Rig) -> None:
    synced = {command["name"]: command for command in rig.server.commands()}
    assert set(synced["liq"]["description_localizations"]) >= {"es-ES", "ru", "pt-BR", "vi", "zh-CN"}
    assert synced["subscribe"]["default_member_permissions"] not in (None, "0")
    assert sorted(synced["liq"]["integration_types"]) == [0, 1]
    assert synced["channel"]["contexts"] == [0]


async def test_an_app_of_ones_own_is_answered_where_the_bot_is_not(rig: Rig) -> None:
    member = rig.server.member.id
    record = rig.server.slash(member, rig.server.channel.id, "threshold", own=True, rule="busy")
    await until(lambda: rig.server.answer(record) is not None)
    assert "Alerts set" in rig.server.answer(record).content
    assert "privately" not in rig.server.answer(record).content  # it is their own chat already
    (chat,) = await rig.kit.store.chats("discord")
    assert chat.kind == "private"


async def test_a_private_room_is_proved_by_a_message(rig: Rig) -> None:
    await rig.slash(rig.server.member.id, "threshold", rule="busy")
    message = await rig.kit.store.claim("discord", 1000, ())
    assert message is not None
    assert message.body["kind"] == "test"
    assert message.chat_kind == "private"


async def test_a_thread_is_subscribed_by_itself(rig: Rig) -> None:
    thread = rig.server.backend.create_thread(rig.server.channel.id, "majors", owner_id=rig.server.admin.id)
    record = rig.server.slash(rig.server.admin.id, thread.id, "subscribe", tier="calm")
    await until(lambda: rig.server.answer(record) is not None)
    assert "Subscribed majors: near calm" in rig.server.answer(record).content
    (chat,) = await rig.kit.store.chats("discord")
    assert (chat.remote_id, chat.kind) == (str(thread.id), "channel")
    message = replace(rig.message(), remote_chat=chat.remote_id)
    assert (await rig.face.send(message)).kind == "sent"
    assert len(rig.server.messages(thread.id)) == 1


async def test_what_is_shared_by_people_without_the_bot_is_nobodys_private_chat(rig: Rig) -> None:
    member = rig.server.member.id
    record = rig.server.slash(member, rig.server.channel.id, "settings", between_people=True)
    await until(lambda: rig.server.answer(record) is not None)
    (chat,) = await rig.kit.store.chats("discord")
    assert (chat.kind, chat.remote_id) == ("private", await rig.face.private_chat(str(member)))


async def test_nothing_is_proposed_to_whoever_was_not_let_in(rig: Rig) -> None:
    rig.kit.services.access = "chats"
    assert await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "asset", "e") == []
    chat = await rig.kit.store.upsert_chat("discord", str(rig.server.channel.id), "channel", "")
    await rig.kit.store.approve_chat(chat.id, approved=True)
    assert await rig.server.propose(rig.server.member.id, rig.server.channel.id, "liq", "asset", "e")


async def test_a_picture_that_cannot_be_drawn_is_left_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(found: Answer) -> bytes:
        raise OSError("no memory")

    monkeypatch.setattr(rig.face.incoming, "_draw", broken)
    answer = await rig.slash(rig.server.member.id, "map", asset="btc")
    assert answer.content.startswith("**BTC ")
    assert not answer.attachments
