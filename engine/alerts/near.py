"""The near rule for one cluster: when it is armed, fires and re-arms."""

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
    """Return the log distance at which the rule fires for a cluster, or None while it cannot fire.

    For a cluster born farther away than the rule's distance, that is the distance. For one born beyond half of it, that
    is half the distance. For one born closer, the rule is armed only once price has been twice the distance away.
    """
    if state is not None:
        return distance if state.armed else None
    if cluster.born_distance > distance or cluster.farthest >= REARM_FACTOR * distance:
        return distance
    if cluster.born_distance > distance / 2:
        return distance / 2
    return None


def rearm(state: RuleState, cluster: Cluster, price: float, distance: float, now: int) -> RuleState:
    """Return the state after a price, re-armed once price has moved away and four hours have passed."""
    if state.armed:
        return state
    moved_away = state.moved_away or cluster.distance(price) >= REARM_FACTOR * distance
    if moved_away and now - state.since >= REARM_MS:
        return replace(state, armed=True, since=now, moved_away=False, arm_count=state.arm_count + 1)
    return state if moved_away == state.moved_away else replace(state, moved_away=True)


def transferred(old: RuleState, own: RuleState | None, heir: Cluster, distance: float) -> RuleState:
    """Return a rule's state for a cluster that replaces one with an open incident, and takes over the incident.

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
    """Return the price at which the rule fires between one price and the next, or None if it does not.

    A cluster that price is already inside of is not near. A path that jumps past a cluster still crosses its distance.
    """
    limit = armed_distance(state, cluster, distance)
    if limit is None or cluster.entered or cluster.distance(before) <= 0 or cluster.distance(price) > limit:
        return None
    if cluster.distance(before) <= limit:
        return before
    return _price_at(cluster, limit)


def _price_at(cluster: Cluster, distance: float) -> float:
    """Return the price at a log distance before the near edge, USD."""
    return cluster.near_price * math.exp(-outward(cluster.side, 1) * distance)
