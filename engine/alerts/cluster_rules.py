"""Which rules fire on a tick: a pure function of what they remember, what was seen, and now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from engine.alerts.ground import Ground
from engine.alerts.near import RuleState, crossing, rearm
from engine.alerts.rules import AlertKind, Rule, as_tier, default_distance
from engine.alerts.tiers import Candidates
from engine.liquidation.clusters import Cluster, Mark, alert_size_usd
from engine.liquidation.view import MapView
from engine.market import HOUR_MS, Side

StateKey = tuple[int, str]
"""Rule id and cluster id."""

ENTERED_AGAIN_MS = 4 * HOUR_MS


@dataclass(frozen=True, slots=True)
class AssetTick:
    """What happened to one asset since the last tick.

    path holds prices oldest first, the last tick's at its head; clusters and view are as before the path;
    marks are what the path did to the clusters; faded are not dense any more: nothing begins there, but what was told
    of them is told to its end; grounds what it came into that nobody had traded for long, by side and
    days.
    """

    asset: str
    now: int
    path: tuple[float, ...]
    clusters: tuple[Cluster, ...]
    marks: tuple[Mark, ...]
    view: MapView
    candidates: Candidates
    grounds: Mapping[tuple[Side, int], Ground] = field(default_factory=dict)
    faded: tuple[Cluster, ...] = ()

    @property
    def followed(self) -> tuple[Cluster, ...]:
        """All clusters that a rule may have told of."""
        return (*self.clusters, *self.faded)


@dataclass(frozen=True, slots=True)
class Decision:
    """A rule fires. price is where; cluster as it was then; key never comes twice for the same happening.

    begins: it begins a story rather than ending one. top_tier: the cluster is one that a calm rule would tell of.
    """

    kind: AlertKind
    rule: Rule
    cluster: Cluster
    price: float
    reason: str
    key: str
    told: RuleState | None = None
    begins: bool = True
    top_tier: bool = False


@dataclass(slots=True)
class Verdict:
    """What a tick decided: alerts, and which states changed (None: forgotten)."""

    now: int = 0
    decisions: list[Decision] = field(default_factory=list)
    states: dict[StateKey, RuleState | None] = field(default_factory=dict)


class Sizes:
    """Whether clusters are large enough for rules, worked out once a tick."""

    def __init__(self, tick: AssetTick) -> None:
        self._tick = tick
        self._sizes: dict[tuple[str, float | None], float] = {}
        self._forced: dict[tuple[str, float], tuple[float, float, float]] = {}
        self._least: dict[tuple[str, Side, float], float] = {}

    def enough(self, cluster: Cluster, size: float | str, distance: float | None) -> bool:
        """Whether a cluster is as large as a tier or so many USD, measured from a log distance; None: as such."""
        key = (cluster.id, distance)
        if key not in self._sizes:
            measured = cluster.size_usd if distance is None else alert_size_usd(self._tick.view, cluster, distance)
            self._sizes[key] = measured
        least = size if not isinstance(size, str) else self._threshold(size, cluster.side, distance)
        return self._sizes[key] >= least

    def forced_from(self, cluster: Cluster, price: float) -> tuple[float, float, float]:
        """What is expected to be forced out from a price to a cluster's far edge, with its band, USD."""
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
    """Each rule that concerns the tick's asset with each of its clusters."""
    mine = [rule for rule in rules if rule.concerns(tick.asset)]
    return [(rule, cluster) for rule in mine for cluster in tick.followed if rule.wants(cluster.side)]


def decide(
    pairs: Iterable[tuple[Rule, Cluster]],
    states: Mapping[StateKey, RuleState],
    tick: AssetTick,
    muted: Mapping[int, int] | None = None,
    following: Collection[int] = (),
    sizes: Sizes | None = None,
    resting: Callable[[Rule], int] = lambda _: 0,
) -> Verdict:
    """Decide pairs of a rule and a cluster of the tick's asset; those that cannot change may be left out.

    Args:
        states: what rules remember, by rule and cluster.
        muted: chat id to the time until which it wants to hear nothing of this asset; what would have fired
            then counts as fired, so that nothing comes in a flood afterwards.
        following: rules that have their baseline in this tick: they end stories they began and begin none.
        resting: until when a rule begins no story because it told one.
    """
    verdict, sizes, muted = Verdict(tick.now), sizes or Sizes(tick), muted or {}
    begun: set[int] = set()
    for rule, cluster in pairs:
        key = (rule.id, cluster.id)
        before = states.get(key)
        state, decisions = _RULES[rule.kind](rule, before, cluster, tick, sizes, rule.id in following)
        if state != before:
            verdict.states[key] = state
        if decisions and muted.get(rule.chat_id, 0) <= tick.now:
            begins = next((i for i, decision in enumerate(decisions) if decision.begins), None)
            if begins is not None and (resting(rule) > tick.now or (rule.every_ms and rule.id in begun)):
                # What is not told has no end to be told.
                decisions = decisions[:begins]
                verdict.states[key] = replace(state, fired=False) if state is not None else None
            elif begins is not None:
                begun.add(rule.id)
            verdict.decisions += [
                replace(decision, top_tier=sizes.enough(decision.cluster, "calm", None)) for decision in decisions
            ]
    return verdict


