"""Cluster rules fire once, at the right price, and re-arm only after price has moved away."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.alerts.active_rules import ActiveRules
from engine.alerts.cluster_rules import AssetTick, ClusterFiring, SizeFilter, every_pair, seed_states
from engine.alerts.cluster_rules import decide as decide_pairs
from engine.alerts.near import REARM_MS, armed_distance
from engine.alerts.rules import ONCE, Rule
from engine.alerts.state import FOLLOWUP_MS, Decisions, RuleState, StateKey
from engine.alerts.suppression import suppress_incidents
from engine.alerts.tiers import Candidates
from engine.errors import ImplausibleError
from engine.liquidation.clusters import Cluster, ClusterEvent
from engine.liquidation.grid import WINDOW, bin_of, outward
from engine.liquidation.view import MapView
from engine.market import HOUR_MS, Bar

MARK = 90_000.0
RULE = Rule(1, 1, "near", "BTC", 0.01, "busy")
DAY = 24 * HOUR_MS


def cluster(distance: float = 0.03, born_at: int = 0, born_distance: float = 0.03, farthest: float = 0.03) -> Cluster:
    """Return a long cluster with its near edge at a log distance below the mark."""
    first = outward("long", bin_of(MARK * math.exp(-distance)))
    return Cluster(
        "c1",
        "long",
        first,
        first + 3,
        first + 7,
        born_at,
        born_at,
        born_distance,
        farthest,
        87_000,
        20e6,
        10e6,
        40e6,
        1e8,
        30e6,
    )


def tick(
    path: list[float], now: int = DAY, target: Cluster | None = None, events: tuple[ClusterEvent, ...] = ()
) -> AssetTick:
    mass = np.full(WINDOW, 2e6)
    view = MapView("BTC", now, path[0], {"long": {"v": mass}, "short": {"v": mass}}, {"v": 8e9})
    return AssetTick("BTC", now, tuple(path), (target or cluster(),), events, view, Candidates())


def decide(
    rules: list[Rule],
    states: dict[StateKey, RuleState],
    of: AssetTick,
    muted: dict[int, int] | None = None,
    new_rules: set[int] | None = None,
) -> Decisions[ClusterFiring]:
    return decided(every_pair(rules, of), states, of, muted, new_rules)


def decided(
    pairs: list[tuple[Rule, Cluster]],
    states: dict[StateKey, RuleState],
    of: AssetTick,
    muted: dict[int, int] | None = None,
    new_rules: set[int] | None = None,
    cooldown_until: int = 0,
) -> Decisions[ClusterFiring]:
    """Return the decisions for the pairs, without those that mutes and cool-downs suppress."""
    decisions = decide_pairs(pairs, states, of, new_rules or ())
    muted_chats = muted or {}
    suppress_incidents(
        decisions, "BTC", lambda rule: muted_chats.get(rule.chat_id, 0) > of.now, lambda _: cooldown_until > of.now
    )
    return decisions


def away(target: Cluster, distance: float) -> float:
    """Return the price at a log distance above the near edge."""
    return target.near_price * math.exp(distance)


def fired(firings: list[ClusterFiring]) -> list[str]:
    return [decision.kind for decision in firings]


def test_near_fires_at_the_price_that_enters_the_distance() -> None:
    target = cluster()
    verdict = decide([RULE], {}, tick([away(target, 0.02), away(target, 0.005)], target=target))
    (decision,) = verdict.fired
    assert decision.kind == "near"
    assert decision.price == pytest.approx(away(target, 0.01))
    assert decision.reason == "came_near"
    assert decision.notified_state is not None
    assert 0 < decision.notified_state.value_low < decision.notified_state.value < decision.notified_state.value_high


def test_a_jump_past_the_cluster_still_fires_near() -> None:
    target = cluster()
    assert fired(decide([RULE], {}, tick([away(target, 0.02), away(target, -0.02)], target=target)).fired) == ["near"]


def test_near_ignores_a_new_cluster() -> None:
    target = cluster(born_at=DAY - HOUR_MS)
    assert decide([RULE], {}, tick([away(target, 0.02), away(target, 0.005)], target=target)).fired == []


def test_a_cluster_formed_close_arms_once_price_has_left() -> None:
    close = cluster(born_distance=0.004, farthest=0.004)
    half = cluster(born_distance=0.007, farthest=0.007)
    left = cluster(born_distance=0.004, farthest=0.021)
    assert armed_distance(None, close, 0.01) is None
    assert armed_distance(None, half, 0.01) == 0.005
    assert armed_distance(None, left, 0.01) == 0.01


def test_rearming_needs_both_distance_and_time() -> None:
    target = cluster()
    near, far = away(target, 0.005), away(target, 0.021)
    states: dict[StateKey, RuleState] = {(1, "c1"): RuleState(armed=False, since=DAY, awaiting_followup=True)}
    for now, path, expected in (
        (DAY + HOUR_MS, [near, far, near], []),  # moved away, but too soon
        (DAY + REARM_MS + 1, [near, away(target, 0.008), near], ["near"]),  # moved away earlier: only time was missing
    ):
        verdict = decide([RULE], states, tick(path, now, target))
        assert fired(verdict.fired) == expected
        states |= {key: state for key, state in verdict.states.items() if state}


def test_alert_keys_never_repeat_on_any_path() -> None:
    target = cluster()

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.tuples(st.floats(-0.03, 0.06), st.integers(1, 6 * HOUR_MS)), min_size=2, max_size=40))
    def check(moves: list[tuple[float, int]]) -> None:
        states: dict[StateKey, RuleState] = {}
        now, before, keys = DAY, away(target, 0.03), []
        notified_at: list[int] = []
        for distance, passed in moves:
            now, price = now + passed, away(target, distance)
            verdict = decide([RULE], states, tick([before, price], now, target))
            keys += [decision.key for decision in verdict.fired]
            notified_at += [now for firing in verdict.fired if firing.kind == "near"]
            states |= {key: state for key, state in verdict.states.items() if state}
            before = price
        assert len(keys) == len(set(keys))
        assert all(later - earlier >= REARM_MS for earlier, later in itertools.pairwise(notified_at))

    check()


def test_a_mute_suppresses_alerts_without_a_flood_afterwards() -> None:
    target = cluster()
    path = [away(target, 0.02), away(target, 0.005)]
    quiet = decide([RULE], {}, tick(path, target=target), {1: DAY + 1})
    assert quiet.fired == []
    states = {key: state for key, state in quiet.states.items() if state}
    assert decide([RULE], states, tick([path[1], path[1]], DAY + 2, target)).fired == []


def test_size_is_a_tier_or_usd() -> None:
    target = cluster()
    path = [away(target, 0.02), away(target, 0.005)]
    assert decide([replace(RULE, size=1e12)], {}, tick(path, target=target)).fired == []
    assert len(decide([replace(RULE, size=1e3)], {}, tick(path, target=target)).fired) == 1


def test_a_near_alert_gets_a_swept_follow_up() -> None:
    target = cluster()
    states = {(1, "c1"): RuleState(armed=False, since=DAY - 1, awaiting_followup=True)}
    path = [away(target, 0.005), away(target, -0.02)]
    swept = ClusterEvent("swept", replace(target, entry_usd=10.0, swept_usd=9.0), path[-1])
    (decision,) = decide([RULE], states, tick(path, target=target, events=(swept,))).fired
    assert decision.kind == "swept"
    assert decision.reason == "swept"
    assert decision.notified_state is not None


def remembered(states: dict[StateKey, RuleState], verdict: Decisions[ClusterFiring]) -> dict[StateKey, RuleState]:
    """Return the rules' states after a verdict."""
    return {key: state for key, state in (states | verdict.states).items() if state is not None}


