"""The index returns every pair of rule and cluster that a tick can change, and rules that have fired cost nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from engine.alerts.active_rules import ActiveRules
from engine.alerts.cluster_rules import AssetTick, ClusterFiring, SizeFilter, decide, every_pair, seed_states
from engine.alerts.rules import Rule
from engine.alerts.state import RuleState, StateKey
from engine.alerts.suppression import suppress_incidents
from engine.alerts.tiers import Candidates
from engine.liquidation.clusters import Cluster, ClusterEvent
from engine.liquidation.grid import WINDOW, bin_of, outward
from engine.liquidation.view import MapView
from engine.market import HOUR_MS, Side

SIZES = ("busy", "normal", "calm", 2e6, 2e7, 2e8)
DISTANCES = (0.003, 0.005, 0.01, 0.01, 0.02, 0.035, None)


class World:
    """One asset with a random price, clusters that come and go, and rules of any kind."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.now, self.price = 30 * 24 * HOUR_MS, 90_000.0
        self.clusters: dict[str, Cluster] = {}
        self.faded: dict[str, Cluster] = {}
        self.number = self.rule_number = 0

    def rule(self) -> Rule:
        self.rule_number += 1
        kind = self.rng.choice(["near", "near", "near", "entered", "swept"])
        asset = "BTC" if self.rng.random() < 0.5 else None
        distance = DISTANCES[self.rng.integers(len(DISTANCES))] if kind == "near" else None
        size = SIZES[self.rng.integers(len(SIZES))]
        sides: tuple[Side | None, ...] = (None, None, "long", "short")
        side = sides[self.rng.integers(len(sides))]
        made = Rule(self.rule_number, int(self.rng.integers(1, 12)), kind, asset, distance, size)  # type: ignore[arg-type]
        return replace(made, side=side)

    def cluster(self) -> None:
        self.number += 1
        side: Side = "long" if self.rng.random() < 0.5 else "short"
        away = float(self.rng.uniform(0.002, 0.05))
        first = outward(side, bin_of(self.price * math.exp(-away if side == "long" else away)))
        last = first + int(self.rng.integers(4, 12))
        made = Cluster(f"c{self.number}", side, first, first + 2, last, self.now, self.now, away, away, 1.0)
        size = float(self.rng.lognormal(16.5, 1))
        self.clusters[made.id] = replace(made, size_usd=size, forced_usd=size, open_usd=size * 9)

    def tick(self) -> AssetTick:
        """Move price and return its tick: it may enter or sweep clusters or leave wicks, and one may fade."""
        self.now += int(self.rng.choice([60_000, 600_000, HOUR_MS, 4 * HOUR_MS]))
        steps = self.rng.normal(0, 0.006, 3)
        path = tuple(float(x) for x in self.price * np.exp(np.concatenate([[0.0], np.cumsum(steps)])))
        mass = np.full(WINDOW, float(self.rng.uniform(1e6, 4e6)))
        view = MapView("BTC", self.now, path[0], {"long": {"v": mass}, "short": {"v": mass}}, {"v": 8e9})
        if self.clusters and self.rng.random() < 0.1:
            fading = self.clusters.pop(next(iter(self.clusters)))
            self.faded[fading.id] = replace(fading, faded_at=self.now)
        self.faded = {key: c for key, c in self.faded.items() if self.now - c.faded_at < 25 * HOUR_MS}
        before, faded = tuple(self.clusters.values()), tuple(self.faded.values())
        marks = []
        for cluster in (*before, *faded):
            kept = self.faded if cluster.faded_at else self.clusters
            distances = [cluster.distance(price) for price in path]
            moved = replace(cluster, farthest=max(cluster.farthest, *distances))
            if min(distances) <= 0:
                moved = replace(moved, entry_usd=1e6, swept_usd=9e5)
                kind = self.rng.choice(["entered", "swept", "wick"])
                marks.append(ClusterEvent(kind, moved, path[-1]))
                if kind == "wick":
                    moved = replace(moved, entry_usd=0.0, swept_usd=0.0)
                elif kind == "swept":
                    del kept[cluster.id]
                    continue
            kept[cluster.id] = moved
        self.price = path[-1]
        return AssetTick("BTC", self.now, path, before, tuple(marks), view, Candidates(), faded=faded)


def keys(fired: Sequence[ClusterFiring]) -> list[tuple[str, float]]:
    return sorted((decision.key, decision.price) for decision in fired)


