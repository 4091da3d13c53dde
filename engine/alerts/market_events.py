"""Market events that near rules also report: surges of liquidations, fresh ground, unexplained moves. Pure.

A rule has a separate state for each, and their alerts are capped, muted and held like its others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.alerts.ground import UNTRADED_DAYS, Ground
from engine.alerts.metric_rules import CHANGED, GROWN
from engine.alerts.near import REARM_FACTOR
from engine.alerts.rules import AlertKind, Rule, Tier, as_tier, default_distance
from engine.alerts.state import Decisions, RuleState, StateKey
from engine.market import HOUR_MS, Side

PERCENTILES: dict[Tier, float] = {"calm": 99.9, "normal": 99.5, "busy": 99.0}
"""Percentile of the asset's own hourly liquidations that a surge must reach, by tier."""

MIN_HOURS = 14 * 24
"""Hours of reports needed before their percentiles are used."""

SURGE_REARM_MS = 12 * HOUR_MS
SURGE_OVER = 0.5
"""A surge is over when the last hour brought less than this share of its threshold."""

FRESH_REARM_MS = 24 * HOUR_MS

MOVE_DISTANCES = 3.0
"""Multiple of the usual alert distance, 3 % in all for Bitcoin: a move this far fires if nothing else did."""

MOVE_MS = 12 * HOUR_MS
"""Maximum duration of such a move: a slower one is no news."""

STEP_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class EventFiring:
    """A near rule fires about a market event.

    Attributes:
        kind: surge, fresh or move.
        value: USD liquidated within the hour (surge), days untraded (fresh), or the price the move began at (move).
        level: the threshold reached, USD (surge), 0 (fresh), or the price now (move).
        key: the alert's key, never used twice.
        slot: slot of the rule's state.
        top_tier: a calm rule would fire too.
    """

    kind: AlertKind
    rule: Rule
    side: Side
    value: float
    level: float
    key: str
    slot: str
    top_tier: bool
    ground: Ground | None = None

    @property
    def state_key(self) -> StateKey:
        return self.rule.id, self.slot

    @property
    def opens_incident(self) -> bool:
        return False


def tier_of(rule: Rule) -> Tier:
    """Return the tier of a rule: its own, or normal if its size is in USD."""
    return as_tier(rule.size) if isinstance(rule.size, str) else "normal"


def surge_slot(asset: str, side: Side) -> str:
    """Return the slot of a rule's state for surges."""
    return f"@{asset}/surge/{side}"


def fresh_slot(asset: str, side: Side) -> str:
    """Return the slot of a rule's state for fresh ground."""
    return f"@{asset}/fresh/{side}"


def decide_surge(
    rules: Iterable[Rule],
    states: Mapping[StateKey, RuleState],
    asset: str,
    side: Side,
    usd: float,
    thresholds: Mapping[Tier, float],
    now: int,
    new_rules: Collection[int] = (),
) -> Decisions[EventFiring]:
    """Decide near rules about one side's liquidations within the last hour.

    A surge fires once. Its message is edited whenever it has grown by a quarter, and it fires again when it has
    tripled.

    Args:
        usd: liquidated within the hour.
        thresholds: by tier, USD; empty with too little history.
        new_rules: ids of rules for which a surge under way is not news.
    """
    decisions = Decisions[EventFiring]()
    slot = surge_slot(asset, side)
    for rule in rules:
        level = thresholds.get(tier_of(rule), math.inf)
        key = (rule.id, slot)
        state = states.get(key, RuleState(True, 0))
        top = usd >= thresholds.get("calm", math.inf)
        if not state.armed and usd < SURGE_OVER * level and now - state.since >= SURGE_REARM_MS:
            decisions.states[key] = RuleState(True, now, arm_count=state.arm_count + 1)
        elif usd >= level and (state.armed or usd >= GROWN * state.value):
            arm_count = state.arm_count + int(not state.armed)
            is_news = rule.id not in new_rules
            decisions.states[key] = RuleState(False, now, is_news, arm_count=arm_count, value=usd, peak_value=usd)
            if is_news:
                alert_key = _key(rule, slot, arm_count)
                decisions.fired.append(EventFiring("surge", rule, side, usd, level, alert_key, slot, top))
        elif not state.armed and state.awaiting_followup and usd >= CHANGED * state.peak_value:
            decisions.states[key] = replace(state, peak_value=usd)
            alert_key = _key(rule, slot, state.arm_count)
            decisions.grown.append(EventFiring("surge", rule, side, usd, level, alert_key, slot, top))
    return decisions