def test_a_rearmed_rule_still_sends_its_follow_up() -> None:
    """Re-arming, at twice the distance, must not lose the pending follow-up."""
    first = decide([RULE], {}, tick([90_000, 88_000]))
    states = remembered({}, first)
    for hours, path in ((1, [88_000.0, 90_500.0]), (6, [90_500.0, 90_600.0])):
        states = remembered(states, decide([RULE], states, tick(path, DAY + hours * HOUR_MS)))
    assert states[1, "c1"].armed
    gone = cluster()
    swept = ClusterEvent("swept", replace(gone, entry_usd=1e8, swept_usd=9e7), 86_000.0)
    small = Rule(1, 1, "near", "BTC", 0.01, 1e12)  # nothing is large enough for it now
    verdict = decide([small], states, tick([90_600, 86_000], DAY + 9 * HOUR_MS, gone, (swept,)))
    (decision,) = verdict.fired
    assert (decision.kind, decision.opens_incident) == ("swept", False)
    assert decision.notified_state is not None
    assert decision.notified_state.notified_at == DAY
    assert decision.notified_state.value == first.fired[0].notified_state.value  # type: ignore[union-attr]  # as fired


def test_an_alert_without_a_sweep_is_closed_after_a_day() -> None:
    states = remembered({}, decide([RULE], {}, tick([90_000, 88_000])))
    early = decide([RULE], states, tick([88_000, 88_100], DAY + FOLLOWUP_MS - 1))
    assert early.fired == []
    faded = replace(cluster(), faded_at=DAY + 1)
    late = replace(tick([88_000, 88_100], DAY + FOLLOWUP_MS), clusters=(), faded=(faded,))
    ended = decide([RULE], states, late)
    assert [(d.kind, d.opens_incident) for d in ended.fired] == [("over", False)]
    assert decide([RULE], remembered(states, ended), late).fired == []
    assert decide([RULE], states, late, muted={1: late.now + 1}).fired == []
    swept = ClusterEvent("swept", replace(cluster(), entry_usd=1e8, swept_usd=9e7), 86_000.0)
    after = decide([RULE], remembered(states, ended), tick([88_000, 86_000], DAY + FOLLOWUP_MS + 1, None, (swept,)))
    assert [(d.kind, d.opens_incident) for d in after.fired] == [("swept", True)], "a later sweep is a new incident"


