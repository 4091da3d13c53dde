"""Alerts of near rules besides clusters: surges, edited while they grow, untraded ground, and moves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.alerts.ground import Ground, entered, ground_from
from engine.alerts.market_events import (
    FRESH_REARM_MS,
    MOVE_MS,
    SURGE_REARM_MS,
    RecentRange,
    decide_fresh,
    decide_move,
    decide_surge,
    move_slot,
    past_grounds,
    past_surges,
)
from engine.alerts.rules import Rule, Tier
from engine.alerts.state import RuleState
from engine.alerts.suppression import Reason, suppress
from engine.liquidation.grid import BIN, bin_of
from engine.liquidation.traded import TradedLevels
from engine.market import DAY_MS, HOUR_MS

NOW = 10_000 * HOUR_MS
THRESHOLDS: dict[Tier, float] = {"calm": 9e7, "normal": 3e7, "busy": 1e7}
NORMAL = Rule(1, 1, "near", "BTC")
RuleStates = dict[tuple[int, str], RuleState]


def surge(states: RuleStates, usd: float, now: int, *, rule: Rule = NORMAL, muted: bool = False) -> tuple[str, str]:
    """Decide a surge once, update `states`, and return the outcome and its key, both empty if nothing fired."""
    verdict = decide_surge([rule], states, "BTC", "long", usd, THRESHOLDS, now)
    suppress(verdict, "BTC", lambda _: Reason.MUTED if muted else None)
    states |= {key: state for key, state in verdict.states.items() if state}
    for name, firings in (("told", verdict.fired), ("changed", verdict.grown)):
        if firings:
            return name, firings[0].key
    return "", ""


def test_a_surge_fires_once_is_edited_as_it_grows_and_refires_at_threefold() -> None:
    states: RuleStates = {}
    assert surge(states, 2.9e7, NOW)[0] == ""
    outcome, first = surge(states, 3e7, NOW + 1)
    assert outcome == "told"
    assert surge(states, 3.7e7, NOW + 2)[0] == ""
    assert surge(states, 3.8e7, NOW + 3) == ("changed", first)
    assert surge(states, 3.9e7, NOW + 4)[0] == "", "an edit needs a quarter more than the last"
    again, second = surge(states, 9.1e7, NOW + 5)
    assert again == "told"
    assert second != first


def test_a_surge_rearms_once_it_ebbed_and_half_a_day_passed() -> None:
    states: RuleStates = {}
    surge(states, 3e7, NOW)
    assert surge(states, 1e6, NOW + SURGE_REARM_MS - 1)[0] == ""
    assert surge(states, 3.2e7, NOW + SURGE_REARM_MS)[0] == "", "it was never re-armed"
    assert surge(states, 1e6, NOW + SURGE_REARM_MS + 1)[0] == ""
    assert surge(states, 3.2e7, NOW + SURGE_REARM_MS + 2)[0] == "told"


def test_a_muted_surge_does_not_fire_later() -> None:
    states: RuleStates = {}
    assert surge(states, 3e7, NOW, muted=True)[0] == ""
    assert surge(states, 4e7, NOW + 1)[0] == ""


@pytest.mark.parametrize(("size", "usd"), [("calm", 9e7), ("normal", 3e7), ("busy", 1e7), (2e7, 3e7)])
def test_each_tier_has_its_own_threshold_and_usd_sizes_use_normal(size: Tier | float, usd: float) -> None:
    rule = replace(NORMAL, size=size)
    assert surge({}, usd * 0.99, NOW, rule=rule)[0] == ""
    assert surge({}, usd, NOW, rule=rule)[0] == "told"


def test_without_enough_hours_there_is_no_threshold() -> None:
    verdict = decide_surge([NORMAL], {}, "BTC", "long", 1e12, {}, NOW)
    assert not verdict.fired
    assert not verdict.states


def watched() -> TradedLevels:
    """Return levels that traded from 80,000 to 100,000 forty days ago, and from 90,000 to 95,000 yesterday."""
    traded = TradedLevels()
    traded.touch(bin_of(80_000.0), bin_of(100_000.0), NOW - 40 * DAY_MS)
    traded.touch(bin_of(90_000.0), bin_of(95_000.0), NOW - DAY_MS)
    return traded


def test_ground_starts_at_the_edge_of_recent_trading() -> None:
    ground = entered(watched(), "long", (91_000.0, 89_500.0), 7, NOW, 0.01)
    assert ground is not None
    assert ground.entry_price == pytest.approx(90_000.0, rel=2 * BIN)
    assert ground.far_price is None, "no recent trades below, as far as we look"
    assert not ground.all_known
    assert entered(watched(), "long", (91_000.0, 90_200.0), 7, NOW, 0.01) is None
    assert entered(watched(), "short", (91_000.0, 89_500.0), 7, NOW, 0.01) is None
    above = entered(watched(), "short", (94_000.0, 96_000.0), 30, NOW, 0.01)
    assert above is not None
    assert above.entry_price == pytest.approx(95_000.0, rel=2 * BIN)


def test_ground_ends_at_the_next_traded_level_and_must_be_wide_enough() -> None:
    traded = watched()
    traded.touch(bin_of(88_000.0), bin_of(88_000.0), NOW - DAY_MS)
    ground = ground_from(traded, "long", 89_900.0, 7, NOW, 0.01)
    assert ground is not None
    assert ground.far_price == pytest.approx(88_000.0, rel=2 * BIN)
    assert ground_from(traded, "long", 89_900.0, 7, NOW, math.log(89_900 / 88_000) + 2 * BIN) is None


def test_untraded_needs_a_record_that_is_long_enough() -> None:
    traded = TradedLevels()
    traded.touch(bin_of(90_000.0), bin_of(95_000.0), NOW - 3 * DAY_MS)
    assert entered(traded, "long", (91_000.0, 89_500.0), 7, NOW, 0.01) is None
    assert entered(traded, "long", (91_000.0, 89_500.0), 2, NOW, 0.01) is not None


def fresh(states: RuleStates, price: float, ground: Ground | None, now: int) -> bool:
    """Decide ground once, update `states`, and return whether an alert fired."""
    grounds = {(ground.side, ground.days): ground} if ground is not None else {}
    verdict = decide_fresh([NORMAL], states, "BTC", grounds, (price,), now)
    for key, state in verdict.states.items():
        if state is None:
            states.pop(key)
        else:
            states[key] = state
    return bool(verdict.fired)


def test_ground_fires_once_a_stretch_then_beyond_it_or_on_a_return_a_day_later() -> None:
    states: RuleStates = {}
    first, beyond = Ground("long", 7, 90_000.0, 88_000.0, False), Ground("long", 7, 87_900.0, 85_000.0, False)
    assert fresh(states, 89_900.0, first, NOW)
    assert not fresh(states, 89_500.0, replace(first, entry_price=89_600.0), NOW + 1), "the same stretch"
    assert fresh(states, 87_800.0, beyond, NOW + 2)
    assert not fresh(states, 92_000.0, None, NOW + 3)
    assert not fresh(states, 87_800.0, beyond, NOW + 4), "within a day it was the same visit"
    assert not fresh(states, 92_000.0, None, NOW + 2 + FRESH_REARM_MS)
    assert fresh(states, 87_800.0, beyond, NOW + 3 + FRESH_REARM_MS)


def hourly(prices: list[float], start: int = NOW) -> RecentRange:
    recent = RecentRange()
    for hour, price in enumerate(prices):
        recent.add((price,), start + hour * HOUR_MS)
    return recent


def move(states: RuleStates, recent: RecentRange, price: float, now: int, rule: Rule = NORMAL) -> str:
    """Decide a move once, update `states`, and return the alert's key, empty if none fired."""
    verdict = decide_move([rule], states, "BTC", recent, price, now)
    states |= {key: state for key, state in verdict.states.items() if state}
    return verdict.fired[0].key if verdict.fired else ""


