"""Using the bot on Telegram: edits in place, questions, topics, inline queries, menus, budgets, rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from handlers.answers import Answer
from handlers.budget import PERSON
from handlers.commands.registry import names_of
from tests.conftest import until
from tests.handlers.kit import Kit, filled_board
from tests.handlers.platforms.test_telegram import Rig
from tests.servers.telegram import Sent, TelegramServer

GROUP = -5


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    kit = await Kit.make(boards={"BTC": filled_board(), "ETH": filled_board("ETH", 3000.0)})
    server = TelegramServer()
    await server.start()
    made = Rig(kit, server)
    await made.start()
    yield made
    await made.stop()
    await server.stop()
    await kit.close()


async def say(rig: Rig, text: str, user: int = 7, chat: int | None = None, topic: int | None = None) -> Sent:
    """Write to the bot as a user. Return its answer."""
    where = user if chat is None else chat
    before = len(rig.server.to(where))
    rig.server.say(user, text, chat, topic)
    await until(lambda: len(rig.server.to(where)) > before)
    return rig.server.to(where)[-1]


async def test_only_the_person_who_asked_edits_a_map(rig: Rig) -> None:
    sent = await say(rig, "/map btc", chat=GROUP)
    assert sent.replies_to is not None
    before = sent.photo
    rig.server.press(7, sent, "ETH")
    await until(lambda: sent.edits == 1)
    assert "ETH" in sent.plain
    assert sent.photo != before
    assert sent.buttons[0][0]["text"] == "Refresh"
    rig.server.press(8, sent, "±3%")
    await until(lambda: rig.server.notices)
    assert "the person who asked" in rig.server.notices[0]
    assert sent.edits == 1
    assert len(rig.server.to(GROUP)) == 1


async def test_a_refresh_that_changes_nothing_sends_nothing_new(rig: Rig) -> None:
    sent = await say(rig, "/liq 86000")
    presses = 2
    for _ in range(presses):
        rig.server.press(7, sent, "Refresh")
    await until(lambda: sum(method == "editMessageText" for method, _ in rig.server.calls) == presses)
    await asyncio.sleep(0.1)
    assert len(rig.server.to(7)) == 1


async def test_only_the_person_who_asked_closes_an_answer(rig: Rig) -> None:
    sent = await say(rig, "/map btc", chat=GROUP)
    rig.server.press(8, sent, "✕")
    await until(lambda: rig.server.notices)
    assert rig.server.to(GROUP)
    rig.server.press(7, sent, "✕")
    await until(lambda: not rig.server.to(GROUP))


async def test_a_group_of_one_coin_defaults_to_it(rig: Rig) -> None:
    rig.server.admins[GROUP] = {7}
    assert (
        "Subscribed Group -5: near calm longs, ETH" in (await say(rig, "/subscribe calm longs eth", chat=GROUP)).plain
    )
    assert (await say(rig, "/liq 2900", chat=GROUP)).plain.startswith("ETH 2,900: ")
    assert (await say(rig, "/liq btc 86000", chat=GROUP)).plain.startswith("BTC 86,000: ")
    assert (await say(rig, "/liq 86000")).plain.startswith("BTC 86,000: ")


async def test_an_alert_is_made_from_a_cluster_in_two_taps(rig: Rig) -> None:
    sent = await say(rig, "/clusters")
    level = sent.buttons[0][0]["text"]
    rig.server.press(7, sent, level)
    await until(lambda: len(rig.server.to(7)) == 2)
    offer = rig.server.to(7)[1]
    rig.server.press(7, offer, offer.buttons[0][0]["text"])
    await until(lambda: len(rig.server.to(7)) == 3)
    assert rig.server.to(7)[2].plain.startswith("Alerts set: price ")
    assert len(rig.kit.services.pipeline.rules.rules) == 1
    rig.server.press(7, rig.server.to(7)[2], "Undo")
    await until(lambda: not rig.kit.services.pipeline.rules.rules)


async def test_questions_can_set_up_an_alert(rig: Rig) -> None:
    sent = await say(rig, "/alert")
    rig.server.press(7, sent, "A price")
    await until(lambda: len(rig.server.to(7)) == 2)
    question = rig.server.to(7)[1]
    assert question.forces_reply
    assert "Which price?" in question.plain
    assert "Alerts set: price 95,000 once, BTC" in (await say(rig, "95k")).plain
    # The question is answered, so the next text is a query of its own.
    assert (await say(rig, "86000")).plain.startswith("BTC 86,000: ")


async def test_a_command_ends_a_question(rig: Rig) -> None:
    sent = await say(rig, "/alert")
    rig.server.press(7, sent, "Funding")
    await until(lambda: len(rig.server.to(7)) == 2)
    assert "Cancelled." in (await say(rig, "/cancel")).plain
    assert (await say(rig, "eth")).plain.startswith("ETH ")
    assert not rig.kit.services.pipeline.rules.rules


async def test_in_a_group_text_is_ignored_unless_it_answers_a_question(rig: Rig) -> None:
    rig.server.say(7, "86000", GROUP)
    sent = await say(rig, "/alert", chat=GROUP)
    rig.server.press(8, sent, "Risk")
    await until(lambda: len(rig.server.to(GROUP)) == 2)
    question = rig.server.to(GROUP)[1]
    assert question.text.startswith('<a href="tg://user?id=8">User8</a>: ')
    rig.server.say(8, "just talking, 70 of us", GROUP)
    rig.server.say(7, "70", GROUP, replies_to=question)  # not the person who was asked
    rig.server.say(8, "70", GROUP, replies_to=question)
    await until(lambda: rig.server.to(8))
    assert rig.server.to(8)[0].plain.startswith("Alerts set: risk 70")
    assert len(rig.server.to(GROUP)) == 2


async def test_personal_answers_are_sent_privately(rig: Rig) -> None:
    await say(rig, "/threshold busy", 8)
    rig.server.say(8, "/alerts", GROUP)
    await until(lambda: len(rig.server.to(8)) == 2)
    assert "#1 near busy" in rig.server.to(8)[1].plain
    rig.server.say(8, "/threshold calm", GROUP)
    await until(lambda: len(rig.server.to(8)) == 3)
    assert not rig.server.to(GROUP)


async def test_an_admins_own_alert_made_in_a_group_can_be_undone(rig: Rig) -> None:
    rig.server.admins[GROUP] = {7}
    await say(rig, "/subscribe calm", chat=GROUP)
    rig.server.say(7, "/threshold busy", GROUP)
    await until(lambda: rig.server.to(7))
    rig.server.press(7, rig.server.to(7)[0], "Undo")
    await until(lambda: rig.server.to(7)[0].edits)
    assert [rule.text for rule in rig.kit.services.pipeline.rules.rules] == ["near calm"]
    number = rig.kit.services.pipeline.rules.rules[0].id
    rig.server.say(7, f"/alerts remove {number}")  # the group's rule, from the private chat: an admin may
    await until(lambda: not rig.kit.services.pipeline.rules.rules)


async def test_a_channels_readers_cannot_make_the_bot_post_in_it(rig: Rig) -> None:
    channel = -1009
    rig.server.chats[channel] = {"type": "channel", "title": "Mine", "username": "mine"}
    post = await say(rig, "/map", 0, channel)
    for label in ("Clusters", "Refresh", "✕"):
        rig.server.press(8, post, label)
    await until(lambda: len(rig.server.notices) == 3)
    assert rig.server.notices[0].startswith("BTC ")
    assert (len(rig.server.to(channel)), post.edits) == (1, 0)
    rig.server.admins[channel] = {8}
    rig.server.press(8, post, "✕")
    await until(lambda: not rig.server.to(channel))


async def test_a_forged_button_press_is_ignored(rig: Rig) -> None:
    rig.server.admins[GROUP] = {7}
    await say(rig, "/subscribe calm", chat=GROUP)
    sent = await say(rig, "/help", chat=GROUP)
    rig.server.forge(7, sent, "!/close")
    rig.server.forge(7, sent, "/forget yes")
    assert (await say(rig, "/alerts", chat=GROUP)).plain.startswith("1 alert here")
    assert sent in rig.server.to(GROUP)


async def test_a_topic_is_a_chat_of_its_own(rig: Rig) -> None:
    rig.server.admins[GROUP] = {7}
    sent = await say(rig, "/subscribe calm", chat=GROUP, topic=44)
    assert sent.topic == 44
    (chat,) = await rig.kit.store.chats.all("telegram")
    assert chat.remote_id == f"{GROUP}/44"
    assert (await rig.kit.store.chats.changes(chat.id, 5))[0].what == "/subscribe calm"
    await rig.kit.store.outbox.add_message(chat.id, {"kind": "test"})
    claimed = await rig.kit.store.outbox.claim("telegram", 1000, ())
    assert claimed is not None
    message = replace(rig.message(), remote_chat=claimed.remote_chat)
    assert (await rig.platform.send(message)).kind == "sent"
    assert rig.server.to(GROUP)[-1].topic == 44


async def test_inline_queries_answer_in_any_chat(rig: Rig) -> None:
    rig.server.ask_inline(7, "btc 86000")
    await until(lambda: rig.server.inline)
    (level, market) = rig.server.inline[0]
    assert level["title"].startswith("BTC 86,000: ~$")
    assert "open interest" in market["title"]
    assert "Binance" in level["input_message_content"]["message_text"]
    for typed in ("", "b", "bt", "btc", "btc 8", "btc 86"):
        before = len(rig.server.inline)
        rig.server.ask_inline(7, typed)
        await until(lambda before=before: len(rig.server.inline) > before)  # type: ignore[misc]
    assert rig.server.inline[1][0]["title"].startswith("BTC ")
    assert len(rig.server.inline[-1]) == 2
    assert (await say(rig, "/help")).plain.startswith("Commands")


async def test_menus_are_by_scope_and_language(rig: Rig) -> None:
    await until(lambda: len(rig.server.menus) == 18)
    private, group = rig.server.menus["default", ""], rig.server.menus["all_group_chats", "es"]
    admins = rig.server.menus["all_chat_administrators", "pt"]
    assert "export" in private
    assert names_of("group_only").isdisjoint(private)
    assert names_of("hidden_from_members").isdisjoint(group)
    assert set(admins) >= names_of("hidden_from_members")
    assert "export" in admins
    assert "export" not in group


async def test_a_link_leads_to_an_answer(rig: Rig) -> None:
    assert (await say(rig, "/start liq-eth-2900")).plain.startswith("ETH 2,900: ")
    assert (await say(rig, "/start forget-yes")).plain.startswith("Cliffwatch")


async def test_start_shows_the_nearest_clusters_and_sends_a_test(rig: Rig) -> None:
    sent = await say(rig, "/start")
    assert sent.photo.startswith(b"\x89PNG")
    assert "I alert you before price reaches" in sent.plain
    assert "untraded" in sent.plain
    message = await rig.kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    assert message.body["kind"] == "test"


async def test_an_export_is_a_file_and_private(rig: Rig) -> None:
    await say(rig, "/threshold busy")
    sent = await say(rig, "/export")
    assert sent.method == "sendDocument"
    kept = json.loads(sent.file)
    assert kept["rules"][0]["kind"] == "near"
    assert kept["chat"][0]["remote_id"] == "7"


async def test_a_button_refused_in_a_group_notifies_only_that_person(rig: Rig) -> None:
    rig.server.admins[GROUP] = {7}
    await say(rig, "/subscribe calm", chat=GROUP)
    sent = await say(rig, "/mute btc 4h", chat=GROUP)
    before = len(rig.server.to(GROUP))
    rig.server.press(8, sent, "Unmute")
    await until(lambda: rig.server.notices)
    helped = await say(rig, "/clusters", chat=GROUP)
    for person in (8, 9, 10):
        rig.server.press(person, helped, "Map")
    await until(lambda: len(rig.server.notices) == 3 and len(rig.server.to(GROUP)) == before + 2)
    assert rig.server.notices[1:] == ["Just posted, see below."] * 2
    assert sum(bool(message.photo) for message in rig.server.to(GROUP)[before + 1 :]) == 1


async def test_a_groups_admin_gets_its_export_privately(rig: Rig) -> None:
    assert "Only admins" in (await say(rig, "/export", chat=GROUP)).plain
    rig.server.admins[GROUP] = {7}
    await say(rig, "/subscribe calm", chat=GROUP)
    before = len(rig.server.to(GROUP))
    rig.server.say(7, "/export", GROUP)
    await until(lambda: rig.server.to(7))
    assert json.loads(rig.server.to(7)[0].file)["chat"][0]["remote_id"] == str(GROUP)
    assert len(rig.server.to(GROUP)) == before


async def test_inline_users_are_not_stored(rig: Rig) -> None:
    rig.server.ask_inline(9, "btc 86000")
    await until(lambda: rig.server.inline)
    assert rig.server.inline[0][0]["title"].startswith("BTC 86,000: ~$")
    assert not await rig.kit.store.chats.all()


async def test_too_many_requests_get_one_notice(rig: Rig) -> None:
    rig.kit.services.wall = rig.kit.clock  # it does not move, so no budget refills
    for _ in range(30):
        rig.server.say(7, "/help")
    await until(lambda: len(rig.server.to(7)) > PERSON[0])
    await asyncio.sleep(0.3)
    assert "Cancelled." in (await say(rig, "/cancel")).plain  # free
    answers = [sent.plain for sent in rig.server.to(7) if "Cancelled." not in sent.plain]
    assert sum("Too many requests" in answer for answer in answers) == 1
    assert len(answers) == PERSON[0] + 1
    assert (await say(rig, "/help", 8)).plain.startswith("Commands")


async def test_members_get_private_answers(rig: Rig) -> None:
    rig.server.admins[GROUP] = {7}
    assert "Group -5: settings" in (await say(rig, "/channel commands private", chat=GROUP)).plain
    rig.server.say(8, "/liq 86000", GROUP)
    await until(lambda: rig.server.to(8))
    assert rig.server.to(8)[0].plain.startswith("BTC 86,000: ")
    assert len(rig.server.to(GROUP)) == 1
    assert (await say(rig, "/liq 86000", chat=GROUP)).plain.startswith("BTC 86,000: ")


async def test_a_channel_without_post_rights_is_paused_and_its_subscriber_notified(rig: Rig) -> None:
    channel = -1009
    rig.server.chats[channel] = {"type": "channel", "title": "Mine", "username": "mine"}
    rig.server.admins[channel] = {7}
    assert "Subscribed Mine" in (await say(rig, "/subscribe @mine calm")).plain
    rig.server.demote(channel, 7, posts=False)
    await until(lambda: not rig.kit.services.pipeline.rules.rules)
    notice = None
    while notice is None:  # we notify the subscriber after deactivating the chat
        await asyncio.sleep(0.01)
        notice = await rig.kit.store.outbox.claim("telegram", 1000, ())
    assert (notice.remote_chat, notice.body) == ("7", {"kind": "lost", "chat": "Mine"})
    rig.server.demote(channel, 7, posts=True)
    await until(lambda: len(rig.kit.services.pipeline.rules.rules) == 1)


async def test_the_app_locale_and_chosen_language_are_stored(rig: Rig) -> None:
    rig.server.languages[7] = "de"
    assert "Commands" in (await say(rig, "/help")).plain
    assert "Español" in (await say(rig, "/language es")).plain
    (chat,) = await rig.kit.store.chats.all("telegram")
    assert (chat.preferences.locale, chat.preferences.language) == ("de", "es")


async def test_a_picture_that_cannot_be_drawn_is_left_out(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(answer: Answer) -> bytes:
        raise OSError("no memory")

    monkeypatch.setattr(rig.platform.incoming.replies, "_draw", broken)
    sent = await say(rig, "/map btc")
    assert (sent.method, sent.plain[:4]) == ("sendMessage", "BTC ")


async def test_a_group_that_became_a_supergroup_keeps_its_rules(rig: Rig) -> None:
    old, new = -5, -100_500
    rig.server.admins[old] = {7}
    await say(rig, "/subscribe calm", chat=old)
    rig.server.block(old, blocked=True)  # the bot has left the old group
    await until(lambda: not rig.kit.services.pipeline.rules.rules)
    rig.server.migrate(old, new)
    await until(lambda: len(rig.kit.services.pipeline.rules.rules) == 1)
    (chat,) = [chat for chat in await rig.kit.store.chats.all("telegram") if chat.kind == "group"]
    assert (chat.remote_id, chat.active) == (str(new), True)
    assert (await rig.kit.store.chats.changes(chat.id, 5))[0].what == "/subscribe calm"
