"""Groups and channels: their profile, the log of changes, previews, and what is told when they are lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from engine.chats import Chat
from handlers.alert_messages import alert_answer
from handlers.commands.channel import preview_facts
from handlers.delivery.failures import tell_subscriber
from tests.handlers.kit import Kit, filled_board


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await Kit.make()
    made.people.admins.add("7")
    yield made
    await made.close()


@pytest.fixture
async def group(kit: Kit) -> Chat:
    return await kit.chat("-5", "group")


async def test_only_admins_change_a_profile(kit: Kit, group: Chat) -> None:
    refused = await kit.ask("/channel cap 3", "8", group)
    assert refused.headline == "Only admins of this group can do that."
    assert "At most 3 alert messages" in (await kit.ask("/channel cap 3", chat=group)).text
    chat = await kit.chat("-5", "group")
    assert chat.preferences.cap == 3
    for wrong in ("cap 0", "cap 101", "cap x", "role everybody", "commands where", "cap", "colour red", "cap 3 4"):
        found = await kit.ask(f"/channel {wrong}", chat=group)
        assert "Try:" in found.text, wrong
    assert (await kit.chat("-5", "group")).preferences == chat.preferences


async def test_who_changed_what_is_kept(kit: Kit, group: Chat) -> None:
    await kit.ask("/subscribe calm", chat=group)
    await kit.ask("/channel cap 3", chat=group)
    await kit.ask("/channel cap 999", chat=group)  # refused: changed nothing
    await kit.ask("/liq 86000", chat=group)
    log = await kit.ask("/channel log", chat=group)
    assert log.headline == "The last 2 changes here"
    assert [line.split(": ", 1)[1] for line in log.lines] == ["/channel cap 3", "/subscribe calm"]
    assert all(" 7: " in line for line in log.lines)


async def test_what_changed_nothing_is_not_in_the_log(kit: Kit, group: Chat) -> None:
    for line in ("/settings", "/settings hello", "/mute nothing", "/language", "/timezone"):
        await kit.ask(line, "8", group)
    assert await kit.store.changes(group.id, 10) == []
    for line in ("/subscribe", "/mute", "/stop"):  # without a word behind them they change as much
        await kit.ask(line, chat=group)
    assert [change.what for change in await kit.store.changes(group.id, 10)] == ["/stop", "/mute", "/subscribe"]
    await kit.ask("/forget yes", chat=group)
    assert await kit.store.changes(group.id, 10) == []


async def test_a_topic_is_let_in_and_shut_out_with_its_group() -> None:
    kit = await Kit.make("chats")
    await kit.store.add_operator("telegram", "7")
    group = await kit.chat("-100", "group")
    topic = await kit.store.upsert_chat("telegram", "-100/44", "group", "", parent="-100")
    assert (await kit.ask("/help", "8", topic)).headline == "Commands"  # free for all
    assert (await kit.ask("/liq", "8", topic)).headline == "This bot is private."
    await kit.ask(f"/admin approve {group.id}")
    assert (await kit.ask("/liq", "8", topic)).headline.startswith("BTC ")
    await kit.ask(f"/admin refuse {group.id}")
    later = await kit.store.upsert_chat("telegram", "-100/45", "group", "", parent="-100")
    for chat in (topic, later):
        assert (await kit.ask("/liq", "8", chat)).headline == "This bot is private."
    assert not any(chat.active for chat in await kit.store.chats() if chat.remote_id in ("-100", "-100/44"))
    await kit.close()


async def test_a_preview_goes_the_way_of_alerts_and_is_marked(kit: Kit, group: Chat) -> None:
    assert "on its way" in (await kit.ask("/preview", chat=group)).headline
    message = await kit.store.claim("telegram", 1000, ())
    assert message is not None
    assert message.remote_chat == "-5"
    assert alert_answer(message.body).headline.startswith("[TEST] BTC ")
    assert await kit.store.recent_alerts(group.id, 10) == []


def test_a_preview_of_a_map_without_clusters_is_a_plain_test() -> None:
    board = filled_board()
    assert board.clusters
    board.tracker._live.clear()
    assert preview_facts(board, board.closed_at) == {"kind": "test"}


async def test_whoever_subscribed_is_told_that_a_group_is_lost(kit: Kit, group: Chat) -> None:
    await kit.ask("/subscribe calm", chat=group)
    await tell_subscriber(kit.services, group, kit.people)
    message = await kit.store.claim("telegram", 1000, ())
    assert message is not None
    assert (message.remote_chat, message.body["kind"]) == ("7", "lost")
    assert alert_answer(message.body).headline == "I can't post in -5 any more: its alerts are paused"


async def test_nobody_is_told_where_nobody_subscribed(kit: Kit, group: Chat) -> None:
    await tell_subscriber(kit.services, group, kit.people)
    assert await kit.store.claim("telegram", 1000, ()) is None


async def test_what_is_forgotten_is_not_exported(kit: Kit) -> None:
    await kit.ask("/threshold busy")
    await kit.ask("/language es")
    found = await kit.ask("/export")
    assert found.file is not None
    assert len(json.loads(found.file[1])["rules"]) == 1
    await kit.ask("/forget yes")
    found = await kit.ask("/export")
    assert found.file is not None
    kept = json.loads(found.file[1])
    assert (kept["rules"], kept["messages"], kept["changes"]) == ([], [], [])
    assert kept["chat"][0]["language"] == ""


async def test_a_rule_of_one_side_takes_the_place_of_both_and_leaves_the_other(kit: Kit) -> None:
    await kit.ask("/threshold normal")
    assert "shorts" not in (await kit.ask("/threshold calm longs")).text
    await kit.ask("/threshold busy shorts")
    chat = await kit.chat()
    assert {rule.text for rule in await kit.store.rules_of_chat(chat.id)} == {"near calm longs", "near busy shorts"}
    await kit.ask("/threshold normal")
    assert [rule.text for rule in await kit.store.rules_of_chat(chat.id)] == ["near normal"]


async def test_a_rule_of_one_coin_and_side_leaves_the_other_side_to_the_rule_for_all(kit: Kit) -> None:
    await kit.ask("/threshold busy")
    await kit.ask("/threshold calm longs btc")
    book = kit.services.pipeline.rules
    chat = await kit.chat()
    for found in (book.for_asset("BTC"), book._of_chat_for(chat.id, "BTC")):
        assert sorted(rule.text for rule in found) == ["near busy shorts", "near calm longs"]
    assert [rule.text for rule in book.for_asset("ETH")] == ["near busy"]
    await kit.ask("/threshold calm shorts btc")
    assert sorted(rule.text for rule in book.for_asset("BTC")) == ["near calm longs", "near calm shorts"]


async def test_what_somebody_changes_of_their_own_is_not_in_a_groups_log(kit: Kit, group: Chat) -> None:
    await kit.ask("/threshold busy", "8")
    found = await kit.ask("/alerts remove 1", "8", group)
    assert found.private
    assert await kit.store.changes(group.id, 5) == []
    await kit.ask("/subscribe calm", chat=group)
    number = kit.services.pipeline.rules.rules[0].id
    await kit.ask(f"/alerts remove {number}")  # of the group, by its admin, from the private chat
    assert (await kit.store.changes(group.id, 5))[0].what == f"/alerts remove {number}"


async def test_what_was_meant_keeps_its_coin_and_its_end() -> None:
    boards = {"BTC": filled_board(), "ETH": filled_board("ETH", 3000.0)}
    kit = await Kit.make(boards=boards)
    asked = await kit.ask("/alert price 3 eth every 4h for 7d")
    assert asked.buttons[0].command == "/alert price 3000 eth every 4h for 7d"
    assert (await kit.ask("/liq 88")).buttons[0].command == "/liq 88000"
    await kit.close()


async def test_a_personal_rule_made_in_a_group_speaks_its_owners_language(kit: Kit, group: Chat) -> None:
    await kit.ask("/threshold busy", "8", group, locale="es-ES")
    own = next(chat for chat in await kit.store.chats() if chat.remote_id == "8")
    assert own.preferences.locale == "es-ES"


async def test_a_group_says_which_language_its_alerts_are_in(kit: Kit, group: Chat) -> None:
    found = await kit.ask("/language", "8", group, locale="ru")
    assert "English" in found.headline
    assert "Русский" in [button.label for button in found.buttons]