def baseline(
    rules: Iterable[Rule], states: Mapping[StateKey, RuleState], tick: AssetTick
) -> tuple[Verdict, list[tuple[Rule, Cluster]]]:
    """The first tick after a start or a subscription: nothing fires, and what is already in range is returned.

    What is in range and large enough counts as told from now on; the caller shows it once.
    """
    verdict, shown, sizes = Verdict(), [], Sizes(tick)
    price = tick.path[-1]
    touched = {mark.cluster.id for mark in tick.marks}
    for rule in rules:
        if rule.kind != "near" or not rule.concerns(tick.asset):
            continue
        distance = rule.distance_for(tick.asset)
        for cluster in tick.clusters:
            before = states.get((rule.id, cluster.id))
            ahead = 0 < cluster.distance(price) <= distance and cluster.id not in touched
            if not ahead or not cluster.mature(tick.now) or (before is not None and not before.armed):
                continue
            if not rule.wants(cluster.side) or not sizes.enough(cluster, rule.size, distance):
                continue
            # What is shown is told: its sweep will be told too.
            verdict.states[rule.id, cluster.id] = _told(tick, sizes, cluster, price, before.arming if before else 0)
            shown.append((rule, cluster))
    return verdict, shown


def _told(tick: AssetTick, sizes: Sizes, cluster: Cluster, price: float, arming: int) -> RuleState:
    """The state of a rule whose chat was told of a cluster at a price, with the figures that were said."""
    forced, low, high = sizes.forced_from(cluster, price)
    state = RuleState(False, tick.now, True, arming=arming, label=cluster.label_price, told_at=tick.now)
    return replace(state, forced_usd=forced, forced_low_usd=low, forced_high_usd=high)


def _near(
    rule: Rule, state: RuleState | None, cluster: Cluster, tick: AssetTick, sizes: Sizes, following: bool
) -> tuple[RuleState | None, list[Decision]]:
    distance = rule.distance_for(tick.asset)
    decisions: list[Decision] = []
    for before, price in () if following else pairwise(tick.path):
        if state is not None:
            state = rearm(state, cluster, price, distance, tick.now)
        begins = cluster.mature(tick.now) and not cluster.faded_at
        fires_at = crossing(state, cluster, before, price, distance) if begins else None
        if fires_at is None or not sizes.enough(cluster, rule.size, distance):
            continue
        arming = state.arming if state else 0
        state = _told(tick, sizes, cluster, fires_at, arming)
        limit = abs(cluster.distance(fires_at))
        reason = f"price came within {limit * 100:.2g}% of the cluster's near edge"
        decisions.append(Decision("near", rule, cluster, fires_at, reason, _key(rule, cluster, "near", arming), state))
    for mark in tick.marks:
        if mark.cluster.id == cluster.id and mark.kind in ("swept", "wick"):
            decisions += _followed_up(rule, state, mark, tick, sizes)
            if state is not None and state.fired:
                state = replace(state, fired=False)
    if state is not None and state.fired and tick.now >= state.overdue_at and not following:
        key = _key(rule, cluster, "over", state.arming)
        reason = "a day has passed since"
        decisions.append(Decision("over", rule, cluster, tick.path[-1], reason, key, state, begins=False))
        state = replace(state, fired=False)
    return state, decisions


def _followed_up(rule: Rule, state: RuleState | None, mark: Mark, tick: AssetTick, sizes: Sizes) -> list[Decision]:
    """The end of the story for whoever was told its beginning, and for a large cluster that nobody was told of."""
    told = state is not None and state.fired
    untold = state is None or state.untold(tick.now)
    large = mark.kind == "swept" and untold and mark.cluster.mature(tick.now) and not mark.cluster.faded_at
    large = large and sizes.enough(mark.cluster, rule.size, None)
    if not (told or large):
        return []
    arming = state.arming if state else 0
    key = _key(rule, mark.cluster, mark.kind, arming)
    return [
        Decision(
            mark.kind, rule, mark.cluster, mark.price, _reason(mark), key, state if told else None, begins=not told
        )
    ]


def _at_cluster(
    rule: Rule, state: RuleState | None, cluster: Cluster, tick: AssetTick, sizes: Sizes, following: bool
) -> tuple[RuleState | None, list[Decision]]:
    """Rules of kind entered and swept: they fire at the cluster itself, if it is mature and large enough."""
    decisions: list[Decision] = []
    for mark in () if following else tick.marks:
        if mark.cluster.id != cluster.id or mark.kind != rule.kind or not cluster.mature(tick.now) or cluster.faded_at:
            continue
        if not sizes.enough(cluster, rule.size, None):
            continue
        if state is not None and tick.now - state.since < ENTERED_AGAIN_MS:
            continue
        arming = state.arming + 1 if state else 0
        state = RuleState(armed=False, since=tick.now, fired=True, arming=arming)
        key = _key(rule, cluster, mark.kind, arming)
        decisions.append(Decision(mark.kind, rule, mark.cluster, mark.price, _reason(mark), key))
    return state, decisions


_RULES = {"near": _near, "entered": _at_cluster, "swept": _at_cluster}


def _reason(mark: Mark) -> str:
    share = min(mark.cluster.swept_usd / mark.cluster.entry_usd, 1.0) if mark.cluster.entry_usd else 0.0
    if mark.kind == "entered":
        return "price entered the cluster"
    if mark.kind == "wick":
        return f"price entered the cluster, swept {share:.0%} of it and left by 1%"
    return f"price swept {share:.0%} of what lay there"


def _key(rule: Rule, cluster: Cluster, kind: str, arming: int) -> str:
    return f"{rule.id}/{cluster.id}/{kind}/{arming}"
