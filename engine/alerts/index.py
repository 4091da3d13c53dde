"""Which pairs of a rule and a cluster a tick can change: found without a look at the others.

Per asset the near rules lie sorted by distance. Towards each cluster every one of them is in exactly one place: armed,
waiting for price to leave, or asleep until it may be armed again. Armed rules are cut out by distance and looked at by
classes of equal distance and size; the others lie in heaps by what wakes them. Rules in range that have fired cost
nothing. Deciding stays with engine.alerts.cluster_rules: the index may offer a pair too many, never one too few.
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
"""Whether a cluster, measured from a distance (None: as such), is large enough for a size."""

MARGIN = 1e-9
"""Log distance by which the cut is wider than it must be: rounding must not lose a rule."""

FEW = 64
"""Edits that are merged one by one; with more of them the whole is sorted anew."""


class RuleSlots:
    """Where each rule of an asset stands towards one cluster.

    Attributes:
        where: (n,) int8, by the rules' positions.
        leaving, asleep: heaps of rule ids, by the distance that lets them go and by the time that wakes them.
        telling: ids of rules that told of it, and will tell of its end.
        closing: heap of such ids by when their story has had its day.
    """

    def __init__(self, count: int) -> None:
        self.where = np.zeros(count, dtype=np.int8)
        self.by_distance: list[tuple[float, int]] = []
        self.by_time: list[tuple[int, int]] = []
        self.awaiting_followup: set[int] = set()
        self.closing: list[tuple[int, int]] = []

    def put(self, position: int, rule_id: int, state: RuleState | None, leaves_at: float) -> None:
        """Let a rule's state decide where it is; leaves_at: how far away lets it go to sleep."""
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
        """Take out whoever price has been far enough away from or has slept long enough: id, and where it was."""
        found = []
        while self.by_distance and self.by_distance[0][0] <= farthest + MARGIN:
            found.append((heapq.heappop(self.by_distance)[1], LEAVING))
        while self.by_time and self.by_time[0][0] <= now:
            found.append((heapq.heappop(self.by_time)[1], ASLEEP))
        return found

    def pop_closed(self, now: int, states: Mapping[int, RuleState]) -> set[int]:
        """Take out the rules whose story with the cluster has had its day."""
        found = set()
        while self.closing and self.closing[0][0] <= now:
            rule_id = heapq.heappop(self.closing)[1]
            state = states.get(rule_id)
            if rule_id not in self.awaiting_followup or state is None or not state.awaiting_followup:
                continue
            if state.closes_at <= now:
                found.add(rule_id)
                self.awaiting_followup.discard(rule_id)  # until its state puts it back
            else:  # told anew meanwhile
                heapq.heappush(self.closing, (state.closes_at, rule_id))
        return found


class AssetIndex:
    """The rules of one asset, the near ones sorted by distance, and where they stand towards each live cluster.

    Args:
        states: what rules remember, by cluster and rule; read when a rule is put in its place.
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
        """The rules that happen at a cluster itself."""
        return [self._rules[rule_id] for rule_id in sorted(self._others)]

    def candidates(
        self, cluster: Cluster, path: Sequence[float], now: int, large_enough: LargeEnough, *, has_event: bool
    ) -> list[Rule]:
        """The near rules whose state a path of prices may change, or that may speak of a cluster's mark."""
        place = self._place(cluster.id)
        found = set()
        for rule_id, was in place.pop_rearmable(max(cluster.distance(price) for price in path), now):
            position = self._position(rule_id)
            if position is not None and place.where[position] == was:
                place.where[position] = ARMED  # until its state puts it where it belongs
                self._taken.append((rule_id, cluster.id))
                found.add(rule_id)
        for rule_id in place.pop_closed(now, self._states.get(cluster.id, {})):
            if self._position(rule_id) is not None:
                self._taken.append((rule_id, cluster.id))
                found.add(rule_id)
        if has_event:
            found |= place.awaiting_followup
            known = self._states.get(cluster.id, {}).items()
            # Whose story with it had its day: the sweep is news to them again.
            found |= {
                rule_id for rule_id, state in known if state.has_closed(now) and self._position(rule_id) is not None
            }
        if cluster.mature(now) and not cluster.faded_at:
            closest = -np.inf if has_event else min(cluster.distance(price) for price in path)
            found |= self._armed(place, cluster, closest, large_enough, has_event=has_event)
        return [self._rules[rule_id] for rule_id in sorted(found)]

    def apply_states(self, changed: Iterable[tuple[int, str]]) -> None:
        """Take up what was decided of rules and clusters, and put back whoever was woken for nothing."""
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
        """Let chats have these rules and no others."""
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
        """The number of a rule's distance, size and side: what parts near rules of an asset that told of nothing."""
        key = (rule.distance_for(self._asset), rule.size, rule.side)
        if key not in self._class_numbers:
            self._class_numbers[key] = len(self._classes)
            self._classes.append(key)
        return self._class_numbers[key]

    def _position(self, rule_id: int) -> int | None:
        """Where a near rule lies, None for others and for those that are gone."""
        rule = self._rules.get(rule_id)
        if rule is None or rule.kind != "near":
            return None
        return self._slot(rule)

    def _slot(self, rule: Rule) -> int:
        """Where a rule lies, or would."""
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
        """Armed rules whose distance price has come within, of the classes for which the cluster is large enough."""
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
