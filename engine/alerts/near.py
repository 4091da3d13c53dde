"""The near rule for one cluster: when it is armed, when it fires, when it is armed again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from engine.liquidation.clusters import Cluster
from engine.liquidation.grid import outward
from engine.market import HOUR_MS

REARM_MS = 4 * HOUR_MS
REARM_FACTOR = 2.0
STORY_MS = 24 * HOUR_MS
"""What was told is followed so long; then a line says that it was not reached."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """What a rule remembers of a cluster once it differs from what the cluster's own facts say.

    Attributes:
        armed: whether it may fire.
        since: when it fired or was disarmed, UTC ms.
        fired: whether the chat was told and waits for the end of it, which rearming does not change; the figures
            are what was said then.
        left: whether price has been twice the distance away since.
        arming: how often it has been armed; part of the key that keeps an alert from being made twice.
        label: what the cluster was called when it was told of, USD; 0 where nobody was told.
        told_at: when that was, UTC ms; 0 in states of before, where since says it.
    """

    armed: bool
    since: int
    fired: bool = False
    left: bool = False
    arming: int = 0
    forced_usd: float = 0.0
    forced_low_usd: float = 0.0
    forced_high_usd: float = 0.0
    label: float = 0.0
    told_at: int = 0

    @property
    def story_since(self) -> int:
        """When the chat was told, UTC ms."""
        return self.told_at or self.since

    def untold(self, now: int) -> bool:
        """Whether what was told is so long ago that the cluster's sweep is news again."""
        return self.label > 0 and now >= self.overdue_at

    @property
    def overdue_at(self) -> int:
        """When what was told has had its day, UTC ms."""
        return self.story_since + STORY_MS


def state_of(row: Mapping[str, Any]) -> RuleState:
    """Return the state that was kept as a mapping; fields of another version are left out.

    Raises:
        TypeError, ValueError: when it is none.
    """
    known = {each.name: row[each.name] for each in fields(RuleState) if each.name in row}
    state = RuleState(**known)
    times, sizes = (state.since, state.arming, state.told_at), (state.forced_low_usd, state.forced_high_usd)
    numbers = (*times, *sizes, state.forced_usd, state.label)
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise ValueError("a number in it is none")
    return state


def armed_distance(state: RuleState | None, cluster: Cluster, distance: float) -> float | None:
    """Log distance at which the rule fires for a cluster, None while it does not.

    Formed outside the distance: armed at it. Formed between half of it and it: armed at half. Formed closer:
    silent until price has been twice the distance away.
    """
    if state is not None:
        return distance if state.armed else None
    if cluster.born_distance > distance or cluster.farthest >= REARM_FACTOR * distance:
        return distance
    if cluster.born_distance > distance / 2:
        return distance / 2
    return None


def rearm(state: RuleState, cluster: Cluster, price: float, distance: float, now: int) -> RuleState:
    """The state after price was seen somewhere: armed again once it has left and four hours have passed."""
    if state.armed:
        return state
    left = state.left or cluster.distance(price) >= REARM_FACTOR * distance
    if left and now - state.since >= REARM_MS:
        return replace(state, armed=True, since=now, left=False, arming=state.arming + 1)
    return state if left == state.left else replace(state, left=True)


def handed_over(told: RuleState, known: RuleState | None, heir: Cluster, distance: float) -> RuleState:
    """The state of a rule towards a cluster that took the place of one it told of: it tells of that one's end.

    Args:
        told: what it remembers of the one that faded.
        known: what it remembers of the heir.
    """
    if known is not None and known.fired:
        return known
    if known is None:
        known = RuleState(armed_distance(None, heir, distance) == distance, told.since)
    return replace(
        told, armed=known.armed, since=known.since, left=known.left, arming=known.arming, told_at=told.story_since
    )


def crossing(state: RuleState | None, cluster: Cluster, before: float, price: float, distance: float) -> float | None:
    """The price at which the rule fires on the way from one price to the next, None if it does not.

    Nothing is near that price is already inside of; a path that jumps past the cluster still crosses its distance.
    """
    limit = armed_distance(state, cluster, distance)
    if limit is None or cluster.entered or cluster.distance(before) <= 0 or cluster.distance(price) > limit:
        return None
    if cluster.distance(before) <= limit:
        return before
    return _price_at(cluster, limit)


def _price_at(cluster: Cluster, distance: float) -> float:
    """The price at a log distance before the near edge."""
    return cluster.near_price * math.exp(-outward(cluster.side, 1) * distance)
