"""Decides which cluster rules fire on a tick: a pure function of their states, the tick and its time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from engine.alerts.ground import Ground
from engine.alerts.near import crossing, rearm
from engine.alerts.rules import AlertKind, Rule, as_tier, default_distance
from engine.alerts.state import Decisions, RuleState, StateKey
from engine.alerts.tiers import Candidates
from engine.liquidation.clusters import Cluster, ClusterEvent, alert_size_usd
from engine.liquidation.view import MapView
from engine.market import HOUR_MS, Side

ENTERED_AGAIN_MS = 4 * HOUR_MS


@dataclass(frozen=True, slots=True)
class AssetTick:
    """The changes of one asset since the last tick.

    Attributes:
        path: prices since the last tick, USD, oldest first, starting with that of the last tick.
        clusters, view: as they were before the path.
        events: events of the clusters on the path.
        grounds: untraded ground that the path entered, by side and days.
        faded: clusters that are no longer dense: no incident opens there, but open ones are followed to their end.
    """

    asset: str
    now: int
    path: tuple[float, ...]
    clusters: tuple[Cluster, ...]
    events: tuple[ClusterEvent, ...]
    view: MapView
    candidates: Candidates
    grounds: Mapping[tuple[Side, int], Ground] = field(default_factory=dict)
    faded: tuple[Cluster, ...] = ()

    @property
    def followed(self) -> tuple[Cluster, ...]:
        """All clusters that a rule may have an open incident with."""
        return (*self.clusters, *self.faded)


@dataclass(frozen=True, slots=True)
class ClusterFiring:
    """A rule fires about a cluster.

    Attributes:
        cluster: as it was when the rule fired.
        price: where the rule fired, USD.
        reason: a code: came_near, entered, swept, wick or day_passed.
        key: the alert's key, never used twice.
        notified_state: the rule's state when the chat was notified of the cluster, or None if it was not.
        opens_incident: it counts against the rule's repeat interval; follow-ups (swept, wick, over) do not.
        top_tier: the cluster is large enough for a calm rule.
    """

    kind: AlertKind
    rule: Rule
    cluster: Cluster
    price: float
    reason: str
    key: str
    notified_state: RuleState | None = None
    opens_incident: bool = True
    top_tier: bool = False

    @property
    def state_key(self) -> StateKey:
        return self.rule.id, self.cluster.id


class SizeFilter:
    """Checks whether clusters are large enough for rules. Computes each size once per tick."""

    def __init__(self, tick: AssetTick) -> None:
        self._tick = tick
        self._sizes: dict[tuple[str, float | None], float] = {}
        self._forced: dict[tuple[str, float], tuple[float, float, float]] = {}
        self._least: dict[tuple[str, Side, float], float] = {}

    def passes(self, cluster: Cluster, size: float | str, distance: float | None) -> bool:
        """Return whether a cluster reaches a tier or a size in USD, measured from a log distance (None: the usual)."""
        key = (cluster.id, distance)
        if key not in self._sizes:
            measured = cluster.size_usd if distance is None else alert_size_usd(self._tick.view, cluster, distance)
            self._sizes[key] = measured
        least = size if not isinstance(size, str) else self._threshold(size, cluster.side, distance)
        return self._sizes[key] >= least

    def forced_from(self, cluster: Cluster, price: float) -> tuple[float, float, float]:
        """Return the liquidations expected from a price to a cluster's far edge and their band, USD."""
        key = (cluster.id, price)
        if key not in self._forced:
            self._forced[key] = self._tick.view.curves[cluster.side].forced_from(price, cluster.last)
        return self._forced[key]

    def _threshold(self, tier: str, side: Side, distance: float | None) -> float:
        tick = self._tick
        far = default_distance(tick.asset) if distance is None else distance
        if (tier, side, far) not in self._least:
            self._least[tier, side, far] = tick.candidates.threshold_usd(as_tier(tier), side, far, tick.now)
        return self._least[tier, side, far]


def every_pair(rules: Iterable[Rule], tick: AssetTick) -> list[tuple[Rule, Cluster]]:
    """Return each rule that concerns the tick's asset with each of its clusters."""
    mine = [rule for rule in rules if rule.concerns(tick.asset)]
    return [(rule, cluster) for rule in mine for cluster in tick.followed if rule.wants(cluster.side)]


def decide(
    pairs: Iterable[tuple[Rule, Cluster]],
    states: Mapping[StateKey, RuleState],
    tick: AssetTick,
    new_rules: Collection[int] = (),
    sizes: SizeFilter | None = None,
) -> Decisions[ClusterFiring]:
    """Decide pairs of a rule and a cluster of the tick's asset. Pairs that cannot change may be left out.

    Args:
        new_rules: ids of rules whose states are seeded on this tick: only sweeps and wicks fire them, if they are near
            rules.
    """
    decisions, sizes = Decisions[ClusterFiring](), sizes or SizeFilter(tick)
    for rule, cluster in pairs:
        key = (rule.id, cluster.id)
        before = states.get(key)
        decide_one = _near if rule.kind == "near" else _at_cluster
        state, firings = decide_one(rule, before, cluster, tick, sizes, is_new=rule.id in new_rules)
        if state != before:
            decisions.states[key] = state
        decisions.fired += [replace(firing, top_tier=sizes.passes(firing.cluster, "calm", None)) for firing in firings]
    return decisions


