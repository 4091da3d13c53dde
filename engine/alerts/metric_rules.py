"""Rules about a metric of an asset: its price, funding, open interest, risk, cascade.

A rule fires when its metric reaches the level, and re-arms once the metric has come back and four hours have passed. A
missing metric changes nothing: missing data never re-arms a rule.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from engine.alerts.index import ARMED, RuleSlots
from engine.alerts.near import REARM_MS
from engine.alerts.rules import METRIC_KINDS, MetricKind, Rule, RuleKind, default_distance
from engine.alerts.state import Decisions, RuleState, StateKey

GROWN = 3.0
CHANGED = 1.25
"""A cascade's message is edited when it has grown by CHANGED. The rule fires again when it has grown by GROWN."""

BACK = 0.8
"""A metric has come back when it is at most this share of the level."""


@dataclass(frozen=True, slots=True)
class MetricTick:
    """An asset's metrics.

    Attributes:
        path: prices since the last tick, USD, oldest first, starting with that of the last tick.
        values: metrics by kind, units as rules.LEVEL_RANGE; unknown ones are omitted.
    """

    asset: str
    now: int
    path: tuple[float, ...]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MetricFiring:
    """A rule fires at a value of its metric. key: the alert's key, never used twice."""

    rule: Rule
    value: float
    key: str
    slot: str
    top_tier: bool = False

    @property
    def kind(self) -> RuleKind:
        return self.rule.kind

    @property
    def reason(self) -> str:
        """A code: level_reached."""
        return "level_reached"

    @property
    def state_key(self) -> StateKey:
        return self.rule.id, self.slot

    @property
    def opens_incident(self) -> bool:
        return True


def metric_slot(asset: str, kind: str) -> str:
    """Return the slot of a metric rule's state, which replaces the cluster id in its key."""
    return f"@{asset}/{kind}"


def decide_metrics(
    rules: Iterable[Rule],
    states: Mapping[StateKey, RuleState],
    tick: MetricTick,
    new_rules: Collection[int] = (),
) -> Decisions[MetricFiring]:
    """Decide rules about an asset's metrics.

    Args:
        new_rules: ids of rules for which a metric that is past its level already is not news. A price crossing always
            is.
    """
    decisions = Decisions[MetricFiring]()
    for rule in rules:
        if rule.kind != "price" and not math.isfinite(tick.values.get(rule.kind, math.nan)):
            continue
        slot = metric_slot(tick.asset, rule.kind)
        before = states.get((rule.id, slot))
        value = _reached(rule, tick) if before is None or before.armed or _threefold(rule, before, tick) else None
        if value is not None:
            state: RuleState | None = _fire(rule, before, value, slot, tick, new_rules, decisions)
        elif before is not None and before.awaiting_followup and _has_grown(rule, before, tick):
            state = _grow(rule, before, slot, tick, decisions)
        elif before is not None and not before.armed:
            state = _rearm(rule, before, tick)
        else:
            state = before
        if state != before:
            decisions.states[rule.id, slot] = state
    return decisions


def _fire(
    rule: Rule,
    state: RuleState | None,
    value: float,
    slot: str,
    tick: MetricTick,
    new_rules: Collection[int],
    decisions: Decisions[MetricFiring],
) -> RuleState:
    arm_count = state.arm_count + (not state.armed) if state else 0
    is_news = rule.kind == "price" or rule.id not in new_rules
    if is_news:
        top_tier = rule.kind == "cascade" and value >= GROWN * (rule.level or value)
        decisions.fired.append(MetricFiring(rule, value, _key(rule, slot, arm_count), slot, top_tier))
    size = abs(value)
    return RuleState(False, tick.now, is_news, arm_count=arm_count, value=size, peak_value=size)


def _grow(rule: Rule, state: RuleState, slot: str, tick: MetricTick, decisions: Decisions[MetricFiring]) -> RuleState:
    value = tick.values[rule.kind]
    decisions.grown.append(MetricFiring(rule, value, _key(rule, slot, state.arm_count), slot))
    return replace(state, peak_value=value)


def _rearm(rule: Rule, state: RuleState, tick: MetricTick) -> RuleState:
    moved_away = state.moved_away or _back(rule, tick)
    if moved_away and tick.now - state.since >= REARM_MS:
        return RuleState(armed=True, since=tick.now, arm_count=state.arm_count + 1)
    return replace(state, moved_away=True) if moved_away else state


def _reached(rule: Rule, tick: MetricTick) -> float | None:
    """Return the value that reaches the rule's level, or None if the level is not reached."""
    level = rule.level or math.inf
    if rule.kind == "price":
        crossed = (min(a, b) < level <= max(a, b) or min(a, b) <= level < max(a, b) for a, b in pairwise(tick.path))
        return level if any(crossed) else None
    value = tick.values[rule.kind]
    return value if abs(value) >= level else None


