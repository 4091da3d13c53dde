"""Rules about a figure of an asset: its price, funding, open interest, risk.

A rule fires when its figure reaches the level, and is armed again once the figure has come back and four hours have
passed. A figure that is missing changes nothing: no data never means back to normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from engine.alerts.index import ARMED, Place
from engine.alerts.near import REARM_MS, RuleState
from engine.alerts.rules import VALUE_KINDS, Rule, ValueKind, default_distance

GROWN = 3.0
CHANGED = 1.25
"""A cascade's message is changed when it has grown so much, and sent anew at three times what was told."""

BACK = 0.8
"""A figure has come back when it is below so much of the level."""


@dataclass(frozen=True, slots=True)
class ValueTick:
    """An asset's figures.

    Attributes:
        path: prices since the last tick, the last tick's at its head.
        values: figures by kind, units as rules.LEVEL_RANGE; those that are not known are left out.
    """

    asset: str
    now: int
    path: tuple[float, ...]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ValueDecision:
    """A rule fires at a value; key never comes twice for the same happening."""

    rule: Rule
    value: float
    reason: str
    key: str


@dataclass(slots=True)
class ValueVerdict:
    """What a tick decided, and which states changed, by rule and place (see place_of).

    changes: what was told and is now larger, with the key under which it was told.
    """

    decisions: list[ValueDecision] = field(default_factory=list)
    changes: list[ValueDecision] = field(default_factory=list)
    states: dict[tuple[int, str], RuleState | None] = field(default_factory=dict)


def place_of(asset: str, kind: str) -> str:
    """What stands in a cluster's place in a state's key."""
    return f"@{asset}/{kind}"


def decide_values(
    rules: Iterable[Rule],
    states: Mapping[tuple[int, str], RuleState],
    tick: ValueTick,
    silent: Callable[[Rule], int] = lambda _: 0,
    following: Collection[int] = (),
) -> ValueVerdict:
    """Decide rules about an asset's figures.

    Args:
        silent: until when a rule says nothing; what would have fired then counts as fired.
        following: rules that are new: a figure that is past its level already is not news. A price that is crossed
            always is.
    """
    verdict = ValueVerdict()
    for rule in rules:
        if rule.kind != "price" and not math.isfinite(tick.values.get(rule.kind, math.nan)):
            continue
        key = (rule.id, place_of(tick.asset, rule.kind))
        before = states.get(key)
        state = before
        value = _reached(rule, tick) if state is None or state.armed or _threefold(rule, state, tick) else None
        if value is not None:
            arming = state.arming + (not state.armed) if state else 0
            told = (rule.kind == "price" or rule.id not in following) and silent(rule) <= tick.now
            size = abs(value)
            state = RuleState(False, tick.now, told, arming=arming, forced_usd=size, forced_low_usd=size)
            if told:
                alert_key = _key(rule, key[1], arming)
                verdict.decisions.append(ValueDecision(rule, value, _reason(rule, value), alert_key))
        elif state is not None and state.fired and _has_grown(rule, state, tick):
            value = tick.values[rule.kind]
            state = replace(state, forced_low_usd=value)
            verdict.changes.append(ValueDecision(rule, value, _reason(rule, value), _key(rule, key[1], state.arming)))
        elif state is not None and not state.armed:
            left = state.left or _back(rule, tick)
            if left and tick.now - state.since >= REARM_MS:
                state = RuleState(armed=True, since=tick.now, arming=state.arming + 1)
            elif left != state.left:
                state = replace(state, left=True)
        if state != before:
            verdict.states[key] = state
    return verdict


def _reached(rule: Rule, tick: ValueTick) -> float | None:
    """The value with which a rule's level is reached, None where it is not."""
    level = rule.level or math.inf
    if rule.kind == "price":
        crossed = (min(a, b) < level <= max(a, b) or min(a, b) <= level < max(a, b) for a, b in pairwise(tick.path))
        return level if any(crossed) else None
    value = tick.values[rule.kind]
    return value if abs(value) >= level else None


def _key(rule: Rule, place: str, arming: int) -> str:
    return f"{rule.id}/{place}/{arming}/{rule.created_at}"


def _has_grown(rule: Rule, state: RuleState, tick: ValueTick) -> bool:
    """Whether a cascade that was told is so much larger than what its message says that the message is changed."""
    return rule.kind == "cascade" and tick.values["cascade"] >= CHANGED * state.forced_low_usd


def _threefold(rule: Rule, state: RuleState, tick: ValueTick) -> bool:
    """Whether a cascade has grown to three times what was told: that is news though it never came back."""
    return rule.kind == "cascade" and tick.values["cascade"] >= GROWN * max(state.forced_usd, rule.level or math.inf)