def seed_states(
    rules: Iterable[Rule], states: Mapping[StateKey, RuleState], tick: AssetTick
) -> tuple[dict[StateKey, RuleState | None], list[tuple[Rule, Cluster]]]:
    """Return the states of rules on their first tick, and the pairs that are in range already. Nothing fires.

    A cluster that is in range and large enough counts as notified from now on. The caller shows it once.
    """
    seeded: dict[StateKey, RuleState | None] = {}
    in_range, sizes = [], SizeFilter(tick)
    price = tick.path[-1]
    touched = {event.cluster.id for event in tick.events}
    for rule in rules:
        if rule.kind != "near" or not rule.concerns(tick.asset):
            continue
        distance = rule.distance_for(tick.asset)
        for cluster in tick.clusters:
            before = states.get((rule.id, cluster.id))
            ahead = 0 < cluster.distance(price) <= distance and cluster.id not in touched
            if not ahead or not cluster.mature(tick.now) or (before is not None and not before.armed):
                continue
            if not rule.wants(cluster.side) or not sizes.passes(cluster, rule.size, distance):
                continue
            seeded[rule.id, cluster.id] = _notified(tick, sizes, cluster, price, before.arm_count if before else 0)
            in_range.append((rule, cluster))
    return seeded, in_range


def _notified(tick: AssetTick, sizes: SizeFilter, cluster: Cluster, price: float, arm_count: int) -> RuleState:
    """Return the state of a rule that notifies its chat of a cluster at a price, with the values in that message."""
    expected, low, high = sizes.forced_from(cluster, price)
    return RuleState(
        armed=False,
        since=tick.now,
        awaiting_followup=True,
        arm_count=arm_count,
        value=expected,
        value_low=low,
        value_high=high,
        label=cluster.label_price,
        notified_at=tick.now,
    )


def _near(
    rule: Rule, state: RuleState | None, cluster: Cluster, tick: AssetTick, sizes: SizeFilter, *, is_new: bool
) -> tuple[RuleState | None, list[ClusterFiring]]:
    distance = rule.distance_for(tick.asset)
    firings: list[ClusterFiring] = []
    for before, price in () if is_new else pairwise(tick.path):
        if state is not None:
            state = rearm(state, cluster, price, distance, tick.now)
        may_open = cluster.mature(tick.now) and not cluster.faded_at
        fires_at = crossing(state, cluster, before, price, distance) if may_open else None
        if fires_at is None or not sizes.passes(cluster, rule.size, distance):
            continue
        arm_count = state.arm_count if state else 0
        state = _notified(tick, sizes, cluster, fires_at, arm_count)
        key = _key(rule, cluster, "near", arm_count)
        firings.append(ClusterFiring("near", rule, cluster, fires_at, "came_near", key, state))
    for event in tick.events:
        if event.cluster.id == cluster.id and event.kind in ("swept", "wick"):
            firings += _followup(rule, state, event, tick, sizes)
            if state is not None and state.awaiting_followup:
                state = replace(state, awaiting_followup=False)
    if state is not None and state.awaiting_followup and tick.now >= state.closes_at and not is_new:
        key = _key(rule, cluster, "over", state.arm_count)
        firings.append(
            ClusterFiring("over", rule, cluster, tick.path[-1], "day_passed", key, state, opens_incident=False)
        )
        state = replace(state, awaiting_followup=False)
    return state, firings


def _followup(
    rule: Rule, state: RuleState | None, event: ClusterEvent, tick: AssetTick, sizes: SizeFilter
) -> list[ClusterFiring]:
    """Return the follow-up of an open incident, or the alert for a large cluster that had none."""
    cluster = event.cluster
    is_open = state is not None and state.awaiting_followup
    is_news = state is None or state.has_closed(tick.now)
    large = event.kind == "swept" and is_news and cluster.mature(tick.now) and not cluster.faded_at
    if not is_open and not (large and sizes.passes(cluster, rule.size, None)):
        return []
    key = _key(rule, cluster, event.kind, state.arm_count if state else 0)
    notified = state if is_open else None
    return [
        ClusterFiring(event.kind, rule, cluster, event.price, event.kind, key, notified, opens_incident=not is_open)
    ]


def _at_cluster(
    rule: Rule, state: RuleState | None, cluster: Cluster, tick: AssetTick, sizes: SizeFilter, *, is_new: bool
) -> tuple[RuleState | None, list[ClusterFiring]]:
    """Decide a rule of kind entered or swept, which fires at the cluster itself if it is mature and large enough."""
    firings: list[ClusterFiring] = []
    for event in () if is_new else tick.events:
        if event.cluster.id != cluster.id or event.kind != rule.kind:
            continue
        if not cluster.mature(tick.now) or cluster.faded_at or not sizes.passes(cluster, rule.size, None):
            continue
        if state is not None and tick.now - state.since < ENTERED_AGAIN_MS:
            continue
        arm_count = state.arm_count + 1 if state else 0
        state = RuleState(armed=False, since=tick.now, awaiting_followup=True, arm_count=arm_count)
        key = _key(rule, cluster, event.kind, arm_count)
        firings.append(ClusterFiring(event.kind, rule, event.cluster, event.price, event.kind, key))
    return state, firings


def _key(rule: Rule, cluster: Cluster, kind: str, arm_count: int) -> str:
    return f"{rule.id}/{cluster.id}/{kind}/{arm_count}"
