"""Metric rules fire once at their level, and re-arm only after the metric has come back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.alerts.metric_rules import MetricIndex, MetricTick, decide_metrics, metric_slot
from engine.alerts.near import REARM_MS
from engine.alerts.rules import Rule
from engine.alerts.state import RuleState
from engine.alerts.suppression import Reason, suppress
from engine.market import HOUR_MS

FUNDING = Rule(1, 1, "funding", level=0.0005)
PRICE = Rule(2, 1, "price", "BTC", level=95_000.0)
NOW = 1_000 * HOUR_MS

RuleStates = dict[tuple[int, str], RuleState]


def tick(now: int = NOW, path: tuple[float, ...] = (90_000.0, 90_000.0), **values: float) -> MetricTick:
    return MetricTick("BTC", now, path, values)


def run(rule: Rule, ticks: list[MetricTick], states: RuleStates | None = None) -> tuple[list[int], RuleStates]:
    """Return the times at which a rule fires, and its states afterwards."""
    states = dict(states or {})
    fired = []
    for each in ticks:
        verdict = decide_metrics([rule], states, each)
        fired += [each.now for _ in verdict.fired]
        states |= {key: state for key, state in verdict.states.items() if state}
    return fired, states


@pytest.mark.parametrize("value", [0.0006, -0.0006, 0.0005])
def test_a_level_is_reached_on_either_side(value: float) -> None:
    assert run(FUNDING, [tick(funding=0.0001), tick(NOW + 1, funding=value)])[0] == [NOW + 1]


def test_rearming_needs_the_metric_to_come_back_and_hours_to_pass() -> None:
    around = [tick(NOW + i * HOUR_MS, funding=0.00051 if i % 2 else 0.00049) for i in range(20)]
    assert len(run(FUNDING, around)[0]) == 1
    away = [tick(NOW + i * HOUR_MS, funding=0.0006 if i % 3 == 0 else 0.0001) for i in range(12)]
    assert [at - NOW for at in run(FUNDING, away)[0]] == [0, 6 * HOUR_MS]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_invalid_figures_neither_fire_nor_rearm(value: float | None) -> None:
    odd = tick(NOW) if value is None else tick(NOW, funding=value)
    assert run(FUNDING, [odd])[0] == []
    disarmed = {(1, metric_slot("BTC", "funding")): RuleState(armed=False, since=NOW - 2 * REARM_MS)}
    assert run(FUNDING, [odd], disarmed)[1] == disarmed


def test_a_price_rule_fires_when_the_path_crosses_it_between_polls() -> None:
    assert run(PRICE, [tick(path=(94_000.0, 95_200.0, 94_100.0))])[0] == [NOW]
    assert run(PRICE, [tick(path=(96_000.0, 94_900.0))])[0] == [NOW]
    assert run(PRICE, [tick(path=(94_000.0, 94_999.0))])[0] == []
    assert run(PRICE, [tick(path=(94_000.0, 95_000.0)), tick(NOW + 1, path=(95_000.0, 96_000.0))])[0] == [NOW]


def test_a_price_rule_rearms_after_price_moves_away() -> None:
    to_and_fro = [tick(NOW + i * HOUR_MS, path=(94_900.0, 95_100.0, 94_900.0)) for i in range(12)]
    assert len(run(PRICE, to_and_fro)[0]) == 1
    left = [*to_and_fro[:1], tick(NOW + HOUR_MS, path=(94_900.0, 93_000.0, 94_900.0)), *to_and_fro[2:]]
    assert len(run(PRICE, left)[0]) == 2


def test_a_level_reached_at_the_baseline_or_muted_does_not_fire() -> None:
    high = tick(funding=0.0009)
    for until, new_rules in ((NOW + 1, ()), (0, {1})):
        verdict = decide_metrics([FUNDING], {}, high, new_rules)
        suppress(verdict, "BTC", lambda _, until=until: Reason.MUTED if until > NOW else None)  # type: ignore[misc]
        assert verdict.fired == []
        states = {key: state for key, state in verdict.states.items() if state}
        assert decide_metrics([FUNDING], states, replace(high, now=NOW + 5)).fired == []


def test_a_price_crossed_at_the_baseline_fires() -> None:
    crossed = tick(path=(94_000.0, 95_500.0))
    assert len(decide_metrics([PRICE], {}, crossed, new_rules={2}).fired) == 1


@pytest.mark.parametrize("seed", range(6))
def test_the_index_returns_rules_a_tick_can_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = {"price": lambda: 90_000 * math.exp(rng.normal(0, 0.03)), "risk": lambda: rng.uniform(20, 90)}
    rules = [Rule(n, n, kind, "BTC", level=float(levels[kind]())) for n in range(60) for kind in ["price"]]  # type: ignore[arg-type]
    rules += [Rule(100 + n, n, "risk", "BTC", level=float(levels["risk"]())) for n in range(40)]
    by_place: dict[str, dict[int, RuleState]] = {}
    index, price, fired, now = MetricIndex("BTC", rules, by_place), 90_000.0, 0, NOW
    for _ in range(300):
        now += int(rng.choice([60_000, HOUR_MS, 3 * HOUR_MS]))
        path = (price, price * math.exp(rng.normal(0, 0.01)))
        price = path[-1]
        values = {"risk": float(rng.uniform(0, 100))} if rng.random() < 0.7 else {}
        states: RuleStates = {(i, place): state for place, rows in by_place.items() for i, state in rows.items()}
        each = MetricTick("BTC", now, path, values)
        everything = decide_metrics(sorted(rules, key=lambda rule: rule.id), states, each)
        offered = decide_metrics(index.candidates(each), states, each)
        assert sorted(d.key for d in offered.fired) == sorted(d.key for d in everything.fired)
        assert offered.states == everything.states
        fired += len(offered.fired)
        for (rule_id, place), state in offered.states.items():
            assert state is not None
            by_place.setdefault(place, {})[rule_id] = state
        index.apply_states(offered.states)
    assert fired > 100


def test_a_cascade_that_has_tripled_fires_again_without_rearming() -> None:
    rule = Rule(5, 1, "cascade", level=1e7)
    sizes = [5e6, 1.2e7, 2e7, 3.5e7, 3.55e7, 1.2e8]
    fired, _ = run(rule, [tick(NOW + i, cascade=size) for i, size in enumerate(sizes)])
    assert [at - NOW for at in fired] == [1, 5]
    keys = set()
    states: RuleStates = {}
    for i, size in enumerate(sizes):
        verdict = decide_metrics([rule], states, tick(NOW + i, cascade=size))
        keys |= {decision.key for decision in verdict.fired}
        states |= {key: state for key, state in verdict.states.items() if state}
    assert len(keys) == 2


def test_a_cascade_that_grows_within_threefold_edits_its_alert() -> None:
    rule = Rule(5, 1, "cascade", level=1e7)
    states: RuleStates = {}
    seen = []
    for i, size in enumerate([1.2e7, 1.3e7, 1.6e7, 1.7e7, 2.4e7, 1.1e7, 4e7]):
        verdict = decide_metrics([rule], states, tick(NOW + i, cascade=size))
        seen.append((len(verdict.fired), len(verdict.grown)))
        assert {change.key for change in verdict.grown} <= {f"5/{metric_slot('BTC', 'cascade')}/0/0"}
        states |= {key: state for key, state in verdict.states.items() if state}
    assert seen == [(1, 0), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0), (1, 0)]