def test_a_faded_cluster_opens_no_incident_but_gets_follow_ups() -> None:
    faded = replace(cluster(), faded_at=DAY)
    coming = replace(tick([90_000, 88_000]), clusters=(), faded=(faded,))
    assert decide([RULE, Rule(2, 2, "swept", "BTC", None, "busy")], {}, coming).fired == []
    swept = ClusterEvent("swept", replace(faded, entry_usd=1e8, swept_usd=9e7), 86_000.0)
    over = replace(coming, path=(88_000, 86_000), events=(swept,))
    notified = {(1, "c1"): RuleState(False, DAY - HOUR_MS, True, label=87_500.0, notified_at=DAY - HOUR_MS)}
    rules = [RULE, Rule(2, 2, "swept", "BTC", None, "busy"), Rule(3, 3, "near", "BTC", 0.01, "busy")]
    assert [(d.rule.id, d.kind) for d in decide(rules, notified, over).fired] == [(1, "swept")]


def test_a_successor_cluster_inherits_the_incident() -> None:
    notified = RuleState(False, DAY, True, value=5.0, label=87_500.0, notified_at=DAY)
    book = ActiveRules([RULE, Rule(2, 2, "near", "BTC", 0.05, "busy")], {(1, "c1"): notified, (2, "c1"): notified})
    heir = replace(cluster(), id="c2")
    transferred = book.transfer_states("BTC", "c1", heir, {(2, "c1"): replace(notified, awaiting_followup=False)})
    assert transferred == {(1, "c2"): replace(notified, armed=True, since=DAY)}, (
        "armed as new, and an ended one gets no second follow-up"
    )
    close = replace(heir, born_distance=0.004, farthest=0.004)
    assert not book.transfer_states("BTC", "c1", close, {})[1, "c2"].armed  # type: ignore[union-attr]
    own = RuleState(False, DAY + 5, True, label=87_000.0, notified_at=DAY + 5)
    assert book.transfer_states("BTC", "c1", heir, {(1, "c2"): own})[1, "c2"] == own, "its own incident is newer"


def test_entered_and_swept_rules_fire_at_the_cluster() -> None:
    target = cluster()
    path = [away(target, 0.005), away(target, -0.02)]
    events = (ClusterEvent("entered", target, path[-1]), ClusterEvent("swept", target, path[-1]))
    rules = [replace(RULE, id=2, kind="entered", distance=None), replace(RULE, id=3, kind="swept", distance=None)]
    assert fired(decide(rules, {}, tick(path, target=target, events=events)).fired) == ["entered", "swept"]


def test_a_baseline_lists_clusters_in_range_and_fires_nothing() -> None:
    target = cluster()
    inside = away(target, 0.004)
    seeded, shown = seed_states([RULE], {}, tick([inside, inside], target=target))
    assert [c.id for _, c in shown] == ["c1"]
    states = {key: state for key, state in seeded.items() if state}
    assert decide([RULE], states, tick([inside, inside], DAY + 1, target)).fired == []
    swept = ClusterEvent("swept", replace(target, entry_usd=10.0, swept_usd=9.0), away(target, -0.02))
    after = decide([RULE], states, tick([inside, away(target, -0.02)], DAY + 2, target, (swept,)))
    assert fired(after.fired) == ["swept"]


def test_a_baseline_sends_follow_ups_and_opens_no_incident() -> None:
    target = cluster()
    path = [away(target, 0.02), away(target, -0.02)]
    swept = ClusterEvent("swept", replace(target, entry_usd=10.0, swept_usd=9.0), path[-1])
    states = {(1, "c1"): RuleState(armed=False, since=DAY - 1, awaiting_followup=True)}
    story = tick(path, DAY, target, (swept,))
    assert fired(decide([RULE], states, story, new_rules={1}).fired) == ["swept"]
    assert decide([RULE], {}, tick(path, DAY, target), new_rules={1}).fired == []
    assert seed_states([RULE], {}, story)[1] == []


