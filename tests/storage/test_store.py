"""The store returns data as it was saved. Messages are claimed once, in order, and never lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.alerts.rules import Rule
from engine.alerts.state import RuleState
from engine.chats import Chat
from engine.clock import ManualClock
from engine.errors import InputError
from engine.market import DAY_MS, Bar, Liquidation, Market
from engine.messages import AlertRecord, TickRecord
from storage.store import Store

MARKET = Market("okx", "BTC/USDT:USDT", "BTC", "linear", 0.01)


class Kit:
    """A store on a file or in memory, and its clock."""

    def __init__(self, path: Path | None) -> None:
        self.clock = ManualClock(1_000_000)
        self.store = Store(path, self.clock)

    async def chat(self, remote_id: str = "7") -> Chat:
        return await self.store.chats.upsert("telegram", remote_id, "private", "")

    async def alert(self, chat: Chat, key: str, kind: str = "near") -> None:
        facts = {"kind": kind, "price": 1.0, "cluster": {"id": key}}
        await self.store.commit(TickRecord(5, {"BTC": 5}, alerts=[AlertRecord(key, kind, "BTC", chat.id, 1, 5, facts)]))


@pytest.fixture(params=["file", "memory"])
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kit]:
    made = Kit(tmp_path / "a.sqlite" if request.param == "file" else None)
    await made.store.open()
    yield made
    await made.store.close()


async def test_bars_are_rescaled_to_the_current_contract_size(kit: Kit) -> None:
    await kit.store.market.add_bars([(MARKET, Bar(0, 300_000, 1.0, 1.0, 1.0, 1.0, 500.0, 510.0, 490.0))])
    small = replace(MARKET, contract_size=MARKET.contract_size / 10)
    (bar,) = await kit.store.market.bars_since(small, 0)
    assert (bar.contracts, bar.contracts_high, bar.contracts_low) == pytest.approx((5000.0, 5100.0, 4900.0))


async def test_an_order_that_cannot_be_stored_loses_no_other(kit: Kit) -> None:
    odd = Liquidation(MARKET, int(1e300), "long", 90_000.0, 1.0)
    fine = Liquidation(MARKET, 5, "long", 90_000.0, 1.0)
    assert await kit.store.market.add_liquidations([odd, fine]) == [fine]


async def test_bars_load_as_saved_and_never_change(kit: Kit) -> None:
    bars = [Bar(i * 300_000, 300_000, 1, 2, 0.9, 1.5, 7.0 if i else None) for i in range(3)]
    await kit.store.market.add_bars([(MARKET, bar) for bar in bars])
    await kit.store.market.add_bars([(MARKET, replace(bars[0], close=1.6))])
    assert await kit.store.market.bars_since(MARKET, 0) == bars
    assert await kit.store.market.bars_since(MARKET, 600_000) == bars[2:]


async def test_a_liquidation_is_stored_once(kit: Kit) -> None:
    event = Liquidation(MARKET, 5, "long", 90_000.0, 3.0)
    other = replace(event, contracts=4.0)
    assert await kit.store.market.add_liquidations([event, event]) == [event]
    assert await kit.store.market.add_liquidations([event, other]) == [other]


async def test_rules_and_their_state_are_restored(kit: Kit) -> None:
    chat = await kit.chat()
    (rule,), gone = await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near", "BTC", 0.01, 20e6)], ["near"])
    assert gone == []
    state = RuleState(armed=False, since=5, awaiting_followup=True, value=3.0)
    await kit.store.commit(TickRecord(6, states={(rule.id, "c"): state, (99, "c"): state}))
    book = await kit.store.rules.load()
    assert book.rules == (rule,)
    assert book.states == {(rule.id, "c"): state}
    _, gone = await kit.store.rules.replace(chat.id, [replace(rule, size="calm")], ["near"])
    assert gone == [rule]
    assert (await kit.store.rules.load()).states == {}


async def test_an_alert_is_made_once_per_key(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.alert(chat, "k")
    await kit.alert(chat, "k")
    assert await kit.store.outbox.counts() == {"ready": 1}
    assert await kit.store.market.priced_until() == {"BTC": 5}


async def test_a_tick_is_stored_whole_or_not_at_all(kit: Kit) -> None:
    chat = await kit.chat()
    facts = {"kind": "near", "price": 1.0, "cluster": {"id": "k"}}
    record = TickRecord(9, {"BTC": 9}, alerts=[AlertRecord("k", "near", "BTC", chat.id, 1, 9, facts)])
    record.stale = {"ETH": 5, b"x": 5}  # type: ignore[dict-item]  # not a fault of one chat's row
    with pytest.raises(TypeError):
        await kit.store.commit(record)
    assert await kit.store.market.priced_until() == {}
    assert await kit.store.outbox.counts() == {}


async def test_messages_of_a_chat_are_claimed_in_order_and_one_at_a_time(kit: Kit) -> None:
    one, two = await kit.chat("1"), await kit.chat("2")
    for key in ("a", "b"):
        await kit.alert(one, key)
    await kit.alert(two, "c")
    first = await kit.store.outbox.claim("telegram", 1000, ())
    second = await kit.store.outbox.claim("telegram", 1000, ())
    assert first is not None
    assert second is not None
    assert (first.chat_id, second.chat_id) == (one.id, two.id)
    assert await kit.store.outbox.claim("telegram", 1000, ()) is None
    await kit.store.outbox.mark_sent(first.id, "99")
    third = await kit.store.outbox.claim("telegram", 1000, ())
    assert third is not None
    assert third.body["cluster"]["id"] == "b"


async def test_busy_chats_and_other_platforms_are_skipped(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.alert(chat, "a")
    assert await kit.store.outbox.claim("discord", 1000, ()) is None
    assert await kit.store.outbox.claim("telegram", 1000, (chat.id,)) is None
    assert await kit.store.outbox.claim("telegram", 1000, ()) is not None


async def test_a_message_put_back_waits_until_due(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.alert(chat, "a")
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    await kit.store.outbox.put_back(message.id, kit.clock.at + 500, "429")
    assert await kit.store.outbox.claim("telegram", 1000, ()) is None
    kit.clock.at += 500
    again = await kit.store.outbox.claim("telegram", 1000, ())
    assert again is not None
    assert (again.attempts, again.nonce, again.repeat) == (2, message.nonce, False)


async def test_an_expired_lease_is_claimed_as_a_possible_repeat(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.alert(chat, "a")
    await kit.store.outbox.claim("telegram", 1000, ())
    kit.clock.at += 2000
    again = await kit.store.outbox.claim("telegram", 1000, ())
    assert again is not None
    assert again.repeat


async def test_after_a_crash_messages_in_flight_are_resent(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.alert(chat, "a")
    message = await kit.store.outbox.claim("telegram", 100_000, ())
    assert message is not None
    await kit.store.outbox.keep_rendered(message.id, {"html": "x"})
    assert await kit.store.outbox.recover_leases("discord") == 0
    assert await kit.store.outbox.recover_leases("telegram") == 1
    again = await kit.store.outbox.claim("telegram", 1000, ())
    assert again is not None
    assert (again.rendered, again.repeat) == ({"html": "x"}, True)


async def test_an_inactive_chat_gets_nothing_and_keeps_its_rules(kit: Kit) -> None:
    chat = await kit.chat()
    await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near")], ["near"])
    await kit.store.chats.set_active(chat.id, active=False, reason="gone")
    await kit.alert(chat, "a")
    assert await kit.store.outbox.counts() == {}
    assert (await kit.store.rules.load()).rules == ()
    assert len(await kit.store.rules.of_chat(chat.id)) == 1


async def test_a_chat_that_migrated_keeps_its_rules_under_the_new_id(kit: Kit) -> None:
    chat, other = await kit.chat("-5"), await kit.chat("-1005")
    await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near")], ["near"])
    await kit.store.chats.move(chat.id, other.remote_id)
    (left,) = await kit.store.chats.all()
    assert (left.id, left.remote_id) == (chat.id, "-1005")
    assert len(await kit.store.rules.of_chat(chat.id)) == 1


async def test_only_idle_strangers_without_approval_or_settings_are_deleted(kit: Kit) -> None:
    stranger, guest, speaker, asker = [await kit.chat(str(number)) for number in (7, 8, 9, 10)]
    await kit.store.chats.approve(guest.id, approved=True)
    await kit.store.chats.save_preferences(speaker.id, replace(speaker.preferences, language="es"))
    kit.clock.at += 8 * DAY_MS
    await kit.store.chats.note_asked(asker.id)
    await kit.store.checkpoints.save({})
    assert {chat.id for chat in await kit.store.chats.all()} == {guest.id, speaker.id, asker.id}, stranger


async def test_a_chat_at_its_rule_limit_can_still_change_its_rules(kit: Kit) -> None:
    chat = await kit.chat()
    for asset in ("BTC", "ETH"):
        await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near", asset)], ["near"], 2)
    with pytest.raises(InputError):
        await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near", "SOL")], ["near"], 2)
    await kit.store.rules.replace(chat.id, [Rule(0, chat.id, "near", "ETH", size="calm")], ["near"], 2)
    assert [rule.asset for rule in await kit.store.rules.of_chat(chat.id)] == ["BTC", "ETH"]


async def test_forgetting_a_user_clears_them_from_a_groups_log_too(kit: Kit) -> None:
    mine = await kit.chat("8")
    group = await kit.store.chats.upsert("telegram", "-5", "group", "Traders")
    await kit.store.chats.log_change(group.id, "8", "/quiet 23:00-07:00")
    await kit.store.chats.delete(mine.id)
    assert [chat.id for chat in await kit.store.chats.all()] == [group.id]
    assert [change.who for change in await kit.store.chats.changes(group.id, 5)] == [""]


def for_others(folder: Path) -> dict[str, int]:
    """Return the permission bits of other users on the files of a folder, by file name."""
    return {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}


async def test_stored_files_are_private(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite", ManualClock(1_000_000))
    await store.open()
    await store.chats.upsert("telegram", "7", "private", "")
    modes = for_others(tmp_path)
    await store.close()
    assert modes == dict.fromkeys(modes, 0)
    assert modes.keys() >= {"a.sqlite", "a.sqlite-wal", "a.sqlite.lock"}


async def test_two_events_at_one_place_and_time_keep_their_kinds(kit: Kit) -> None:
    chat = await kit.chat()
    alerts = [
        AlertRecord(kind, kind, "BTC", chat.id, 1, 5, {"kind": kind, "price": 1.0, "cluster": {"id": "c"}})
        for kind in ("entered", "swept")
    ]
    await kit.store.commit(TickRecord(5, {"BTC": 5}, alerts=alerts))
    assert [entry.kind for entry in await kit.store.alerts.recent(chat.id, 5)] == ["swept", "entered"]
