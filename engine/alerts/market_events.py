"""What rides on a near rule besides clusters: a surge of liquidations, fresh ground entered, a move unannounced. Pure.

A near rule of a tier is to tell what matters, not only what is near. All keep what they remember in the rule's own
states, under places of their own, and are capped, muted and held as any alert of the rule.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engine.alerts.ground import UNTRADED_DAYS, Ground
from engine.alerts.metric_rules import CHANGED, GROWN
from engine.alerts.near import REARM_FACTOR, RuleState
from engine.alerts.rules import Rule, Tier, as_tier, default_distance
from engine.market import HOUR_MS, Side

PERCENTILES: dict[Tier, float] = {"calm": 99.9, "normal": 99.5, "busy": 99.0}
"""Of the asset's own hours: as large as this many in a hundred or a thousand are not."""

MIN_HOURS = 14 * 24
"""Hours of reports before a percentile of them is worth anything."""

SURGE_REARM_MS = 12 * HOUR_MS
SURGE_OVER = 0.5
"""A surge is over when the last hour brought less than so much of its threshold."""

FRESH_REARM_MS = 24 * HOUR_MS

MOVE_DISTANCES = 3.0
"""Times the usual alert distance, which is 3 % for Bitcoin: a move that far is told if nothing else was."""

MOVE_MS = 12 * HOUR_MS
"""Within so long: a slower one is no news."""

STEP_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class Riding:
    """Something that near rules tell of besides clusters.

    Attributes:
        kind: surge, fresh or move.
        value: of a surge what was liquidated within the hour, USD; of fresh ground its days; of a move where it began,
            USD.
        level: of a surge the threshold it passed; of a move where it stands, USD.
        key: never comes twice for the same happening.
        top_tier: a calm rule would tell of it.
    """

    kind: str
    rule: Rule
    side: Side
    value: float
    level: float
    key: str
    top_tier: bool
    ground: Ground | None = None


@dataclass(slots=True)
class RidingVerdict:
    """What a tick decided: alerts, messages to be changed, and states."""

    decisions: list[Riding] = field(default_factory=list)
    changes: list[Riding] = field(default_factory=list)
    states: dict[tuple[int, str], RuleState | None] = field(default_factory=dict)


def tier_of(rule: Rule) -> Tier:
    """The tier by which a rule rides: its own, or normal where its size is in USD."""
    return as_tier(rule.size) if isinstance(rule.size, str) else "normal"


def surge_place(asset: str, side: Side) -> str:
    """Where a rule remembers a surge."""
    return f"@{asset}/surge/{side}"


def fresh_place(asset: str, side: Side) -> str:
    """Where a rule remembers the ground it told of."""
    return f"@{asset}/fresh/{side}"


def decide_surge(
    rules: Iterable[Rule],
    states: Mapping[tuple[int, str], RuleState],
    asset: str,
    side: Side,
    usd: float,
    thresholds: Mapping[Tier, float],
    now: int,
    silent: Callable[[Rule], int],
    new: Collection[int] = (),
) -> RidingVerdict:
    """Decide near rules about what was liquidated of a side within the last hour.

    A surge is told once, its message changed while it grows by a quarter, and told anew at threefold.

    Args:
        usd: liquidated within the hour.
        thresholds: by tier, USD; none where too little is known.
        new: rules that have their baseline in this tick: a surge that is on already is not news to them.
    """
    verdict = RidingVerdict()
    for rule in rules:
        level = thresholds.get(tier_of(rule), math.inf)
        place = surge_place(asset, side)
        key = (rule.id, place)
        state = states.get(key, RuleState(True, 0))
        top = usd >= thresholds.get("calm", math.inf)
        if not state.armed and usd < SURGE_OVER * level and now - state.since >= SURGE_REARM_MS:
            verdict.states[key] = RuleState(True, now, arming=state.arming + 1)
        elif usd >= level and (state.armed or usd >= GROWN * state.forced_usd):
            arming = state.arming + int(not state.armed)
            told = rule.id not in new and silent(rule) <= now
            verdict.states[key] = RuleState(False, now, told, arming=arming, forced_usd=usd, forced_low_usd=usd)
            if told:
                verdict.decisions.append(Riding("surge", rule, side, usd, level, _key(rule, place, arming), top))
        elif not state.armed and state.fired and usd >= CHANGED * state.forced_low_usd:
            verdict.states[key] = replace(state, forced_low_usd=usd)
            verdict.changes.append(Riding("surge", rule, side, usd, level, _key(rule, place, state.arming), top))
    return verdict


def decide_fresh(
    rules: Iterable[Rule],
    states: Mapping[tuple[int, str], RuleState],
    asset: str,
    grounds: Mapping[tuple[Side, int], Ground],
    path: Sequence[float],
    now: int,
    silent: Callable[[Rule], int],
    new: Collection[int] = (),
) -> RidingVerdict:
    """Decide near rules about ground that price came into, once a stretch.

    Args:
        grounds: what the path came into, by side and days.
        path: prices since the last tick, the last tick's at its head.
    """
    verdict = RidingVerdict()
    for rule in rules:
        days = UNTRADED_DAYS[tier_of(rule)]
        for side in ("long", "short"):
            ground = grounds.get((side, days))
            key = (rule.id, fresh_place(asset, side))
            state = states.get(key)
            if state is not None and _left(state, side, path, default_distance(asset), now):
                state = None
                verdict.states[key] = None
            if ground is None or not rule.wants(side) or (state is not None and _same_stretch(state, ground)):
                continue
            told = rule.id not in new and silent(rule) <= now
            # Where it begins and where it ends: price goes on within one stretch without a word.
            far = ground.far_price or 0.0
            verdict.states[key] = RuleState(False, now, told, forced_usd=ground.entry_price, forced_low_usd=far)
            if told:
                number = f"{now // HOUR_MS}"
                top = (side, UNTRADED_DAYS["calm"]) in grounds
                verdict.decisions.append(
                    Riding("fresh", rule, side, days, 0.0, _key(rule, key[1], number), top, ground)
                )
    return verdict


