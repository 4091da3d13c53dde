"""Who is told and who is kept: members are asked for again, and a platform that says nothing decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.clock import ManualClock
from handlers.access import ASKED_AGAIN_MS, ensure_claim_code, may_be_told
from handlers.alert_messages import alert_answer
from tests.handlers.kit import Kit


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await Kit.make("chats")
    made.services.wall = ManualClock(made.clock.now())
    made.services.people["telegram"] = made.people
    yield made
    await made.close()


async def let_in(kit: Kit) -> int:
    """Let a group in whose member 8 has a private chat; the chat's number."""
    group = await kit.chat("-5", "group")
    await kit.store.approve_chat(group.id, approved=True)
    kit.people.members.add("8")
    return (await kit.chat("8")).id


async def test_who_has_left_a_group_is_not_told_any_more(kit: Kit) -> None:
    number = await let_in(kit)
    assert await may_be_told(kit.services, number)
    kit.people.members.clear()
    assert await may_be_told(kit.services, number), "asked once a day"
    kit.services.wall.at += ASKED_AGAIN_MS  # type: ignore[attr-defined]  # a clock of the test's
    assert not await may_be_told(kit.services, number)


async def test_a_platform_that_does_not_say_who_is_a_member_silences_nobody(kit: Kit) -> None:
    number = await let_in(kit)
    kit.people.silent = True
    assert await may_be_told(kit.services, number)
    assert "private" in (await kit.ask("/liq 86000", "8")).headline
    kit.people.silent = False
    assert "liquidated on the way" in (await kit.ask("/liq 86000", "8")).headline, "no answer is not kept as one"


async def test_what_is_somebodys_own_is_theirs_whoever_lets_them_in(kit: Kit) -> None:
    assert "private" in (await kit.ask("/liq 86000", "8")).headline
    for text in ("/stop", "/mute btc 4h", "/unmute btc", "/alerts", "/export", "/forget"):
        assert "private." not in (await kit.ask(text, "8")).headline, text


async def test_a_stranger_does_not_make_the_bot_ask_the_platform_with_each_message(kit: Kit) -> None:
    for number in range(5):
        group = await kit.chat(f"-{number + 1}", "group")
        await kit.store.approve_chat(group.id, approved=True)
    for _ in range(10):
        await kit.ask("/stop", "9")
        await kit.ask("/liq 86000", "9")
    assert kit.people.asked == 5, "once a group, and not again for minutes"


async def test_an_operator_sees_who_asked_and_the_chat_is_told(kit: Kit) -> None:
    kit.services.configured_operators = frozenset({("telegram", "1")})
    member = await let_in(kit)
    await kit.ask("/liq 86000", "8")
    await kit.ask("/liq 86000", "9")
    waiting = await kit.ask("/admin", "1")
    stranger = await kit.chat("9")
    assert waiting.headline == "1 chat waiting for approval", "members who are served do not wait"
    assert waiting.lines == (f"#{stranger.id} telegram private ",)
    await kit.ask(f"/admin approve {stranger.id}", "1")
    message = await kit.store.claim("telegram", 1000, ())
    assert message is not None
    assert message.remote_chat == "9"
    assert alert_answer(message.body).headline == "The operator has approved this chat."
    assert (await kit.ask("/admin", "1")).headline == "0 chats waiting for approval"
    await kit.ask(f"/admin approve {stranger.id}", "1")
    assert await kit.store.claim("telegram", 1000, (message.chat_id,)) is None, "told once"
    assert member != stranger.id


async def test_an_operator_can_be_dismissed_but_not_the_last(kit: Kit) -> None:
    for user in ("8", "9"):
        await kit.store.add_operator("telegram", user)
    assert (await kit.ask("/admin operators", "8")).lines == ("telegram:8", "telegram:9")
    assert "private" in (await kit.ask("/admin dismiss telegram:8", "7")).headline
    assert "Name an operator" in (await kit.ask("/admin dismiss telegram:7", "8")).headline
    assert (await kit.ask("/admin dismiss telegram:9", "8")).headline == "telegram:9 is no longer an operator."
    assert "private" in (await kit.ask("/admin", "9")).headline
    assert "only operator" in (await kit.ask("/admin dismiss telegram:8", "8")).headline
    kit.services.configured_operators = frozenset({("discord", "1")})
    assert "is set in CLIFFWATCH_OPERATORS" in (await kit.ask("/admin dismiss discord:1", "8")).headline
    assert "no longer an operator" in (await kit.ask("/admin dismiss telegram:8", "8")).headline


async def test_of_two_who_give_the_code_at_once_one_is_the_operator(kit: Kit) -> None:
    code = await ensure_claim_code(kit.store, configured=False)
    given = [kit.store.claim_operator(str(code), "telegram", user) for user in ("8", "9")]
    assert sorted(await asyncio.gather(*given)) == [False, True]
    assert len(await kit.store.operators()) == 1
