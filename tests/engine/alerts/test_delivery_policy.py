"""Delivery policy: one message or several, sent now, held until quiet hours end, or dropped at the daily cap."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.alerts.delivery_policy import (
    COUNTED_AFTER_MS,
    EXPIRES_MS,
    GROUP_FROM,
    MAX_NAMED,
    OTHERS_EXPIRE_MS,
    digest_body,
    disposition,
    plan_messages,
)
from engine.market import HOUR_MS
from engine.messages import AlertRecord
from engine.preferences import Preferences

NOON = 1_780_315_200_000
"""Twelve o'clock UTC on 1 June 2026."""

QUIET_AT_NOON = Preferences("UTC", (11 * 60, 13 * 60))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def alert(usd: float = 1e6, kind: str = "near", rule_id: int | None = 1, **more: Any) -> AlertRecord:
    facts = {"kind": kind, "asset": "BTC", "cluster": {"forced_usd": usd}}
    return AlertRecord(f"{kind} {usd}", kind, "BTC", 1, rule_id, NOON, facts, **more)


def kinds(alerts: list[AlertRecord], preferences: Preferences | None = None, sent_today: int = 0) -> list[str]:
    plan = plan_messages(preferences or Preferences(), alerts, NOON, sent_today)
    return [message.body["kind"] for message in plan]


def test_four_alerts_of_a_tick_form_a_group_largest_first() -> None:
    (group,) = plan_messages(Preferences(), [alert(usd) for usd in (1e6, 9e6, 3e6, 2e6)], NOON, 0)
    assert (group.body["kind"], group.body["count"], group.alerts) == ("group", 4, (1, 2, 3, 0))
    assert [item["cluster"]["forced_usd"] for item in group.body["items"]] == [9e6, 3e6, 2e6, 1e6]


def test_fewer_get_a_message_each_and_the_top_tier_is_first() -> None:
    plan = plan_messages(Preferences(), [alert(5e6), alert(1e6, top_tier=True), alert(2e6)], NOON, 0)
    assert [message.alerts for message in plan] == [(1,), (0,), (2,)]


def test_the_message_after_downtime_is_never_grouped() -> None:
    """A group shows one line per alert, which would cut the list of missed events."""
    assert kinds([*(alert() for _ in range(4)), alert(kind="offline", rule_id=None)]) == ["offline", "group"]


def test_past_the_cap_one_note_and_exempt_alerts_go() -> None:
    preferences = Preferences(cap=2)
    assert kinds([alert(), alert(), alert()], preferences) == ["near", "near", "full"]
    assert kinds([alert(kind="swept", top_tier=True), alert(kind="swept")], preferences, 2) == ["swept", "full"]
    assert kinds([alert(once=True), alert(kind="stale", rule_id=None)], preferences, 2) == ["stale", "near"]


def test_the_daily_cap_note_waits_for_quiet_hours_to_end() -> None:
    (note,) = plan_messages(Preferences("UTC", (11 * 60, 13 * 60), cap=0), [alert()], NOON, 0)
    assert (note.disposition, note.due, note.expires) == ("capped", NOON + HOUR_MS, NOON + HOUR_MS + OTHERS_EXPIRE_MS)


def test_held_alerts_count_once_towards_the_daily_cap() -> None:
    """Held alerts share one digest, so that a busy night does not use up the daily cap."""
    plan = plan_messages(QUIET_AT_NOON, [alert(), alert(), alert()], NOON, QUIET_AT_NOON.cap - 1)
    # The first makes the digest the day's last message; the others are over the cap.
    assert [(message.disposition, len(message.alerts)) for message in plan] == [("held", 1), ("capped", 0)]
    waiting = plan[0].body
    (more,) = plan_messages(QUIET_AT_NOON, [alert(7e6), alert(2e6)], NOON, 1, waiting)
    assert (more.disposition, more.body["count"], more.due) == ("held", 3, NOON + HOUR_MS)
    assert [item["cluster"]["forced_usd"] for item in more.body["items"]] == [7e6, 2e6, 1e6]


def test_messages_expire_by_kind_and_a_sweep_gets_a_final_count() -> None:
    near, swept = plan_messages(Preferences(), [alert(), alert(kind="swept")], NOON, 0)
    assert (near.expires, near.final_count_at) == (NOON + EXPIRES_MS["near"], None)
    assert (swept.expires, swept.final_count_at) == (NOON + OTHERS_EXPIRE_MS, NOON + COUNTED_AFTER_MS)


def test_a_damaged_digest_loses_only_its_damaged_items() -> None:
    body = digest_body([{"kind": "near"}], NOON, {"kind": "digest", "items": [None, 3, {"kind": "swept"}]})
    assert (body["count"], body["items"]) == (2, [{"kind": "swept"}, {"kind": "near"}])


@given(
    st.lists(st.tuples(st.sampled_from(["near", "swept", "offline"]), st.floats(0, 1e9), st.booleans()), max_size=20),
    st.integers(0, 12),
    st.booleans(),
)
def test_every_alert_is_in_one_message_or_over_the_cap(rows: Any, sent_today: int, quiet: bool) -> None:
    alerts = [alert(usd, kind, None if kind == "offline" else 1, top_tier=top) for kind, usd, top in rows]
    plan = plan_messages(QUIET_AT_NOON if quiet else Preferences(), alerts, NOON, sent_today)
    delivered = [i for message in plan for i in message.alerts]
    assert len(delivered) == len(set(delivered))
    assert (len(delivered) < len(alerts)) == any(message.disposition == "capped" for message in plan)
    assert all(len(message.body.get("items", ())) <= MAX_NAMED for message in plan)
    groups = [message for message in plan if message.body["kind"] == "group"]
    assert all(len(message.alerts) >= GROUP_FROM for message in groups)


def test_the_daily_cap_exempts_top_tier_sweeps() -> None:
    preferences, now = Preferences(cap=3), at("2026-06-01T12:00")
    assert disposition(preferences, now, 2, "near", top_tier=False) == "now"
    assert disposition(preferences, now, 3, "near", top_tier=True) == "capped"
    assert disposition(preferences, now, 3, "swept", top_tier=False) == "capped"
    assert disposition(preferences, now, 30, "swept", top_tier=True) == "now"


def test_quiet_hours_pass_top_tier_sweeps_only_if_chosen() -> None:
    now = at("2026-06-01T23:30")
    quiet = Preferences(quiet=(23 * 60, 7 * 60))
    loud = Preferences(quiet=(23 * 60, 7 * 60), loud=True)
    assert disposition(quiet, now, 0, "swept", top_tier=True) == "held"
    assert disposition(loud, now, 0, "swept", top_tier=True) == "now"
    assert disposition(loud, now, 0, "near", top_tier=False) == "held"
