"""Groups and channels: profile, change log, previews, and the notice when one is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from engine.chats import Chat
from handlers.alert_messages import alert_answer
from handlers.commands.channel import preview_facts
from handlers.delivery.failures import notify_subscriber
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
        answer = await kit.ask(f"/channel {wrong}", chat=group)
        assert "Try:" in answer.text, wrong
    assert (await kit.chat("-5", "group")).preferences == chat.preferences


async def test_changes_are_logged(kit: Kit, group: Chat) -> None:
    await kit.ask("/subscribe calm", chat=group)
    await kit.ask("/channel cap 3", chat=group)
    await kit.ask("/channel cap 999", chat=group)  # refused: changed nothing
    await kit.ask("/liq 86000", chat=group)
    log = await kit.ask("/channel log", chat=group)
    assert log.headline == "The last 2 changes here"
    assert [line.split(": ", 1)[1] for line in log.lines] == ["/channel cap 3", "/subscribe calm"]
    assert all(" 7: " in line for line in log.lines)


async def test_commands_without_effect_are_not_logged(kit: Kit, group: Chat) -> None:
    for line in ("/settings", "/settings hello", "/mute nothing", "/language", "/timezone"):
        await kit.ask(line, "8", group)
    assert await kit.store.chats.changes(group.id, 10) == []
    for line in ("/subscribe", "/mute", "/stop"):  # these change something even without arguments
        await kit.ask(line, chat=group)
    assert [change.what for change in await kit.store.chats.changes(group.id, 10)] == ["/stop", "/mute", "/subscribe"]
    await kit.ask("/forget yes", chat=group)
    assert await kit.store.chats.changes(group.id, 10) == []


async def test_topics_are_approved_and_refused_by_group() -> None:
    kit = await Kit.make("chats")
    await kit.store.operators.add("telegram", "7")
    group = await kit.chat("-100", "group")
    topic = await kit.store.chats.upsert("telegram", "-100/44", "group", "", parent="-100")
    assert (await kit.ask("/help", "8", topic)).headline == "Commands"  # free for all
    assert (await kit.ask("/liq", "8", topic)).headline == "This bot is private."
    await kit.ask(f"/admin approve {group.id}")
    assert (await kit.ask("/liq", "8", topic)).headline.startswith("BTC ")
    await kit.ask(f"/admin refuse {group.id}")
    later = await kit.store.chats.upsert("telegram", "-100/45", "group", "", parent="-100")
    for chat in (topic, later):
        assert (await kit.ask("/liq", "8", chat)).headline == "This bot is private."
    assert not any(chat.active for chat in await kit.store.chats.all() if chat.remote_id in ("-100", "-100/44"))
    await kit.close()


async def test_a_preview_is_sent_like_an_alert_and_marked(kit: Kit, group: Chat) -> None:
    assert "on its way" in (await kit.ask("/preview", chat=group)).headline
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    assert message.remote_chat == "-5"
    assert alert_answer(message.body).headline.startswith("[TEST] BTC ")
    assert await kit.store.alerts.recent(group.id, 10) == []


def test_a_preview_of_a_map_without_clusters_is_a_plain_test() -> None:
    board = filled_board()
    assert board.clusters
    board.tracker._live.clear()
    assert preview_facts(board, board.closed_at) == {"kind": "test"}


async def test_the_subscriber_is_notified_of_a_lost_group(kit: Kit, group: Chat) -> None:
    await kit.ask("/subscribe calm", chat=group)
    await notify_subscriber(kit.services, group, kit.people)
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    assert (message.remote_chat, message.body["kind"]) == ("7", "lost")
    assert alert_answer(message.body).headline == "I can't post in -5 any more: its alerts are paused"


async def test_no_subscriber_means_no_notification(kit: Kit, group: Chat) -> None:
    await notify_subscriber(kit.services, group, kit.people)
    assert await kit.store.outbox.claim("telegram", 1000, ()) is None


async def test_forgotten_data_is_not_exported(kit: Kit) -> None:
    await kit.ask("/threshold busy")
    await kit.ask("/language es")
    answer = await kit.ask("/export")
    assert answer.file is not None
    assert len(json.loads(answer.file[1])["rules"]) == 1
    await kit.ask("/forget yes")
    answer = await kit.ask("/export")
    assert answer.file is not None
    kept = json.loads(answer.file[1])
    assert (kept["rules"], kept["messages"], kept["changes"]) == ([], [], [])
    assert kept["chat"][0]["language"] == ""


async def test_one_sided_rules_replace_a_two_sided_one_and_coexist(kit: Kit) -> None:
    await kit.ask("/threshold normal")
    assert "shorts" not in (await kit.ask("/threshold calm longs")).text
    await kit.ask("/threshold busy shorts")
    chat = await kit.chat()
    assert {rule.text for rule in await kit.store.rules.of_chat(chat.id)} == {"near calm longs", "near busy shorts"}
    await kit.ask("/threshold normal")
    assert [rule.text for rule in await kit.store.rules.of_chat(chat.id)] == ["near normal"]


async def test_a_one_sided_coin_rule_leaves_the_other_side_to_the_general_rule(kit: Kit) -> None:
    await kit.ask("/threshold busy")
    await kit.ask("/threshold calm longs btc")
    book = kit.services.pipeline.rules
    chat = await kit.chat()
    for applied in (book.for_asset("BTC"), book._of_chat_for(chat.id, "BTC")):
        assert sorted(rule.text for rule in applied) == ["near busy shorts", "near calm longs"]
    assert [rule.text for rule in book.for_asset("ETH")] == ["near busy"]
    await kit.ask("/threshold calm shorts btc")
    assert sorted(rule.text for rule in book.for_asset("BTC")) == ["near calm longs", "near calm shorts"]


async def test_personal_changes_are_not_in_a_groups_log(kit: Kit, group: Chat) -> None:
    await kit.ask("/threshold busy", "8")
    answer = await kit.ask("/alerts remove 1", "8", group)
    assert answer.private
    assert await kit.store.chats.changes(group.id, 5) == []
    await kit.ask("/subscribe calm", chat=group)
    number = kit.services.pipeline.rules.rules[0].id
    await kit.ask(f"/alerts remove {number}")  # the group's rule, removed by its admin from the private chat
    assert (await kit.store.chats.changes(group.id, 5))[0].what == f"/alerts remove {number}"


async def test_suggestions_keep_the_coin_and_expiry() -> None:
    boards = {"BTC": filled_board(), "ETH": filled_board("ETH", 3000.0)}
    kit = await Kit.make(boards=boards)
    asked = await kit.ask("/alert price 3 eth every 4h for 7d")
    assert asked.buttons[0].command == "/alert price 3000 eth every 4h for 7d"
    assert (await kit.ask("/liq 88")).buttons[0].command == "/liq 88000"
    await kit.close()


async def test_a_personal_rule_set_in_a_group_uses_its_owners_language(kit: Kit, group: Chat) -> None:
    await kit.ask("/threshold busy", "8", group, locale="es-ES")
    own = next(chat for chat in await kit.store.chats.all() if chat.remote_id == "8")
    assert own.preferences.locale == "es-ES"


async def test_a_group_shows_the_language_of_its_alerts(kit: Kit, group: Chat) -> None:
    answer = await kit.ask("/language", "8", group, locale="ru")
    assert "English" in answer.headline
    assert "Русский" in [button.label for button in answer.buttons]