def _key(rule: Rule, place: str, arm_count: int) -> str:
    return f"{rule.id}/{place}/{arm_count}/{rule.created_at}"


def _has_grown(rule: Rule, state: RuleState, tick: MetricTick) -> bool:
    """Return whether a cascade has grown enough since its message for the message to be edited."""
    return rule.kind == "cascade" and tick.values["cascade"] >= CHANGED * state.peak_value


def _threefold(rule: Rule, state: RuleState, tick: MetricTick) -> bool:
    """Return whether a cascade has tripled since it fired, which is news even if it never came back."""
    return rule.kind == "cascade" and tick.values["cascade"] >= GROWN * max(state.value, rule.level or math.inf)


def _back(rule: Rule, tick: MetricTick) -> bool:
    """Return whether a metric has come back from the rule's level."""
    level = rule.level or math.inf
    if rule.kind == "price":
        return any(abs(math.log(price / level)) >= default_distance(tick.asset) for price in tick.path[1:])
    return abs(tick.values[rule.kind]) <= BACK * level


class MetricIndex:
    """An asset's metric rules by kind, sorted by level, and their places: ARMED, LEAVING or ASLEEP."""

    def __init__(self, asset: str, rules: Iterable[Rule], states: Mapping[str, Mapping[int, RuleState]]) -> None:
        self._asset, self._states = asset, states
        self._kinds = {kind: _Ladder(metric_slot(asset, kind)) for kind in METRIC_KINDS}
        for rule in sorted(rules, key=lambda rule: (rule.level or 0.0, rule.id)):
            if rule.is_metric:
                self._kinds[_kind(rule)].add(rule)
        self.chats = {rule.chat_id for ladder in self._kinds.values() for rule in ladder.rules}
        for ladder in self._kinds.values():
            ladder.apply_states(states.get(ladder.place, {}), None)

    def candidates(self, tick: MetricTick) -> list[Rule]:
        """Return the rules that a tick can change."""
        due: list[Rule] = []
        for kind, ladder in self._kinds.items():
            if not ladder.rules:
                continue
            if kind == "price":
                low, high = min(tick.path), max(tick.path)
                due += ladder.taken(low, high, math.inf, tick.now)
            elif math.isfinite(value := tick.values.get(kind, math.nan)):
                due += ladder.taken(0.0, abs(value), -abs(value), tick.now)
                if kind == "cascade":  # rules that have fired at a lower value are few: check them all
                    due += ladder.told_up_to(abs(value) / CHANGED)
        return due

    def apply_states(self, changed: Iterable[tuple[int, str]]) -> None:
        """Place the rules whose states changed, and those that candidates() popped."""
        ids = {rule_id for rule_id, _ in changed}
        for ladder in self._kinds.values():
            ladder.apply_states(self._states.get(ladder.place, {}), ids)


class _Ladder:
    """The rules of one kind, sorted by level."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.rules: list[Rule] = []
        self._levels = np.zeros(0)
        self._position: dict[int, int] = {}
        self._stands = RuleSlots(0)
        self._looked_at: set[int] = set()

    def add(self, rule: Rule) -> None:
        """Add a rule. Rules must be added in order of level."""
        self._position[rule.id] = len(self.rules)
        self.rules.append(rule)

    def taken(self, low: float, high: float, farthest: float, now: int) -> list[Rule]:
        """Return the armed rules with a level from low to high, and the rules that may re-arm."""
        first, last = np.searchsorted(self._levels, [low, np.nextafter(high, np.inf)])
        positions = set((first + np.flatnonzero(self._stands.where[first:last] == ARMED)).tolist())
        for rule_id, was in self._stands.pop_rearmable(farthest, now):
            position = self._position[rule_id]
            if self._stands.where[position] == was:
                self._stands.where[position] = ARMED  # until apply_states() places it
                self._looked_at.add(rule_id)
                positions.add(position)
        return [self.rules[position] for position in sorted(positions)]

    def told_up_to(self, level: float) -> list[Rule]:
        """Return the rules up to a level that are not armed."""
        last = int(np.searchsorted(self._levels, level, side="right"))
        return [self.rules[position] for position in np.flatnonzero(self._stands.where[:last] != ARMED)]

    def apply_states(self, states: Mapping[int, RuleState], ids: Collection[int] | None) -> None:
        """Place these rules (None: all), and those that taken() popped, by their states."""
        if ids is None:
            self._levels = np.array([rule.level for rule in self.rules], dtype=np.float64)
            self._stands = RuleSlots(len(self.rules))
            ids = states.keys()
        for rule_id in {*ids, *self._looked_at} & self._position.keys():
            position = self._position[rule_id]
            self._stands.put(position, rule_id, states.get(rule_id), -BACK * float(self._levels[position]))
        self._looked_at.clear()


def _kind(rule: Rule) -> MetricKind:
    return METRIC_KINDS[METRIC_KINDS.index(rule.kind)]
