"""Access: membership is looked up again after a day, and a failed lookup changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.clock import ManualClock
from handlers.access import ASKED_AGAIN_MS, ensure_claim_code, may_be_notified
from handlers.alert_messages import alert_answer
from tests.handlers.kit import Kit


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await Kit.make("chats")
    made.services.wall = ManualClock(made.clock.now())
    made.services.people["telegram"] = made.people
    yield made
    await made.close()


async def group_members(kit: Kit) -> int:
    """Approve a group that user 8 is a member of. Return the id of this user's private chat."""
    group = await kit.chat("-5", "group")
    await kit.store.chats.approve(group.id, approved=True)
    kit.people.members.add("8")
    return (await kit.chat("8")).id


async def test_alerts_stop_once_a_member_left_the_group(kit: Kit) -> None:
    number = await group_members(kit)
    assert await may_be_notified(kit.services, number)
    kit.people.members.clear()
    assert await may_be_notified(kit.services, number), "membership is looked up once a day"
    kit.services.wall.at += ASKED_AGAIN_MS  # type: ignore[attr-defined]  # a clock of the test's
    assert not await may_be_notified(kit.services, number)


async def test_unknown_membership_stops_no_alerts(kit: Kit) -> None:
    number = await group_members(kit)
    kit.people.silent = True
    assert await may_be_notified(kit.services, number)
    assert "private" in (await kit.ask("/liq 86000", "8")).headline
    kit.people.silent = False
    assert "liquidated on the way" in (await kit.ask("/liq 86000", "8")).headline, "a failed lookup is not cached"


async def test_unapproved_users_can_still_manage_their_own_data(kit: Kit) -> None:
    assert "private" in (await kit.ask("/liq 86000", "8")).headline
    for text in ("/stop", "/mute btc 4h", "/unmute btc", "/alerts", "/export", "/forget"):
        assert "private." not in (await kit.ask(text, "8")).headline, text


async def test_a_strangers_messages_do_not_each_query_the_platform(kit: Kit) -> None:
    for number in range(5):
        group = await kit.chat(f"-{number + 1}", "group")
        await kit.store.chats.approve(group.id, approved=True)
    for _ in range(10):
        await kit.ask("/stop", "9")
        await kit.ask("/liq 86000", "9")
    assert kit.people.asked == 5, "one lookup per group, cached for minutes"


async def test_waiting_chats_are_listed_and_learn_of_approval(kit: Kit) -> None:
    kit.services.configured_operators = frozenset({("telegram", "1")})
    member = await group_members(kit)
    await kit.ask("/liq 86000", "8")
    await kit.ask("/liq 86000", "9")
    waiting = await kit.ask("/admin", "1")
    stranger = await kit.chat("9")
    assert waiting.headline == "1 chat waiting for approval", "members with access are not waiting"
    assert waiting.lines == (f"#{stranger.id} telegram private ",)
    await kit.ask(f"/admin approve {stranger.id}", "1")
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    assert message.remote_chat == "9"
    assert alert_answer(message.body).headline == "The operator has approved this chat."
    assert (await kit.ask("/admin", "1")).headline == "0 chats waiting for approval"
    await kit.ask(f"/admin approve {stranger.id}", "1")
    assert await kit.store.outbox.claim("telegram", 1000, (message.chat_id,)) is None, "notified once"
    assert member != stranger.id


async def test_an_operator_can_be_dismissed_but_not_the_last(kit: Kit) -> None:
    for user in ("8", "9"):
        await kit.store.operators.add("telegram", user)
    assert (await kit.ask("/admin operators", "8")).lines == ("telegram:8", "telegram:9")
    assert "private" in (await kit.ask("/admin dismiss telegram:8", "7")).headline
    assert "Name an operator" in (await kit.ask("/admin dismiss telegram:7", "8")).headline
    assert (await kit.ask("/admin dismiss telegram:9", "8")).headline == "telegram:9 is no longer an operator."
    assert "private" in (await kit.ask("/admin", "9")).headline
    assert "only operator" in (await kit.ask("/admin dismiss telegram:8", "8")).headline
    kit.services.configured_operators = frozenset({("discord", "1")})
    assert "is set in CLIFFWATCH_OPERATORS" in (await kit.ask("/admin dismiss discord:1", "8")).headline
    assert "no longer an operator" in (await kit.ask("/admin dismiss telegram:8", "8")).headline


async def test_a_claim_code_used_twice_at_once_makes_one_operator(kit: Kit) -> None:
    code = await ensure_claim_code(kit.store, configured=False)
    given = [kit.store.operators.claim(str(code), "telegram", user) for user in ("8", "9")]
    assert sorted(await asyncio.gather(*given)) == [False, True]
    assert len(await kit.store.operators.all()) == 1