def past_surges(usd: np.ndarray, threshold: float) -> int:
    """Return how often hours of reports would have made a surge.

    Args:
        usd: (n,) float64, USD by hour, oldest first, NaN for hours that were not heard.
        threshold: what an hour must reach, USD.
    """
    count, over_at, high = 0, -math.inf, math.inf
    for at, value in enumerate(np.nan_to_num(usd)):
        if value >= threshold and (at - over_at >= SURGE_REARM_MS // HOUR_MS or value >= GROWN * high):
            count, over_at, high = count + 1, at, float(value)
    return count


def past_grounds(outermost: np.ndarray, days: int, count: int) -> int:
    """Return how often hours would have come into ground untraded for so many days.

    Args:
        outermost: (n,) float64, log of how far outward each hour went, larger is farther; whole hours, oldest first.
        days: of a tier. count: of the last hours to judge.
    """
    behind, found, last = days * 24, 0, -math.inf
    for at in range(max(len(outermost) - count, behind), len(outermost)):
        if outermost[at] > outermost[at - behind : at].max():
            found += at - last >= FRESH_REARM_MS // HOUR_MS
            last = at
    return found


class RecentRange:
    """The lowest and highest prices of the last hours, in steps of five minutes."""

    def __init__(self, rows: Iterable[Sequence[float]] = ()) -> None:
        self._rows = deque((int(at), low, high) for at, low, high in rows)

    def add(self, path: Sequence[float], now: int) -> None:
        """Take up prices, USD, that were seen until now, UTC ms."""
        at, low, high = now // STEP_MS * STEP_MS, min(path), max(path)
        while self._rows and self._rows[-1][0] > at:
            self._rows.pop()  # of a clock that was ahead: what it says came after everything
        if self._rows and self._rows[-1][0] == at:
            _, known_low, known_high = self._rows.pop()
            low, high = min(low, known_low), max(high, known_high)
        self._rows.append((at, low, high))
        while self._rows[0][0] < now - MOVE_MS:
            self._rows.popleft()

    def since(self, at: int, known: float = 0.0) -> tuple[float, float] | None:
        """Return the lowest and highest price of the steps that began after a time, None where there are none.

        Args:
            known: a price of that time, 0 for none.
        """
        rows = [row for row in self._rows if row[0] > at]
        lows, highs = [row[1] for row in rows], [row[2] for row in rows]
        if known:
            lows.append(known)
            highs.append(known)
        return (min(lows), max(highs)) if lows else None

    def snapshot(self) -> list[list[float]]:
        return [list(row) for row in self._rows]


def move_place(asset: str) -> str:
    """Where a rule remembers when it last had a word of an asset, and at which price."""
    return f"@{asset}/move"


def moved(bounds: tuple[float, float] | None, price: float, asset: str) -> tuple[Side, float] | None:
    """Return the side that a move runs against and where it began, USD; None for one that is not far enough.

    Args:
        bounds: the lowest and highest price before it, USD.
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
    states: Mapping[tuple[int, str], RuleState],
    asset: str,
    recent: RecentRange,
    price: float,
    now: int,
    silent: Callable[[Rule], int],
    new: Collection[int] = (),
) -> RidingVerdict:
    """Decide near rules about a move of which they had no word: of no cluster, no surge, no fresh ground.

    Args:
        rules: without those that had a word in this tick.
    """
    verdict = RidingVerdict()
    # Most rules had their last word at the same time, or none for long: what price did since is worked out once.
    since: dict[tuple[int, float], tuple[Side, float] | None] = {}
    for rule in rules:
        key = (rule.id, move_place(asset))
        state = states.get(key)
        word_at = max(state.since if state else 0, rule.created_at)
        known = state.label if state and state.since == word_at and now - word_at <= MOVE_MS else 0.0
        word = (max(word_at, now - MOVE_MS), known)
        if word not in since:
            since[word] = moved(recent.since(*word), price, asset)
        found = since[word]
        if found is None or not rule.wants(found[0]):
            continue
        verdict.states[key] = RuleState(False, now, label=price)
        if rule.id not in new and silent(rule) <= now:
            riding = Riding("move", rule, found[0], found[1], price, _key(rule, key[1], now), top_tier=False)
            verdict.decisions.append(riding)
    return verdict


def _same_stretch(state: RuleState, ground: Ground) -> bool:
    """Whether ground is of the stretch that was told: not beyond where that ended."""
    far = state.forced_low_usd
    if not far:
        return True
    return ground.entry_price >= far if ground.side == "long" else ground.entry_price <= far


def _left(state: RuleState, side: Side, path: Sequence[float], distance: float, now: int) -> bool:
    """Whether price has come back out of the ground that was told, far enough and for long enough."""
    if now - state.since < FRESH_REARM_MS:
        return False
    back = path[-1] / state.forced_usd - 1 if side == "long" else state.forced_usd / path[-1] - 1
    return back >= REARM_FACTOR * distance


def _key(rule: Rule, place: str, number: int | str) -> str:
    return f"{rule.id}/{place}/{number}/{rule.created_at}"