@pytest.mark.parametrize("seed", range(12))
def test_index_candidates_decide_the_same_as_all_pairs(seed: int) -> None:
    world = World(seed)
    book = ActiveRules([world.rule() for _ in range(40)])
    book.mute(3, "BTC", world.now + 20 * HOUR_MS)
    fired, kinds = 0, set()
    for _ in range(150):
        if world.rng.random() < 0.3 and len(world.clusters) < 6:
            world.cluster()
        if world.rng.random() < 0.2:
            book.add(world.rule())
        if world.rng.random() < 0.15 and book.rules:
            gone = book.rules[int(world.rng.integers(len(book.rules)))]
            book.remove([gone.id]) if world.rng.random() < 0.5 else book.deactivate_chat(gone.chat_id)
        if world.rng.random() < 0.02:
            for _ in range(100):
                book.add(world.rule())
        tick = world.tick()
        new_rules = {rule.id for rule in book.take_new_rules("BTC")}
        sizes = SizeFilter(tick)
        everything = decide(every_pair(book.for_asset("BTC"), tick), book.states, tick, new_rules, sizes)
        offered = decide(book.pairs(tick, sizes), book.states, tick, new_rules, sizes)
        for decisions in (everything, offered):
            suppress_incidents(decisions, "BTC", partial(is_muted, book, tick.now), lambda _: False)
        assert keys(offered.fired) == keys(everything.fired)
        assert offered.states == everything.states
        fired += len(offered.fired)
        kinds |= {decision.kind for decision in offered.fired}
        ended = {cluster.id for cluster in tick.followed} - world.clusters.keys() - world.faded.keys()
        offered.states |= dict.fromkeys(key for key in (*book.states, *offered.states) if key[1] in ended)
        book.apply("BTC", offered.states, offered.fired, tick.now, ended)
        if world.rng.random() < 0.1:
            book = reopened(book)
    assert fired > 50
    assert "over" in kinds


def is_muted(book: ActiveRules, now: int, rule: Rule) -> bool:
    return book.is_muted(rule, "BTC", now)


def reopened(book: ActiveRules) -> ActiveRules:
    """Return the rules as after a restart, which loses all that is not stored."""
    again = ActiveRules(book.rules, dict(book.states.items()), {(3, "BTC"): book.mutes_of(3).get("BTC", 0)})
    again.take_new_rules("BTC")
    return again


def near_rules(count: int, distance: float = 0.01) -> list[Rule]:
    return [Rule(number, number, "near", "BTC", distance, "busy") for number in range(1, count + 1)]


def quiet_tick(cluster: Cluster, distances: Sequence[float], now: int) -> AssetTick:
    path = tuple(cluster.near_price * math.exp(distance) for distance in distances)
    mass = np.full(WINDOW, 2e6)
    view = MapView("BTC", now, path[0], {"long": {"v": mass}, "short": {"v": mass}}, {"v": 8e9})
    return AssetTick("BTC", now, path, (cluster,), (), view, Candidates())


def test_fired_and_distant_rules_are_skipped() -> None:
    first = outward("long", bin_of(88_000))
    cluster = Cluster("c", "long", first, first + 2, first + 8, 0, 0, 0.05, 0.05, 1.0)
    fired = {(rule.id, "c"): RuleState(False, 30 * HOUR_MS, True) for rule in near_rules(500)}
    far = [replace(rule, id=rule.id + 1000) for rule in near_rules(300, 0.002)]
    new = Rule(5000, 9, "near", "BTC", 0.01, "busy")
    book = ActiveRules([*near_rules(500), *far, new], fired)
    tick = quiet_tick(cluster, (0.008, 0.006), 31 * HOUR_MS)
    assert [rule.id for rule, _ in book.pairs(tick, SizeFilter(tick))] == [5000]


def test_each_rule_and_asset_gets_one_baseline() -> None:
    book = ActiveRules([Rule(1, 1, "near", None), Rule(2, 1, "near", "ETH")])
    assert [rule.id for rule in book.take_new_rules("BTC")] == [1]
    assert book.take_new_rules("BTC") == []
    assert [rule.id for rule in book.take_new_rules("ETH")] == [1, 2]
    book.add(Rule(3, 2, "near", "BTC"))
    book.deactivate_chat(1)
    assert [rule.id for rule in book.take_new_rules("BTC")] == [3]
    book.add(Rule(1, 1, "near", None))
    assert [rule.id for rule in book.take_new_rules("BTC")] == [1]
    assert [rule.id for rule in book.take_new_rules("ETH")] == [1]


def test_a_rule_in_range_at_its_baseline_is_disarmed() -> None:
    first = outward("long", bin_of(88_000))
    cluster = Cluster("c", "long", first, first + 2, first + 8, 0, 0, 0.05, 0.05, 1.0, size_usd=1e7)
    book = ActiveRules(near_rules(3))
    tick = quiet_tick(cluster, (0.006, 0.006), 31 * HOUR_MS)
    based, shown = seed_states(book.take_new_rules("BTC"), book.states, tick)
    book.apply("BTC", based, [], tick.now)
    assert len(shown) == 3
    after = quiet_tick(cluster, (0.006, 0.0055), 31 * HOUR_MS + 1)
    assert book.pairs(after, SizeFilter(after)) == []


def test_states_are_kept_by_rule_and_cluster() -> None:
    state = RuleState(False, 5)
    states: dict[StateKey, RuleState] = {(1, "a"): state, (2, "a"): state, (1, "b"): state}
    book = ActiveRules(near_rules(2), states)
    assert dict(book.states.items()) == states
    book.remove([1])
    assert set(book.states) == {(2, "a")}
    assert len(book.states) == 1
