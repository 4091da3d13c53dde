"""Finds the pairs of a rule and a cluster that a tick can change, without checking the others.

Near rules are sorted by distance per asset. For each cluster a near rule is in one of three places: armed, waiting for
price to move away, or waiting for the time when it may re-arm. Armed rules are selected by distance and checked by
classes of equal distance, size and side. The others are in heaps, by that distance or time, so rules in range that
have fired cost nothing. engine.alerts.cluster_rules decides: the index may offer a pair too many, never one too few.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from engine.alerts.near import REARM_FACTOR, REARM_MS
from engine.alerts.rules import Rule
from engine.alerts.state import RuleState
from engine.liquidation.clusters import Cluster
from engine.market import Side

ARMED, LEAVING, ASLEEP = 0, 1, 2

LargeEnough = Callable[[Cluster, float | str, float | None], bool]
"""Whether a cluster, measured from a log distance (None: the usual one), is large enough for a size."""

MARGIN = 1e-9
"""Log distance added to every selection, so that rounding loses no rule."""

FEW = 64
"""Up to this many edits are merged one by one. With more, all rules are sorted again."""


class RuleSlots:
    """The places of an asset's rules for one cluster or metric.

    Attributes:
        where: (n,) int8, the place (ARMED, LEAVING or ASLEEP) by the rules' positions.
        by_distance: heap of LEAVING rules: distance at which price has moved away, rule id.
        by_time: heap of ASLEEP rules: when they may re-arm, UTC ms, and rule id.
        awaiting_followup: ids of rules with an open incident.
        closing: heap of these rules: when the incident closes, UTC ms, and rule id.
    """

    def __init__(self, count: int) -> None:
        self.where = np.zeros(count, dtype=np.int8)
        self.by_distance: list[tuple[float, int]] = []
        self.by_time: list[tuple[int, int]] = []
        self.awaiting_followup: set[int] = set()
        self.closing: list[tuple[int, int]] = []

    def put(self, position: int, rule_id: int, state: RuleState | None, leaves_at: float) -> None:
        """Place a rule by its state. leaves_at: distance at which price has moved away."""
        if state is not None and state.awaiting_followup:
            if rule_id not in self.awaiting_followup:
                heapq.heappush(self.closing, (state.closes_at, rule_id))
            self.awaiting_followup.add(rule_id)
        else:
            self.awaiting_followup.discard(rule_id)
        if state is None or state.armed:
            self.where[position] = ARMED
        elif state.moved_away and self.where[position] != ASLEEP:
            self.where[position] = ASLEEP
            heapq.heappush(self.by_time, (state.since + REARM_MS, rule_id))
        elif not state.moved_away and self.where[position] != LEAVING:
            self.where[position] = LEAVING
            heapq.heappush(self.by_distance, (leaves_at, rule_id))

    def pop_rearmable(self, farthest: float, now: int) -> list[tuple[int, int]]:
        """Pop rules that may re-arm: price moved away, or their time is over. Return each id with its place."""
        rearmable = []
        while self.by_distance and self.by_distance[0][0] <= farthest + MARGIN:
            rearmable.append((heapq.heappop(self.by_distance)[1], LEAVING))
        while self.by_time and self.by_time[0][0] <= now:
            rearmable.append((heapq.heappop(self.by_time)[1], ASLEEP))
        return rearmable

    def pop_closed(self, now: int, states: Mapping[int, RuleState]) -> set[int]:
        """Pop the rules whose incidents with the cluster have closed. Return their ids."""
        closed = set()
        while self.closing and self.closing[0][0] <= now:
            rule_id = heapq.heappop(self.closing)[1]
            state = states.get(rule_id)
            if rule_id not in self.awaiting_followup or state is None or not state.awaiting_followup:
                continue
            if state.closes_at <= now:
                closed.add(rule_id)
                self.awaiting_followup.discard(rule_id)  # until its state puts it back
            else:  # a newer incident
                heapq.heappush(self.closing, (state.closes_at, rule_id))
        return closed


class AssetIndex:
    """The rules of one asset, near rules sorted by distance, and their places for each live cluster.

    Args:
        states: states of rules by cluster and rule id, read when a rule is placed.
    """

    def __init__(self, asset: str, rules: Iterable[Rule], states: Mapping[str, Mapping[int, RuleState]]) -> None:
        self._asset, self._states = asset, states
        self._rules = {rule.id: rule for rule in rules}
        self._by_chat: dict[int, set[int]] = {}
        self._class_numbers: dict[tuple[float, float | str, Side | None], int] = {}
        self._classes: list[tuple[float, float | str, Side | None]] = []
        for rule in self._rules.values():
            self._by_chat.setdefault(rule.chat_id, set()).add(rule.id)
        self._sort()

    def at_cluster(self) -> list[Rule]:
        """Return the rules that fire at a cluster itself."""
        return [self._rules[rule_id] for rule_id in sorted(self._others)]

    def candidates(
        self, cluster: Cluster, path: Sequence[float], now: int, large_enough: LargeEnough, *, has_event: bool
    ) -> list[Rule]:
        """Return the near rules whose state a path of prices may change, or that may fire at a cluster's event."""
        place = self._place(cluster.id)
        rule_ids = set()
        for rule_id, was in place.pop_rearmable(max(cluster.distance(price) for price in path), now):
            position = self._position(rule_id)
            if position is not None and place.where[position] == was:
                place.where[position] = ARMED  # until apply_states() places it
                self._taken.append((rule_id, cluster.id))
                rule_ids.add(rule_id)
        for rule_id in place.pop_closed(now, self._states.get(cluster.id, {})):
            if self._position(rule_id) is not None:
                self._taken.append((rule_id, cluster.id))
                rule_ids.add(rule_id)
        if has_event:
            rule_ids |= place.awaiting_followup
            states = self._states.get(cluster.id, {}).items()
            # Once an incident has closed, a sweep is news again.
            rule_ids |= {
                rule_id for rule_id, state in states if state.has_closed(now) and self._position(rule_id) is not None
            }
        if cluster.mature(now) and not cluster.faded_at:
            closest = -np.inf if has_event else min(cluster.distance(price) for price in path)
            rule_ids |= self._armed(place, cluster, closest, large_enough, has_event=has_event)
        return [self._rules[rule_id] for rule_id in sorted(rule_ids)]

    def apply_states(self, changed: Iterable[tuple[int, str]]) -> None:
        """Place the rules whose states changed, and those that candidates() popped."""
        for rule_id, cluster_id in (*changed, *self._taken):
            position = self._position(rule_id)
            if position is not None and cluster_id in self._places:
                self._put(cluster_id, position, rule_id)
        self._taken.clear()

    def drop_clusters(self, cluster_ids: Iterable[str]) -> None:
        """Drop clusters that no longer exist."""
        for cluster_id in cluster_ids:
            self._places.pop(cluster_id, None)

    def merge(self, wanted: Mapping[int, Sequence[Rule]]) -> None:
        """Replace all rules of these chats."""
        kept = {rule.id: rule for rules in wanted.values() for rule in rules}
        before = {rule_id for chat in wanted for rule_id in self._by_chat.get(chat, ())}
        gone = {rule_id for rule_id in before if kept.get(rule_id) != self._rules[rule_id]}
        new = [rule for rule in kept.values() if rule.id in gone or rule.id not in self._rules]
        for rule_id in gone:
            if len(gone) + len(new) <= FEW:
                self._take_out(rule_id)
            rule = self._rules.pop(rule_id)
            self._others.discard(rule_id)
            self._by_chat[rule.chat_id].discard(rule_id)
        for rule in new:
            self._rules[rule.id] = rule
            self._by_chat.setdefault(rule.chat_id, set()).add(rule.id)
            if len(gone) + len(new) <= FEW:
                self._put_in(rule)
        if len(gone) + len(new) > FEW:
            self._sort()

    # -- the sorted rules

    def _sort(self) -> None:
        near = [rule for rule in self._rules.values() if rule.kind == "near"]
        near.sort(key=lambda rule: (rule.distance_for(self._asset), rule.id))
        self._others = {rule.id for rule in self._rules.values() if rule.kind != "near"}
        self._distances = np.array([rule.distance_for(self._asset) for rule in near], dtype=np.float64)
        self._ids = np.array([rule.id for rule in near], dtype=np.int64)
        self._class_of = np.array([self._class(rule) for rule in near], dtype=np.int64)
        self._places: dict[str, RuleSlots] = {}
        self._taken: list[tuple[int, str]] = []

    def _class(self, rule: Rule) -> int:
        """Return the number of a rule's class. Armed near rules differ only by their distance, size and side."""
        key = (rule.distance_for(self._asset), rule.size, rule.side)
        if key not in self._class_numbers:
            self._class_numbers[key] = len(self._classes)
            self._classes.append(key)
        return self._class_numbers[key]

    def _position(self, rule_id: int) -> int | None:
        """Return a near rule's position, or None for rules of other kinds and deleted ones."""
        rule = self._rules.get(rule_id)
        if rule is None or rule.kind != "near":
            return None
        return self._slot(rule)

    def _slot(self, rule: Rule) -> int:
        """Return the position that a rule has, or would have."""
        distance = rule.distance_for(self._asset)
        first, last = np.searchsorted(self._distances, [distance, np.nextafter(distance, np.inf)])
        return int(first + np.searchsorted(self._ids[first:last], rule.id))

    def _put_in(self, rule: Rule) -> None:
        if rule.kind != "near":
            self._others.add(rule.id)
            return
        at = self._slot(rule)
        self._distances = np.insert(self._distances, at, rule.distance_for(self._asset))
        self._ids = np.insert(self._ids, at, rule.id)
        self._class_of = np.insert(self._class_of, at, self._class(rule))
        for cluster_id, place in self._places.items():
            place.where = np.insert(place.where, at, ARMED)
            self._put(cluster_id, at, rule.id)

    def _take_out(self, rule_id: int) -> None:
        at = self._position(rule_id)
        if at is None:
            return
        self._distances, self._ids = np.delete(self._distances, at), np.delete(self._ids, at)
        self._class_of = np.delete(self._class_of, at)
        for place in self._places.values():
            place.where = np.delete(place.where, at)
            place.awaiting_followup.discard(rule_id)

    # -- towards a cluster

    def _armed(
        self, place: RuleSlots, cluster: Cluster, closest: float, large_enough: LargeEnough, *, has_event: bool
    ) -> set[int]:
        """Return the armed rules that price came within the distance of, and that the cluster is large enough for."""
        start = int(np.searchsorted(self._distances, closest - MARGIN))
        armed = start + np.flatnonzero(place.where[start:] == ARMED)
        if not len(armed):
            return set()
        classes = self._class_of[armed]
        wanted = [
            number
            for number in np.unique(classes)
            if self._class_matches(number, cluster, large_enough, has_event=has_event)
        ]
        return set(self._ids[armed[np.isin(classes, wanted)]].tolist())

    def _class_matches(self, number: int, cluster: Cluster, large_enough: LargeEnough, *, has_event: bool) -> bool:
        distance, size, side = self._classes[number]
        if side is not None and side != cluster.side:
            return False
        return large_enough(cluster, size, distance) or (has_event and large_enough(cluster, size, None))

    def _place(self, cluster_id: str) -> RuleSlots:
        place = self._places.get(cluster_id)
        if place is None:
            place = self._places[cluster_id] = RuleSlots(len(self._ids))
            for rule_id in self._states.get(cluster_id, {}):
                position = self._position(rule_id)
                if position is not None:
                    self._put(cluster_id, position, rule_id)
        return place

    def _put(self, cluster_id: str, position: int, rule_id: int) -> None:
        state = self._states.get(cluster_id, {}).get(rule_id)
        self._places[cluster_id].put(position, rule_id, state, REARM_FACTOR * float(self._distances[position]))