def test_a_move_without_an_alert_fires_one_and_restarts_there() -> None:
    states: RuleStates = {}
    falling = hourly([90_000.0, 89_000.0, 88_000.0])
    assert not move(states, falling, 88_000.0, NOW + 2 * HOUR_MS)
    falling.add((87_300.0,), NOW + 3 * HOUR_MS)
    first = move(states, falling, 87_300.0, NOW + 3 * HOUR_MS)
    assert first
    falling.add((86_000.0,), NOW + 4 * HOUR_MS)
    assert not move(states, falling, 86_000.0, NOW + 4 * HOUR_MS), "two per cent since"
    falling.add((84_600.0,), NOW + 5 * HOUR_MS)
    assert move(states, falling, 84_600.0, NOW + 5 * HOUR_MS) not in ("", first)


def test_any_alert_restarts_the_move_and_a_slow_move_never_fires() -> None:
    falling = hourly([90_000.0, 88_500.0, 87_200.0])
    alerted = {(1, move_slot("BTC")): RuleState(False, NOW + HOUR_MS, label=88_500.0)}
    assert not move(alerted, falling, 87_200.0, NOW + 2 * HOUR_MS)
    assert move({}, falling, 87_200.0, NOW + 2 * HOUR_MS)
    slow = hourly([90_000.0 - 300 * hour for hour in range(14)])
    assert not move({}, slow, 86_100.0 + 1_300, NOW + 13 * HOUR_MS)
    assert not move({}, falling, 87_200.0, NOW + 2 * HOUR_MS, replace(NORMAL, side="short"))
    assert not move({}, falling, 87_200.0, NOW + 2 * HOUR_MS, replace(NORMAL, created_at=NOW + HOUR_MS + 1))


def test_the_recent_range_survives_a_snapshot() -> None:
    recent = hourly([90_000.0 + hour for hour in range(20)])
    again = RecentRange(recent.snapshot())
    now = NOW + 19 * HOUR_MS
    assert again.since(now - MOVE_MS) == recent.since(now - MOVE_MS) == (90_008.0, 90_019.0)
    assert recent.since(now) is None
    assert recent.since(now, 89_000.0) == (89_000.0, 89_000.0)


def test_past_alerts_of_a_tier_are_counted_from_hours() -> None:
    usd = np.full(60, 1e6)
    usd[[5, 6, 30, 31]] = 4e7, 5e7, 4e7, 1.3e8
    assert past_surges(usd, 3e7) == 3, "one, one more half a day later, and one at threefold"
    usd[30] = math.nan
    assert past_surges(usd, 3e7) == 2
    outward = np.full(200, 1.0)
    outward[[150, 151, 190]] = 1.01, 1.02, 1.03
    assert past_grounds(outward, 2, 100) == 2
    assert past_grounds(outward, 7, 100) == 1


def test_prices_of_a_clock_that_was_ahead_are_dropped() -> None:
    """Otherwise they would be later than any alert, and a move would fire again on each tick."""
    recent = hourly([90_000.0])
    recent.add((90_500.0,), NOW + 48 * HOUR_MS)
    states: RuleStates = {}
    for minutes, price in ((60, 90_000.0), (65, 87_200.0)):
        recent.add((price,), NOW + minutes * 60_000)
    assert move(states, recent, 87_200.0, NOW + 65 * 60_000)
    recent.add((87_200.0,), NOW + 66 * 60_000)
    assert not move(states, recent, 87_200.0, NOW + 66 * 60_000)
