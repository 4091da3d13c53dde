"""The near rule for one cluster: when it is armed, when it fires, when it is armed again."""

from __future__ import annotations

import math
from dataclasses import replace

from engine.alerts.state import RuleState
from engine.liquidation.clusters import Cluster
from engine.liquidation.grid import outward
from engine.market import HOUR_MS

REARM_MS = 4 * HOUR_MS
REARM_FACTOR = 2.0


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
    moved_away = state.moved_away or cluster.distance(price) >= REARM_FACTOR * distance
    if moved_away and now - state.since >= REARM_MS:
        return replace(state, armed=True, since=now, moved_away=False, arm_count=state.arm_count + 1)
    return state if moved_away == state.moved_away else replace(state, moved_away=True)


def transferred(old: RuleState, own: RuleState | None, heir: Cluster, distance: float) -> RuleState:
    """Return a rule's state for the cluster that replaces one with an open incident, which goes on with the heir.

    Args:
        old: state for the cluster that faded.
        own: state for the heir so far.
    """
    if own is not None and own.awaiting_followup:
        return own
    if own is None:
        own = RuleState(armed_distance(None, heir, distance) == distance, old.since)
    return replace(
        old,
        armed=own.armed,
        since=own.since,
        moved_away=own.moved_away,
        arm_count=own.arm_count,
        notified_at=old.opened_at,
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
