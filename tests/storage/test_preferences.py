"""Preferences applied to alerts: grouped, held, or over the daily cap. None is lost without a notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from engine.alerts.rules import ONCE, Rule
from engine.chats import Chat
from engine.clock import ManualClock
from engine.market import DAY_MS, HOUR_MS
from engine.messages import AlertRecord, Message, TickRecord
from engine.preferences import Preferences
from storage.store import Store

NOON = 1_780_315_200_000
"""Twelve o'clock UTC on 1 June 2026."""


class Kit:
    """A store, its clock, and chats with preferences."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.store = Store(None, self.clock)
        self.number = 0

    async def chat(self, preferences: Preferences | None = None, remote_id: str = "7") -> Chat:
        stored = await self.store.chats.upsert("telegram", remote_id, "private", "")
        if preferences is not None:
            await self.store.chats.save_preferences(stored.id, preferences)
        return stored

    def alert(self, chat: Chat, usd: float = 1e6, kind: str = "near", **more: Any) -> AlertRecord:
        self.number += 1
        cluster = {"id": f"c{self.number}", "forced_usd": usd}
        facts = {"kind": kind, "asset": "BTC", "at": self.clock.at, "price": 1.0, "cluster": cluster}
        return AlertRecord(
            f"k{self.number}", kind, "BTC", chat.id, more.pop("rule_id", 1), self.clock.at, facts, **more
        )

    async def tell(self, *alerts: AlertRecord) -> None:
        await self.store.commit(TickRecord(self.clock.at, alerts=list(alerts)))

    async def claimed(self) -> list[Message]:
        """Claim every due message and mark it sent. Return the messages."""
        messages = []
        while (message := await self.store.outbox.claim("telegram", 1000, ())) is not None:
            await self.store.outbox.mark_sent(message.id, "1")
            messages.append(message)
        return messages


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = Kit()
    await made.store.open()
    yield made
    await made.store.close()


async def test_four_alerts_of_one_tick_are_one_message_worst_first(kit: Kit) -> None:
    chat, other = await kit.chat(), await kit.chat(remote_id="8")
    await kit.tell(*(kit.alert(chat, usd) for usd in (1e6, 9e6, 3e6, 2e6)), kit.alert(other))
    group, single = await kit.claimed()
    assert (group.body["kind"], group.body["count"]) == ("group", 4)
    assert [item["cluster"]["forced_usd"] for item in group.body["items"]] == [9e6, 3e6, 2e6, 1e6]
    assert single.body["kind"] == "near"
    assert single.chat_id == other.id


async def test_quiet_hours_hold_alerts_for_a_morning_digest(kit: Kit) -> None:
    chat = await kit.chat(Preferences("Europe/Berlin", (22 * 60, 7 * 60)))
    kit.clock.at = NOON + 11 * HOUR_MS  # one in the morning in Berlin
    await kit.tell(kit.alert(chat, 2e6))
    kit.clock.at += HOUR_MS
    await kit.tell(kit.alert(chat, 5e6))
    assert await kit.claimed() == []
    kit.clock.at = NOON + 17 * HOUR_MS
    (digest,) = await kit.claimed()
    assert (digest.body["kind"], digest.body["count"]) == ("digest", 2)
    assert [item["cluster"]["forced_usd"] for item in digest.body["items"]] == [5e6, 2e6]
    await kit.tell(kit.alert(chat))
    assert [message.body["kind"] for message in await kit.claimed()] == ["near"]


async def test_held_alerts_do_not_block_top_tier_ones(kit: Kit) -> None:
    chat = await kit.chat(Preferences("UTC", (11 * 60, 13 * 60), loud=True))
    await kit.tell(kit.alert(chat))
    await kit.tell(kit.alert(chat, top_tier=True))
    assert [message.body["kind"] for message in await kit.claimed()] == ["near"]
    kit.clock.at += HOUR_MS
    assert [message.body["kind"] for message in await kit.claimed()] == ["digest"]


async def test_the_daily_cap_is_announced_once_and_resets_daily(kit: Kit) -> None:
    chat = await kit.chat(Preferences(cap=2))
    for _ in range(5):
        await kit.tell(kit.alert(chat))
    assert [message.body["kind"] for message in await kit.claimed()] == ["near", "near", "full"]
    await kit.tell(kit.alert(chat, kind="swept", top_tier=True), kit.alert(chat, kind="swept"))
    await kit.tell(kit.alert(chat, once=True), kit.alert(chat, kind="stale", rule_id=None))
    assert [message.body["kind"] for message in await kit.claimed()] == ["swept", "stale", "near"]
    kit.clock.at += DAY_MS
    await kit.tell(kit.alert(chat))
    assert [message.body["kind"] for message in await kit.claimed()] == ["near"]


async def test_only_delivered_or_pending_alerts_count_for_a_rule(kit: Kit) -> None:
    chat = await kit.chat()
    (rule,), _ = await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near", every_ms=ONCE)], ["near"])
    await kit.tell(kit.alert(chat, rule_id=rule.id))
    assert await kit.store.rules.last_fired([rule.id]) == {rule.id: NOON}
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    await kit.store.outbox.give_up(message.id, "bad request")
    assert await kit.store.alerts.rules_of_message(message.id) == [rule.id]
    assert await kit.store.rules.last_fired([rule.id]) == {}
    await kit.tell(kit.alert(chat, rule_id=rule.id, opens_incident=False))
    assert await kit.store.rules.last_fired([rule.id]) == {}
    assert (await kit.store.rules.load()).last_fired_at == {}


async def test_an_offline_summary_counts_as_an_alert_of_the_rules_it_covers(kit: Kit) -> None:
    """Otherwise a once rule fired again after the next start: first in the summary, then by itself."""
    chat = await kit.chat()
    (rule,), _ = await kit.store.rules.replace(
        chat.id, [Rule(0, chat.id, "price", "BTC", level=1.0, every_ms=ONCE)], []
    )
    await kit.tell(kit.alert(chat, kind="offline", rule_id=None, counts_for=(rule.id,)))
    assert (await kit.store.rules.load()).last_fired_at == {rule.id: NOON}
    assert len(await kit.store.alerts.recent(chat.id, 5)) == 1
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    await kit.store.outbox.give_up(message.id, "bad request")
    assert await kit.store.alerts.rules_of_message(message.id) == [rule.id]
    assert (await kit.store.rules.load()).last_fired_at == {}


async def test_dead_letters_are_listed_and_can_be_resent(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.tell(kit.alert(chat))
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    await kit.store.outbox.keep_rendered(message.id, {"text": "old"})
    await kit.store.outbox.give_up(message.id, "bad request")
    (letter,) = await kit.store.outbox.dead_letters(10)
    assert (letter.id, letter.kind, letter.asset, letter.error) == (message.id, "near", "BTC", "bad request")
    kit.clock.at += 5 * HOUR_MS
    assert await kit.store.outbox.resend([message.id]) == 1
    assert await kit.store.outbox.resend([message.id]) == 0
    again = await kit.store.outbox.claim("telegram", 1000, ())
    assert again is not None
    assert (again.id, again.rendered, again.created_at) == (message.id, None, NOON)


async def test_expire_returns_messages_of_its_platform_only(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.tell(kit.alert(chat))
    kit.clock.at += HOUR_MS
    assert await kit.store.outbox.claim("telegram", 1000, ()) is None
    assert await kit.store.outbox.expire("discord") == []
    assert len(await kit.store.outbox.expire("telegram")) == 1
    assert await kit.store.outbox.counts() == {"dead": 1}


async def test_rules_keep_levels_intervals_and_expiry_and_can_pause(kit: Kit) -> None:
    chat = await kit.chat()
    wanted = [
        Rule(0, chat.id, "price", "BTC", level=95_000.0, every_ms=ONCE),
        Rule(0, chat.id, "price", "BTC", level=80_000.0, every_ms=ONCE),
        Rule(0, chat.id, "funding", level=0.0005, every_ms=8 * HOUR_MS, expires_at=NOON + DAY_MS),
    ]
    for rule in wanted:
        await kit.store.rules.replace(chat.id, [rule], [rule.kind])
    kept = await kit.store.rules.of_chat(chat.id)
    assert [replace(rule, id=0) for rule in kept] == wanted
    await kit.store.rules.replace(chat.id, [wanted[0]], ["price"])
    assert len(await kit.store.rules.of_chat(chat.id)) == 3
    await kit.store.rules.pause(kept[1].id, paused=True)
    assert {rule.level for rule in (await kit.store.rules.load()).rules} == {95_000.0, 0.0005}


async def test_preferences_persist(kit: Kit) -> None:
    preferences = Preferences("Asia/Tokyo", (60, 120), loud=True, cap=3)
    chat = await kit.chat(preferences)
    (stored,) = await kit.store.chats.all()
    assert stored.preferences == preferences
    assert chat.preferences == Preferences()


async def test_a_sweeps_message_is_edited_with_the_final_count(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.tell(kit.alert(chat, kind="swept"))
    message = await kit.store.outbox.claim("telegram", 10 * HOUR_MS, ())
    assert message is not None
    assert message.edits is None
    kit.clock.at += HOUR_MS
    assert await kit.store.outbox.claim("telegram", 10 * HOUR_MS, ()) is None  # the edit waits until the first is sent
    await kit.store.outbox.mark_sent(message.id, "remote-5")
    assert await kit.store.outbox.counts() == {"sent": 1}
    change = await kit.store.outbox.claim("telegram", 1000, ())
    assert change is not None
    assert change.edits == "remote-5"
    assert change.body == {**message.body, "final": True}


async def test_an_edit_of_a_dead_letter_is_never_sent(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.tell(kit.alert(chat, kind="swept"))
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    await kit.store.outbox.give_up(message.id, "bad request")
    kit.clock.at += 2 * HOUR_MS
    assert await kit.store.outbox.claim("telegram", 1000, ()) is None
    kit.clock.at += DAY_MS
    await kit.store.outbox.expire("telegram")
    assert [letter.id for letter in await kit.store.outbox.dead_letters(10)] == [message.id]


async def test_a_grown_alert_edits_its_message_before_or_after_sending(kit: Kit) -> None:
    chat = await kit.chat()
    first = kit.alert(chat, kind="cascade")
    await kit.tell(first)
    await kit.store.commit(TickRecord(1, changes={first.key: {**first.facts, "value": 2}, "unknown": {"value": 9}}))
    (message,) = await kit.claimed()
    assert message.body["value"] == 2
    for value in (3, 4):
        await kit.store.commit(TickRecord(1, changes={first.key: {**first.facts, "value": value}}))
    (change,) = await kit.claimed()
    assert (change.edits, change.body["value"]) == ("1", 4)


async def test_rule_numbers_are_never_reused(kit: Kit) -> None:
    chat = await kit.chat()
    (first,), _ = await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near")], ["near"])
    (second,), gone = await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near", size="calm")], ["near"])
    assert gone == [first]
    assert second.id > first.id
    await kit.store.rules.remove([second.id])
    (third,), _ = await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near")], ["near"])
    assert third.id > second.id


async def test_a_held_alert_can_grow_before_its_digest(kit: Kit) -> None:
    chat = await kit.chat(Preferences("UTC", (11 * 60, 13 * 60)))
    first = kit.alert(chat, kind="cascade")
    await kit.tell(first)
    await kit.store.commit(TickRecord(1, changes={first.key: {**first.facts, "value": 2}}))
    await kit.tell(kit.alert(chat))
    kit.clock.at += HOUR_MS
    (digest,) = await kit.claimed()
    assert (digest.body["kind"], digest.body["count"]) == ("digest", 2)


async def test_of_two_edits_the_newer_wins(kit: Kit) -> None:
    chat = await kit.chat()
    first = kit.alert(chat, kind="cascade")
    await kit.tell(first)
    await kit.claimed()
    await kit.store.commit(TickRecord(1, changes={first.key: {**first.facts, "value": 1}}))
    older = await kit.store.outbox.claim("telegram", 1000, ())
    assert older is not None
    await kit.store.commit(TickRecord(1, changes={first.key: {**first.facts, "value": 2}}))
    await kit.store.outbox.put_back(older.id, kit.clock.at, "429")
    assert [message.body["value"] for message in await kit.claimed()] == [2]