def _back(rule: Rule, tick: ValueTick) -> bool:
    """Whether a figure has come back from a rule's level."""
    level = rule.level or math.inf
    if rule.kind == "price":
        return any(abs(math.log(price / level)) >= default_distance(tick.asset) for price in tick.path[1:])
    return abs(tick.values[rule.kind]) <= BACK * level


def _reason(rule: Rule, value: float) -> str:
    match rule.kind:
        case "price":
            return "price reached the level"
        case "funding":
            return f"funding reached {value * 100:.3f}% per 8 hours"
        case "oi":
            return f"contracts changed by {value * 100:+.1f}% in 24 hours"
        case "cascade":
            return "a move of the usual alert distance would set off that much"
        case _:
            return f"risk reached {value:.0f} of 100"


class ValueIndex:
    """An asset's value rules by kind, sorted by level, and where each stands: armed, waiting, or asleep."""

    def __init__(self, asset: str, rules: Iterable[Rule], states: Mapping[str, Mapping[int, RuleState]]) -> None:
        self._asset, self._states = asset, states
        self._kinds = {kind: _Ladder(place_of(asset, kind)) for kind in VALUE_KINDS}
        for rule in sorted(rules, key=lambda rule: (rule.level or 0.0, rule.id)):
            if rule.of_values:
                self._kinds[_kind(rule)].add(rule)
        self.chats = {rule.chat_id for ladder in self._kinds.values() for rule in ladder.rules}
        for ladder in self._kinds.values():
            ladder.settle(states.get(ladder.place, {}), None)

    def candidates(self, tick: ValueTick) -> list[Rule]:
        """The rules that a tick can change."""
        found: list[Rule] = []
        for kind, ladder in self._kinds.items():
            if not ladder.rules:
                continue
            if kind == "price":
                low, high = min(tick.path), max(tick.path)
                found += ladder.taken(low, high, math.inf, tick.now)
            elif math.isfinite(value := tick.values.get(kind, math.nan)):
                found += ladder.taken(0.0, abs(value), -abs(value), tick.now)
                if kind == "cascade":  # those that told of a third as much are few, and looked at
                    found += ladder.told_up_to(abs(value) / CHANGED)
        return found

    def settle(self, changed: Iterable[tuple[int, str]]) -> None:
        """Take up what was decided, and put back whoever was looked at for nothing."""
        ids = {rule_id for rule_id, _ in changed}
        for ladder in self._kinds.values():
            ladder.settle(self._states.get(ladder.place, {}), ids)


class _Ladder:
    """The rules of one kind, sorted by level."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.rules: list[Rule] = []
        self._levels = np.zeros(0)
        self._position: dict[int, int] = {}
        self._stands = Place(0)
        self._looked_at: set[int] = set()

    def add(self, rule: Rule) -> None:
        """Take up a rule; levels must come in order."""
        self._position[rule.id] = len(self.rules)
        self.rules.append(rule)

    def taken(self, low: float, high: float, farthest: float, now: int) -> list[Rule]:
        """Armed rules with a level from low to high, and those that what has been seen may arm again."""
        first, last = np.searchsorted(self._levels, [low, np.nextafter(high, np.inf)])
        positions = set((first + np.flatnonzero(self._stands.where[first:last] == ARMED)).tolist())
        for rule_id, was in self._stands.woken(farthest, now):
            position = self._position[rule_id]
            if self._stands.where[position] == was:
                self._stands.where[position] = ARMED  # until its state puts it where it belongs
                self._looked_at.add(rule_id)
                positions.add(position)
        return [self.rules[position] for position in sorted(positions)]

    def told_up_to(self, level: float) -> list[Rule]:
        """Rules with a level up to that which are not armed."""
        last = int(np.searchsorted(self._levels, level, side="right"))
        return [self.rules[position] for position in np.flatnonzero(self._stands.where[:last] != ARMED)]

    def settle(self, states: Mapping[int, RuleState], ids: Collection[int] | None) -> None:
        """Put these rules (None: all) and those looked at where their states want them."""
        if ids is None:
            self._levels = np.array([rule.level for rule in self.rules], dtype=np.float64)
            self._stands = Place(len(self.rules))
            ids = states.keys()
        for rule_id in {*ids, *self._looked_at} & self._position.keys():
            position = self._position[rule_id]
            self._stands.put(position, rule_id, states.get(rule_id), -BACK * float(self._levels[position]))
        self._looked_at.clear()


def _kind(rule: Rule) -> ValueKind:
    return VALUE_KINDS[VALUE_KINDS.index(rule.kind)]
