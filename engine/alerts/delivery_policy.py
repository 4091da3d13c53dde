"""Plans the messages for a chat's new alerts: sent now, held for quiet hours, or over the daily cap. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.market import HOUR_MS, MINUTE_MS
from engine.messages import AlertRecord
from engine.preferences import Preferences, quiet_until

Disposition = Literal["now", "held", "capped"]

GROUP_FROM = 4
"""This many alerts for one chat in one tick become one message."""

MAX_NAMED = 12
"""Alerts that a message about several names; the rest are counted."""

EXPIRES_MS = {"near": 30 * MINUTE_MS, "entered": 30 * MINUTE_MS}
OTHERS_EXPIRE_MS = 12 * HOUR_MS
"""How long a message is worth sending, by kind of alert."""

COUNTED_LATER = frozenset({"swept", "fresh", "move"})
COUNTED_AFTER_MS = HOUR_MS
"""After this long the message is edited to give the final count of reported liquidations."""

EXEMPT = frozenset({"swept", "cascade"})
"""Kinds that the daily cap lets through when they are of the top tier."""


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """A message planned for a chat's new alerts.

    Attributes:
        disposition: now; held: alerts join the one digest that waits for the end of quiet hours; capped: the note that
            the daily cap is reached, sent once a day.
        alerts: positions, among the alerts planned for, of those that the message delivers; none for the note.
        body: facts to render it from, JSON values only.
        expires: UTC ms, when it is no longer worth sending.
        due: UTC ms, None for at once.
        final_count_at: UTC ms, when the message is edited to give the final count; None for never.
    """

    disposition: Disposition
    alerts: tuple[int, ...]
    body: dict[str, Any]
    expires: int
    due: int | None = None
    final_count_at: int | None = None


def disposition(preferences: Preferences, now: int, sent_today: int, kind: str, *, top_tier: bool) -> Disposition:
    """Return whether an alert is sent now, held, or over the daily cap.

    Args:
        now: the machine's time, UTC ms, because quiet hours are local time.
        sent_today: messages with alerts since the chat's local midnight, waiting ones included.
    """
    if sent_today >= preferences.cap and not (top_tier and kind in EXEMPT):
        return "capped"
    if quiet_until(preferences, now) is not None and not (preferences.loud and top_tier):
        return "held"
    return "now"


def plan_messages(
    preferences: Preferences,
    alerts: Sequence[AlertRecord],
    now: int,
    sent_today: int,
    waiting_digest: Mapping[str, Any] | None = None,
) -> list[PlannedMessage]:
    """Plan the messages of a chat's new alerts of one tick, the most important first.

    An alert that no planned message delivers is over the daily cap.

    Args:
        now: the machine's time, UTC ms.
        sent_today: messages with rules' alerts since the chat's local midnight, waiting ones included.
        waiting_digest: body of the digest that waits for the end of quiet hours, or None.
    """
    plan: list[PlannedMessage] = []
    held: list[int] = []
    capped = False
    for unit in _units(alerts):
        first = alerts[unit[0]]
        # System messages and one-off ("once") rules do not count towards the daily cap.
        counted = first.rule_id is not None and not any(alerts[i].once for i in unit)
        match disposition(preferences, now, sent_today if counted else 0, first.kind, top_tier=first.top_tier):
            case "now":
                plan.append(_message(alerts, unit, now))
                sent_today += 1
            case "held":
                sent_today += waiting_digest is None and not held
                held += unit
            case "capped":
                capped = True
    until = quiet_until(preferences, now)
    if held and until is not None:
        body = digest_body([alerts[i].facts for i in held], now, waiting_digest)
        plan.append(PlannedMessage("held", tuple(held), body, until + OTHERS_EXPIRE_MS, until))
    if capped:
        body = {"kind": "full", "cap": preferences.cap, "timezone": preferences.timezone}
        plan.append(PlannedMessage("capped", (), body, (until or now) + OTHERS_EXPIRE_MS, until))
    return plan


def digest_body(facts: Sequence[dict[str, Any]], now: int, waiting: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body of the digest of quiet hours with more alerts in it, the largest first.

    Args:
        waiting: its body so far, None for a new one. Damaged items in it are dropped.
    """
    if waiting is None:
        return _joint_body("digest", facts, now)
    before = [item for item in waiting.get("items") or () if isinstance(item, dict)]
    count = int(waiting.get("count") or len(before)) + len(facts)
    items = sorted([*before, *facts], key=lambda each: -_size_usd(each))
    return {**waiting, "count": count, "items": items[:MAX_NAMED]}


def _units(alerts: Sequence[AlertRecord]) -> list[list[int]]:
    """Return the positions of alerts that share a message, the most important first."""
    order = sorted(range(len(alerts)), key=lambda i: (-alerts[i].top_tier, -_size_usd(alerts[i].facts)))
    # A group shows one line of each alert: system messages, such as the one after downtime, need all of theirs.
    of_system = [[i] for i in order if alerts[i].rule_id is None]
    of_rules = [i for i in order if alerts[i].rule_id is not None]
    return of_system + ([of_rules] if len(of_rules) >= GROUP_FROM else [[i] for i in of_rules])


def _message(alerts: Sequence[AlertRecord], unit: Sequence[int], now: int) -> PlannedMessage:
    facts = [alerts[i].facts for i in unit]
    body = facts[0] if len(unit) == 1 else _joint_body("group", facts, now)
    lifetime = max(EXPIRES_MS.get(alerts[i].kind, OTHERS_EXPIRE_MS) for i in unit)
    final_at = now + COUNTED_AFTER_MS if body["kind"] in COUNTED_LATER else None
    return PlannedMessage("now", tuple(unit), body, now + lifetime, final_count_at=final_at)


def _joint_body(kind: str, facts: Sequence[dict[str, Any]], now: int) -> dict[str, Any]:
    asset = facts[0].get("asset", "")
    return {"kind": kind, "asset": asset, "at": now, "count": len(facts), "items": list(facts[:MAX_NAMED])}


def _size_usd(facts: Mapping[str, Any]) -> float:
    return float(facts.get("forced_usd") or facts.get("cluster", {}).get("forced_usd") or 0.0)