def test_a_baseline_out_of_range_changes_nothing() -> None:
    target = cluster()
    outside = away(target, 0.02)
    seeded, shown = seed_states([RULE], {}, tick([outside, outside], target=target))
    assert seeded == {}
    assert shown == []


def test_a_rule_for_another_coin_stays_quiet() -> None:
    target = cluster()
    path = [away(target, 0.02), away(target, 0.005)]
    assert decide([replace(RULE, asset="ETH")], {}, tick(path, target=target)).fired == []


def test_a_cooldown_stops_new_incidents_but_not_follow_ups() -> None:
    target = cluster()
    path = [away(target, 0.02), away(target, 0.005)]
    pairs = [(RULE, target)]
    verdict = decided(pairs, {}, tick(path, target=target), cooldown_until=DAY + 1)
    assert verdict.fired == []
    (state,) = verdict.states.values()
    assert state is not None
    assert (state.armed, state.awaiting_followup) == (False, False)
    swept = ClusterEvent("swept", replace(target, entry_usd=10.0, swept_usd=9.0), away(target, -0.02))
    after = tick([path[-1], away(target, -0.02)], DAY + 1, target, (swept,))
    assert decided(pairs, {(1, "c1"): state}, after).fired == []
    notified = {(1, "c1"): RuleState(armed=False, since=DAY - 1, awaiting_followup=True)}
    (decision,) = decided(pairs, notified, after, cooldown_until=2**60).fired
    assert (decision.kind, decision.opens_incident) == ("swept", False)


def test_cooldown_starts_at_the_last_alert() -> None:
    book = ActiveRules([replace(RULE, every_ms=HOUR_MS), replace(RULE, id=2, every_ms=ONCE), replace(RULE, id=3)])
    hourly, once, always = book.rules
    assert [book.cooldown_until(rule) for rule in book.rules] == [0, 0, 0]
    book.last_fired_at.update({1: DAY, 2: DAY, 3: DAY})
    assert book.cooldown_until(hourly) == DAY + HOUR_MS
    assert book.cooldown_until(once) > 10**15
    assert book.cooldown_until(always) == 0


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=8))
def test_cooldown_never_ends_earlier_for_a_later_alert(times: list[int]) -> None:
    book = ActiveRules([replace(RULE, every_ms=HOUR_MS)])
    ends = []
    for at in sorted(times):
        book.last_fired_at[1] = at
        ends.append(book.cooldown_until(book.rules[0]))
    assert ends == sorted(ends)


def test_expired_rules_are_skipped() -> None:
    target = cluster()
    rules = [replace(RULE, expires_at=DAY), replace(RULE, id=2, chat_id=2, expires_at=DAY + 1)]
    book = ActiveRules(rules)
    at = tick([away(target, 0.02), away(target, 0.005)], target=target)
    assert [rule.id for rule, _ in book.pairs(at, SizeFilter(at))] == [2]


@pytest.mark.parametrize("odd", [math.nan, math.inf, 0.0])
def test_an_invalid_price_never_reaches_a_rule(odd: float) -> None:
    with pytest.raises(ImplausibleError):
        Bar(0, HOUR_MS, odd, 2.0, 1.0, 1.5, 5.0)


def test_a_once_rule_fires_once_even_within_one_tick() -> None:
    one, other = cluster(), replace(cluster(), id="c2")
    path = [away(one, 0.02), away(one, 0.005)]
    at = replace(tick(path, target=one), clusters=(one, other))
    once = replace(RULE, every_ms=ONCE)
    assert len(decided(every_pair([RULE], at), {}, at).fired) == 2
    verdict = decided(every_pair([once], at), {}, at)
    assert [decision.cluster.id for decision in verdict.fired] == ["c1"]


def test_an_alert_held_back_by_a_cooldown_has_no_follow_up() -> None:
    target = cluster()
    path = [away(target, 0.02), away(target, -0.02)]
    swept = ClusterEvent("swept", replace(target, entry_usd=10.0, swept_usd=9.0), path[-1])
    at = tick(path, DAY, target, (swept,))
    assert decided([(RULE, target)], {}, at, cooldown_until=DAY + 1).fired == []


def test_a_near_alert_and_its_follow_up_have_different_keys() -> None:
    target = cluster()
    path = [away(target, 0.02), away(target, -0.02)]
    swept = ClusterEvent("swept", replace(target, entry_usd=10.0, swept_usd=9.0), path[-1])
    verdict = decide([RULE], {}, tick(path, target=target, events=(swept,)))
    assert fired(verdict.fired) == ["near", "swept"]
    assert len({firing.key for firing in verdict.fired}) == 2