def decide_fresh(
    rules: Iterable[Rule],
    states: Mapping[StateKey, RuleState],
    asset: str,
    grounds: Mapping[tuple[Side, int], Ground],
    path: Sequence[float],
    now: int,
    new_rules: Collection[int] = (),
) -> Decisions[EventFiring]:
    """Decide near rules about untraded ground that price entered, once per stretch.

    Args:
        grounds: untraded ground that the path entered, by side and days.
        path: prices since the last tick, USD, oldest first, starting with that of the last tick.
    """
    decisions = Decisions[EventFiring]()
    for rule in rules:
        days = UNTRADED_DAYS[tier_of(rule)]
        for side in ("long", "short"):
            ground = grounds.get((side, days))
            key = (rule.id, fresh_slot(asset, side))
            state = states.get(key)
            if state is not None and _has_come_back(state, side, path, default_distance(asset), now):
                state = None
                decisions.states[key] = None
            if ground is None or not rule.wants(side) or (state is not None and _same_stretch(state, ground)):
                continue
            is_news = rule.id not in new_rules
            # Store both ends of the stretch: price may move on within it without another alert.
            far = ground.far_price or 0.0
            decisions.states[key] = RuleState(False, now, is_news, value=ground.entry_price, value_low=far)
            if is_news:
                top = (side, UNTRADED_DAYS["calm"]) in grounds
                alert_key = _key(rule, key[1], now // HOUR_MS)
                decisions.fired.append(EventFiring("fresh", rule, side, days, 0.0, alert_key, key[1], top, ground))
    return decisions


def past_surges(usd: np.ndarray, threshold: float) -> int:
    """Return how many surges some hours of reports would have made.

    Args:
        usd: (n,) float64, USD by hour, oldest first, NaN for hours in which a feed was down.
        threshold: USD that an hour must reach.
    """
    count, over_at, high = 0, -math.inf, math.inf
    for at, value in enumerate(np.nan_to_num(usd)):
        if value >= threshold and (at - over_at >= SURGE_REARM_MS // HOUR_MS or value >= GROWN * high):
            count, over_at, high = count + 1, at, float(value)
    return count


def past_grounds(outermost: np.ndarray, days: int, count: int) -> int:
    """Return how often price would have entered ground that had not traded for a number of days.

    Args:
        outermost: (n,) float64, log of how far outward each hour went, larger is farther; whole hours, oldest first.
        days: those of a tier.
        count: number of the last hours to check.
    """
    behind, entries, last = days * 24, 0, -math.inf
    for at in range(max(len(outermost) - count, behind), len(outermost)):
        if outermost[at] > outermost[at - behind : at].max():
            entries += at - last >= FRESH_REARM_MS // HOUR_MS
            last = at
    return entries


class RecentRange:
    """The lowest and highest prices of the last hours, in steps of five minutes."""

    def __init__(self, rows: Iterable[Sequence[float]] = ()) -> None:
        self._rows = deque((int(at), low, high) for at, low, high in rows)

    def add(self, path: Sequence[float], now: int) -> None:
        """Add the prices, USD, seen since the last call. now: UTC ms."""
        at, low, high = now // STEP_MS * STEP_MS, min(path), max(path)
        while self._rows and self._rows[-1][0] > at:
            self._rows.pop()  # from a clock that was ahead: it would count as the newest
        if self._rows and self._rows[-1][0] == at:
            _, known_low, known_high = self._rows.pop()
            low, high = min(low, known_low), max(high, known_high)
        self._rows.append((at, low, high))
        while self._rows[0][0] < now - MOVE_MS:
            self._rows.popleft()

    def since(self, at: int, known: float = 0.0) -> tuple[float, float] | None:
        """Return the lowest and highest price of the steps that began after a time, or None if there are none.

        Args:
            known: a price at that time, USD, 0 for none.
        """
        rows = [row for row in self._rows if row[0] > at]
        lows, highs = [row[1] for row in rows], [row[2] for row in rows]
        if known:
            lows.append(known)
            highs.append(known)
        return (min(lows), max(highs)) if lows else None

    def snapshot(self) -> list[list[float]]:
        return [list(row) for row in self._rows]


def move_slot(asset: str) -> str:
    """Return the slot of a rule's state for moves: when it last fired for an asset, and the price then."""
    return f"@{asset}/move"


def moved(bounds: tuple[float, float] | None, price: float, asset: str) -> tuple[Side, float] | None:
    """Return the side that a move goes against and where it began, USD, or None if it is not far enough.

    Args:
        bounds: the lowest and highest price before it, USD, None if there is none.
    """
    limit = MOVE_DISTANCES * default_distance(asset)
    if bounds is None:
        return None
    if math.log(bounds[1] / price) >= limit:
        return "long", bounds[1]
    if math.log(price / bounds[0]) >= limit:
        return "short", bounds[0]
    return None


def decide_move(
    rules: Iterable[Rule],
    states: Mapping[StateKey, RuleState],
    asset: str,
    recent: RecentRange,
    price: float,
    now: int,
    new_rules: Collection[int] = (),
) -> Decisions[EventFiring]:
    """Decide near rules about a large move during which they fired for no cluster, surge or fresh ground.

    Args:
        rules: near rules without those that fired on this tick.
    """
    decisions = Decisions[EventFiring]()
    slot = move_slot(asset)
    # Most rules last fired at the same time, or not for long: compute the move once per time.
    since: dict[tuple[int, float], tuple[Side, float] | None] = {}
    for rule in rules:
        key = (rule.id, slot)
        state = states.get(key)
        last_at = max(state.since if state else 0, rule.created_at)
        last_price = state.label if state and state.since == last_at and now - last_at <= MOVE_MS else 0.0
        last = (max(last_at, now - MOVE_MS), last_price)
        if last not in since:
            since[last] = moved(recent.since(*last), price, asset)
        move = since[last]
        if move is None or not rule.wants(move[0]):
            continue
        decisions.states[key] = RuleState(False, now, label=price)
        if rule.id not in new_rules:
            alert_key = _key(rule, slot, now)
            decisions.fired.append(EventFiring("move", rule, move[0], move[1], price, alert_key, slot, top_tier=False))
    return decisions


def _same_stretch(state: RuleState, ground: Ground) -> bool:
    """Return whether ground is part of the stretch that fired last: it does not begin beyond its far end."""
    far = state.value_low
    if not far:
        return True
    return ground.entry_price >= far if ground.side == "long" else ground.entry_price <= far


def _has_come_back(state: RuleState, side: Side, path: Sequence[float], distance: float, now: int) -> bool:
    """Return whether price is back out of the ground that fired, far enough, and enough time has passed."""
    if now - state.since < FRESH_REARM_MS:
        return False
    back = path[-1] / state.value - 1 if side == "long" else state.value / path[-1] - 1
    return back >= REARM_FACTOR * distance


def _key(rule: Rule, slot: str, number: int) -> str:
    return f"{rule.id}/{slot}/{number}/{rule.created_at}"
