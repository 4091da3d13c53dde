"""Delivery: what follows from each outcome, and that no message is lost or duplicated."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from engine.chats import Chat
from engine.clock import ManualClock
from engine.messages import AlertRecord, Message, Outcome, TickRecord
from handlers.alert_messages import alert_answer
from handlers.answers import Answer
from handlers.delivery.dispatcher import Dispatcher, Notice, bounded
from handlers.delivery.limits import InFlight, Limiter, Limits
from handlers.delivery.retry import Backoff
from storage.store import Store
from tests.conftest import until
from tests.servers.memory import MemoryPlatform

FAST = Limits(per_second=1000, chat_seconds=0.0, group_per_minute=None)


class Rig:
    """A store, a platform and running dispatchers."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store, self.clock, self.platform = store, clock, MemoryPlatform()
        self.lost: list[int] = []
        self.undelivered: list[tuple[int, int | None, str]] = []
        self.notices: list[tuple[str, int, str]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.dispatchers: list[Dispatcher] = []

    async def chat(self, remote_id: str = "7") -> Chat:
        return await self.store.chats.upsert("telegram", remote_id, "private", "")

    async def alert(self, chat: Chat, key: str) -> None:
        facts = {"kind": "test", "cluster": {"id": key}, "price": 1.0}
        await self.store.commit(TickRecord(5, alerts=[AlertRecord(key, "near", "BTC", chat.id, None, 5, facts)]))

    def run(self, limits: Limits = FAST, answer_of: Callable[[Message], Answer] | None = None) -> Dispatcher:
        async def lost(chat_id: int) -> None:
            self.lost.append(chat_id)

        async def undelivered(message_id: int, chat_id: int | None, error: str) -> None:
            self.undelivered.append((message_id, chat_id, error))

        make = answer_of or (lambda message: alert_answer(message.body))

        async def notice(what: Notice, chat_id: int, error: str) -> None:
            self.notices.append((what, chat_id, error))

        dispatcher = Dispatcher(self.platform, self.store, self.clock, limits, make, lost, undelivered, notice)
        self.tasks.append(asyncio.create_task(dispatcher.run()))
        self.dispatchers.append(dispatcher)
        return dispatcher

    async def counts(self, **wanted: int) -> None:
        """Wait until the outbox has exactly these numbers of messages by state."""
        for _ in range(500):
            if await self.store.outbox.counts() == wanted:
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(await self.store.outbox.counts())

    async def pass_on(self, ms: int) -> None:
        """Advance the clock, wake the dispatchers and give them time to act."""
        self.clock.at += ms
        for dispatcher in self.dispatchers:
            dispatcher.wake()
        await asyncio.sleep(0.02)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    clock = ManualClock(1_000_000)
    store = Store(None, clock)
    await store.open()
    made = Rig(store, clock)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await store.close()


async def test_sent_is_marked_only_on_the_platforms_answer(rig: Rig) -> None:
    await rig.alert(await rig.chat(), "a")
    rig.platform.gate.clear()
    rig.run()
    await rig.counts(sending=1)
    rig.platform.gate.set()
    await rig.counts(sent=1)


@pytest.mark.parametrize(
    ("answer", "ends", "tries"),
    [
        (Outcome("retry", "5xx"), {"sent": 1}, 2),
        (Outcome("plain", "400"), {"sent": 1}, 2),
        (Outcome("unknown", "cut off"), {"sent": 1}, 2),
        (RuntimeError("odd"), {"sent": 1}, 2),
        (Outcome("moved", "", moved_to="-100"), {"sent": 1}, 2),
        (Outcome("refused", "no rights"), {"sent": 1}, 2),
        (Outcome("gone", "403"), {"dead": 1}, 1),
        (Outcome("dead", "no"), {"dead": 1}, 1),
    ],
)
async def test_each_outcome_follows_the_table(
    rig: Rig, answer: Outcome | Exception, ends: dict[str, int], tries: int
) -> None:
    rig.platform.answers = [answer]
    await rig.alert(await rig.chat(), "a")
    rig.run()
    await until(lambda: rig.platform.sent)
    for _ in range(tries - 1):
        await asyncio.sleep(0.02)
        rig.clock.at += 60_000
    await rig.counts(**ends)
    assert len(rig.platform.sent) == tries
    assert len({message.nonce for message in rig.platform.sent}) == 1
    assert len({str(message.rendered) for message in rig.platform.sent}) == 1


async def test_refused_as_markup_and_as_plain_text_is_dead(rig: Rig) -> None:
    rig.platform.answers = [Outcome("plain", "400"), Outcome("plain", "400")]
    await rig.alert(await rig.chat(), "a")
    rig.run()
    await rig.counts(dead=1)
    assert [message.plain for message in rig.platform.sent] == [False, True]


@pytest.mark.parametrize(("idempotent", "tries"), [(False, 3), (True, 4)])
async def test_unknown_outcomes_mark_repeats_and_stop_without_idempotent_sends(
    rig: Rig, idempotent: bool, tries: int
) -> None:
    rig.platform.idempotent = idempotent
    rig.platform.answers = [Outcome("unknown", "x")] * 3
    await rig.alert(await rig.chat(), "a")
    rig.run()
    for number in range(1, tries + 1):
        await until(lambda n=number: len(rig.platform.sent) >= n)  # type: ignore[misc]  # its own number
        if number < tries:
            await rig.counts(ready=1)
        await rig.pass_on(18_000 if idempotent else 310_000)  # a nonce is valid for two minutes
    await rig.counts(**{"sent" if idempotent else "perhaps": 1})
    assert [message.repeat for message in rig.platform.sent] == [False] + [True] * (tries - 1)


async def test_nothing_is_claimed_while_the_platform_is_not_connected(rig: Rig) -> None:
    rig.platform.ready = False
    await rig.alert(await rig.chat(), "a")
    dispatcher = rig.run()
    await asyncio.sleep(0.1)
    assert await rig.store.outbox.counts() == {"ready": 1}
    rig.platform.ready = True
    dispatcher.wake()
    await rig.counts(sent=1)


async def test_a_stop_waits_for_sends_in_flight(rig: Rig) -> None:
    await rig.alert(await rig.chat("1"), "a")
    await rig.alert(await rig.chat("1"), "b")
    rig.platform.gate.clear()
    dispatcher = rig.run()
    await rig.counts(sending=1, ready=1)
    dispatcher.stop()
    await asyncio.sleep(0.02)
    rig.platform.gate.set()
    async with asyncio.timeout(5):
        await rig.tasks[0]
    assert await rig.store.outbox.counts() == {"sent": 1, "ready": 1}


async def test_a_chat_that_is_gone_is_deactivated_with_its_rules(rig: Rig) -> None:
    rig.platform.answers = [Outcome("gone", "403")]
    chat = await rig.chat()
    await rig.alert(chat, "a")
    rig.run()
    await until(lambda: rig.lost == [chat.id])
    (left,) = await rig.store.chats.all()
    assert not left.active


async def test_a_day_long_retry_after_is_capped_at_an_hour_and_delays_one_chat(rig: Rig) -> None:
    patient, other = await rig.chat("1"), await rig.chat("2")
    rig.platform.answers = [Outcome("retry", "429", retry_after=86_400.0)]
    await rig.alert(patient, "a")
    dispatcher = rig.run()
    await rig.counts(ready=1)
    await until(lambda: len(rig.platform.sent) == 1)
    await rig.alert(other, "b")
    dispatcher.wake()
    await rig.counts(ready=1, sent=1)
    assert 3500 < dispatcher.pause_seconds <= 3600
    assert [bounded(seconds) for seconds in (math.inf, math.nan, -1.0, 7.0, 1e9)] == [5.0, 5.0, 5.0, 7.0, 3600.0]


async def test_unknown_outcomes_retry_over_minutes_up_to_three_copies(rig: Rig) -> None:
    """Three attempts within seconds would all hit the same outage."""
    rig.platform.answers = [Outcome("unknown", "x")] * 3
    await rig.alert(await rig.chat(), "a")
    dispatcher = rig.run()
    for number, wait in enumerate((10, 60), start=1):
        await until(lambda n=number: len(rig.platform.sent) == n)  # type: ignore[misc]  # its own number
        await rig.counts(ready=1)
        rig.clock.at += wait * 1000 - 1
        dispatcher.wake()
        await asyncio.sleep(0.05)
        assert len(rig.platform.sent) == number
        rig.clock.at += 1
        dispatcher.wake()
    await rig.counts(perhaps=1)
    assert rig.notices == [("perhaps", 1, "x")]
    assert [message.copies for message in rig.platform.sent] == [0, 1, 2]


async def test_an_expired_nonce_allows_no_more_than_three_copies(rig: Rig) -> None:
    rig.platform.idempotent = True
    rig.platform.answers = [Outcome("unknown", "x")] * 20
    await rig.alert(await rig.chat(), "a")
    rig.run()
    for _ in range(400):
        await rig.pass_on(60_000)
        if await rig.store.outbox.counts() == {"perhaps": 1}:
            break
    await rig.counts(perhaps=1)
    within = [m for m in rig.platform.sent if m.copies == 0]
    assert len(rig.platform.sent) - len(within) == 2


async def test_a_temporary_refusal_waits_notifies_once_and_loses_nothing(rig: Rig) -> None:
    """For example, rights removed for a moment, a closed topic, or chat not found for eight seconds."""
    rig.platform.answers = [Outcome("refused", "not enough rights")] * 3
    chat = await rig.chat()
    await rig.alert(chat, "a")
    rig.run()
    for tries in (1, 2, 3):
        await until(lambda tries=tries: len(rig.platform.sent) == tries)  # type: ignore[misc]  # its own number
        await rig.counts(ready=1)
        await rig.pass_on(600_000)
    await rig.counts(sent=1)
    assert rig.notices == [("refused", chat.id, "not enough rights")]
    (left,) = await rig.store.chats.all()
    assert left.active
    assert left.refused_since == 0
    assert rig.lost == []


async def test_a_refusal_that_lasts_a_day_deactivates_the_chat(rig: Rig) -> None:
    rig.platform.answers = [Outcome("refused", "not enough rights")] * 10
    chat = await rig.chat()
    await rig.alert(chat, "a")
    dispatcher = rig.run()
    await until(lambda: len(rig.platform.sent) == 1)
    await rig.counts(ready=1)
    rig.clock.at += 24 * 3_600_000
    await rig.alert(chat, "b")
    dispatcher.wake()
    await until(lambda: rig.lost == [chat.id])


async def test_many_chats_gone_within_a_minute_mean_an_ill_platform(rig: Rig) -> None:
    """No chat stays deactivated, all get their messages later, and the operators are notified once."""
    chats = [await rig.chat(str(number)) for number in range(8)]
    ill = True

    async def send(message: Message) -> Outcome:
        return Outcome("gone", "403") if ill else Outcome("sent")

    rig.platform.send = send  # type: ignore[method-assign]  # ill for a while
    for chat in chats:
        await rig.alert(chat, chat.remote_id)
    rig.run()
    await until(lambda: ("ill", 0, "") in rig.notices)
    await rig.counts(ready=8)
    assert all(chat.active for chat in await rig.store.chats.all())
    ill = False
    rig.clock.at += 600_000
    await rig.counts(sent=8)
    assert rig.notices.count(("ill", 0, "")) == 1
    assert all(chat.active for chat in await rig.store.chats.all())


async def test_a_few_gone_chats_do_not_mean_an_ill_platform(rig: Rig) -> None:
    chats = [await rig.chat(str(number)) for number in range(8)]

    async def send(message: Message) -> Outcome:
        return Outcome("gone", "403") if message.remote_chat in "012" else Outcome("sent")

    rig.platform.send = send  # type: ignore[method-assign]  # by chat
    for chat in reversed(chats):
        await rig.alert(chat, chat.remote_id)
    rig.run()
    await rig.counts(sent=5, dead=3)
    await until(lambda: len(rig.lost) == 3)  # called after the chat has been switched off
    assert {chat.remote_id for chat in await rig.store.chats.all() if not chat.active} == {"0", "1", "2"}


async def test_a_chat_moved_to_its_own_id_is_retried_with_backoff(rig: Rig) -> None:
    rig.platform.answers = [Outcome("moved", "", moved_to="7")] * 20
    await rig.alert(await rig.chat("7"), "a")
    rig.run()
    for _ in range(20):
        await rig.pass_on(1000)
    assert len(rig.platform.sent) <= 6
    for _ in range(200):
        await rig.pass_on(120_000)
        if await rig.store.outbox.counts() == {"dead": 1}:
            break
    await rig.counts(dead=1)


async def test_a_hanging_chat_delays_no_other(rig: Rig) -> None:
    slow, quick = await rig.chat("1"), await rig.chat("2")
    gate = asyncio.Event()

    async def send(message: Message) -> Outcome:
        if message.chat_id == slow.id:
            await gate.wait()
        rig.platform.sent.append(message)
        return Outcome("sent")

    rig.platform.send = send  # type: ignore[method-assign]  # this chat's own behaviour
    for key in ("a", "b"):
        await rig.alert(slow, key)
        await rig.alert(quick, key + "q")
    rig.run()
    await rig.counts(sending=1, ready=1, sent=2)
    gate.set()
    await rig.counts(sent=4)


async def test_an_expired_message_is_dropped_and_counted(rig: Rig) -> None:
    await rig.alert(await rig.chat(), "a")
    rig.clock.at += 31 * 60_000
    rig.run()
    await rig.counts(dead=1)
    assert rig.platform.sent == []


async def test_order_is_kept_within_a_chat(rig: Rig) -> None:
    chat = await rig.chat()
    for number in range(12):
        await rig.alert(chat, f"{number:02}")
    rig.platform.answers = [Outcome("retry", "5xx")]
    rig.run()
    await until(lambda: len(rig.platform.sent) == 1)
    await asyncio.sleep(0.02)
    rig.clock.at += 60_000
    await rig.counts(sent=12)
    assert [m.body["cluster"]["id"] for m in rig.platform.sent][1:] == [f"{n:02}" for n in range(12)]


async def test_two_dispatchers_deliver_each_message_once(rig: Rig) -> None:
    for number in range(10):
        chat = await rig.chat(str(number))
        await rig.alert(chat, f"a{number}")
        await rig.alert(chat, f"b{number}")
    rig.run()
    rig.run()
    await rig.counts(sent=20)
    assert len({message.id for message in rig.platform.sent}) == len(rig.platform.sent) == 20


async def test_a_message_that_cannot_render_is_dead_and_others_go_out(rig: Rig) -> None:
    await rig.alert(await rig.chat("1"), "a")
    await rig.alert(await rig.chat("2"), "b")

    def make(message: Message) -> Answer:
        if message.body["cluster"]["id"] == "a":
            raise KeyError("cluster")
        return Answer("fine")

    rig.run(answer_of=make)
    await rig.counts(dead=1, sent=1)


def test_the_limiter_spaces_and_counts_by_chat_and_group() -> None:
    now = [0.0]
    limiter = Limiter(Limits(2, 1.0, 3), lambda: now[0])
    assert limiter.wait_seconds() == 0
    limiter.note(1, "private")
    assert limiter.resting() == {1}
    assert 0.5 <= limiter.wait_seconds() <= 0.52
    limiter.note(2, "group")
    assert 1.0 <= limiter.wait_seconds() <= 1.04
    now[0] = 1.5
    assert limiter.resting() == set()
    for _ in range(2):
        limiter.note(2, "group")
    now[0] = 3.0
    assert limiter.resting() == {2}
    now[0] = 62.0
    assert limiter.resting() == set()
    limiter.pause(5)
    assert limiter.wait_seconds() == pytest.approx(5)


@pytest.mark.parametrize(("way", "jitter"), [(0.001, 0.0), (0.001, 0.03), (0.05, 0.0), (0.05, 0.05)])
def test_the_rate_limit_holds_at_any_latency(way: float, jitter: float) -> None:
    now, chance = [0.0], random.Random(3)
    limiter = Limiter(Limits(30, 0.0, None), lambda: now[0])
    arrived: list[float] = []
    waiting: list[tuple[float, InFlight]] = []
    while now[0] < 60:
        while (wait := limiter.wait_seconds()) > 0 or (waiting and waiting[0][0] <= now[0]):
            answers_at = waiting[0][0] if waiting else math.inf
            now[0] = max(now[0], min(now[0] + wait, answers_at)) if wait > 0 else now[0]
            if answers_at <= now[0]:
                limiter.answered(waiting.pop(0)[1])
        flight = limiter.note(len(arrived), "private")
        there = now[0] + way + jitter * chance.random()
        arrived.append(there)
        waiting.append((there + way + jitter * chance.random(), flight))
        waiting.sort(key=lambda pair: pair[0])
    arrived.sort()
    assert all(later - first >= 1 for first, later in zip(arrived, arrived[30:], strict=False))
    if not jitter:
        assert len(arrived) / 60 >= 0.98 * 30
    assert len(arrived) / 60 >= 0.9 * 30


def test_back_off_grows_and_never_undercuts_retry_after() -> None:
    backoff = Backoff()
    waits = [backoff.seconds(n, 1.0) for n in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[-1] == backoff.longest
    assert backoff.seconds(1, 0.0, 90.0) == 90.0
    with suppress(OverflowError):
        assert backoff.seconds(10_000, 1.0) == backoff.longest


async def test_a_cancel_during_a_wake_up_ends_the_dispatcher(rig: Rig) -> None:
    dispatcher = rig.run()
    await asyncio.sleep(0.02)
    dispatcher.wake()
    rig.tasks[0].cancel()
    done, _ = await asyncio.wait(rig.tasks, timeout=5)
    assert done == set(rig.tasks)


async def test_a_429_holds_its_chat_and_every_chat_once_a_second_one_gets_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = [await rig.chat(name) for name in "123"]
    now, sends = [0.0], list[tuple[int, float]]()

    async def send(message: Message) -> Outcome:
        sends.append((message.chat_id, now[0]))
        return Outcome("sent") if message.chat_id == three.id else Outcome("retry", "429", retry_after=30.0)

    async def pace(_: Dispatcher, seconds: float) -> None:
        now[0] += seconds
        await asyncio.sleep(0)

    rig.platform.send = send  # type: ignore[method-assign]  # two chats have to wait
    monkeypatch.setattr(Dispatcher, "_pace", pace)
    dispatcher = rig.run()
    dispatcher._limiter = Limiter(FAST, lambda: now[0])
    await rig.alert(one, "a")
    dispatcher.wake()
    await until(lambda: len(sends) == 1)
    await rig.alert(two, "b")
    dispatcher.wake()
    await until(lambda: len(sends) == 2)
    await rig.alert(three, "c")
    dispatcher.wake()
    await until(lambda: len(sends) == 3)
    (_, first), (_, second), (third_chat, third) = sends
    assert second - first < 1
    assert third_chat == three.id
    assert third - second >= 30


def test_two_chats_told_to_wait_within_a_minute_make_every_chat_wait() -> None:
    now = [0.0]
    limiter = Limiter(FAST, lambda: now[0])
    assert not limiter.hold(1, 5.0)
    assert (limiter.wait_seconds(), limiter.resting()) == (0.0, {1})
    now[0] = 61.0
    assert not limiter.hold(2, 90.0)
    assert (limiter.wait_seconds(), limiter.resting()) == (0.0, {2})
    now[0] = 121.0
    assert limiter.hold(3, 20.0)
    assert limiter.wait_seconds() == pytest.approx(20.0)
    now[0] = 141.0
    assert limiter.wait_seconds() == 0.0
