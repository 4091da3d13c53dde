"""What a chat's own preferences make of an alert: sent now, held until its quiet hours end, or capped for the day."""

from __future__ import annotations

from typing import Literal

from engine.preferences import Preferences, quiet_until

Disposition = Literal["now", "held", "capped"]

GROUP_FROM = 4
"""So many alerts for one chat in one tick are one message."""

EXEMPT = frozenset({"swept", "cascade"})
"""Kinds that a full day does not hold back when they are of the top tier."""


def disposition(preferences: Preferences, now: int, told_today: int, kind: str, *, top_tier: bool) -> Disposition:
    """What becomes of an alert.

    Args:
        now: the machine's time, UTC ms: quiet hours are people's.
        told_today: messages with alerts since the chat's local midnight, those that wait included.
    """
    if told_today >= preferences.cap and not (top_tier and kind in EXEMPT):
        return "capped"
    if quiet_until(preferences, now) is not None and not (preferences.loud and top_tier):
        return "held"
    return "now"
