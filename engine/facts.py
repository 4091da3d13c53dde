"""Facts read from a board, for answers and for alerts, whose messages are rendered later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.alerts.cluster_rules import ClusterFiring
from engine.alerts.ground import Ground
from engine.alerts.market_events import PERCENTILES, EventFiring, tier_of
from engine.alerts.metric_rules import MetricFiring
from engine.alerts.rules import default_distance
from engine.board import AssetBoard
from engine.consensus import agreed_rate
from engine.liquidation.clusters import Cluster
from engine.liquidation.prior import REPORTING
from engine.liquidation.view import MapView
from engine.market import DAY_MS, HOUR_MS, SIDES, Side
from engine.outlook.cascade import Cascade, cascade
from engine.outlook.risk import Risk, risk


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """The context of an answer.

    Attributes:
        interest_usd: open interest in the sum.
        interest_change_24h: change of contracts, a fraction; None if unknown.
        funding_rate: per 8 hours, a fraction; None if no venue has it.
        liquidated_24h_usd: reported liquidations by side; None without a feed.
    """

    interest_usd: float
    interest_change_24h: float | None
    funding_rate: float | None
    liquidated_24h_usd: Mapping[Side, float] | None


RISK_REACH = 0.03
"""Log distance within which expected liquidations of longs and shorts are compared."""


def market_facts(board: AssetBoard, now: int) -> MarketFacts:
    """Return open interest, its change, funding, and the liquidations reported in 24 hours."""
    view = board.view
    liquidated: dict[Side, float] | None = None
    if board.reported.has_feed:
        liquidated = {side: board.reported.usd(side, now - DAY_MS) for side in SIDES}
    change = board.maps.interest_change_24h(now, board.mark)
    return MarketFacts(sum(view.interest_usd.values()), change, _funding_rate(board, view.mark), liquidated)


def _funding_rate(board: AssetBoard, mark: float) -> float | None:
    """Return funding per 8 hours that the venues agree on, weighted by open interest, or None."""
    paid: dict[str, float] = {}
    weights: dict[str, float] = {}
    for each in board.maps.included():
        rate = board.funding.get(each.market.key)
        if rate is not None:
            usd, venue = each.market.usd(each.contracts, mark), each.market.venue
            paid[venue] = paid.get(venue, 0.0) + rate * usd
            weights[venue] = weights.get(venue, 0.0) + usd
    return agreed_rate({venue: paid[venue] / weights[venue] for venue in paid if weights[venue]}, weights)


def risk_of(board: AssetBoard, now: int) -> Risk | None:
    """Return the risk score, how leveraged and how crowded the market is, or None if too few inputs are known."""
    facts, view = market_facts(board, now), board.view
    distance = default_distance(board.asset)
    expected: dict[Side, float] = {}
    ratios = []
    for side in SIDES:
        (near, far) = view.curves[side].at_distances(np.array([distance, RISK_REACH]))
        usual, expected[side] = board.usual.forced_usd(side, distance), float(far)
        if usual:
            ratios.append(float(near) / usual)
    recent = None
    if facts.liquidated_24h_usd is not None and (day := sum(facts.liquidated_24h_usd.values())):
        recent = 24 * sum(board.reported.usd(side, now - HOUR_MS) for side in SIDES) / day
    return risk(
        board.usual.interest_rank(facts.interest_usd),
        facts.funding_rate,
        max(ratios, default=None),
        (expected["long"], expected["short"]),
        recent,
    )


def cascade_of(board: AssetBoard, side: Side, distance: float, now: int) -> Cascade | None:
    """Return the cascade that a move of this distance would start, by current order books, or None without any."""
    return cascade(board.view.curves[side], board.fresh_books(now), distance)


def metrics_of(board: AssetBoard, now: int) -> dict[str, float]:
    """Return the metrics that rules watch, units as alerts.rules.LEVEL_RANGE; unknown ones are omitted."""
    facts, score = market_facts(board, now), risk_of(board, now)
    cascades = [cascade_of(board, side, default_distance(board.asset), now) for side in SIDES]
    metrics = {
        "funding": facts.funding_rate,
        "oi": facts.interest_change_24h,
        "risk": score.score if score else None,
        "cascade": max((each.total_usd for each in cascades if each is not None), default=None),
    }
    return {name: value for name, value in metrics.items() if value is not None}


@dataclass(frozen=True, slots=True)
class EntryRate:
    """Share of all levels in a range of distances that price entered within some hours."""

    asset: str
    within_hours: int
    share: float
    distances: tuple[float, float]


MEASURED_ENTRY = EntryRate("BTC", 4, 0.44, (0.0075, 0.0125))
"""Recorded Bitcoin, 3 January to 31 March 2026: placebo levels under the near rule, `bot.py clusters --entered`."""


def cluster_facts(board: AssetBoard, cluster: Cluster, now: int) -> dict[str, Any]:
    """Return the facts of one cluster, JSON values."""
    hours, all_known = board.untraded_hours(cluster, now)
    return {
        "id": cluster.id,
        "label": cluster.label_price,
        "low": cluster.low,
        "high": cluster.high,
        "peak": cluster.peak_price,
        "forced_usd": cluster.forced_usd,
        "forced_low_usd": cluster.forced_low_usd,
        "forced_high_usd": cluster.forced_high_usd,
        "open_usd": cluster.open_usd,
        "side": cluster.side,
        "born_at": cluster.born_at,
        "untraded_hours": hours,
        "untraded_all_known": all_known,
        "growth": board.growth(cluster),
    }


def source_facts(board: AssetBoard, now: int, price: float | None = None) -> dict[str, Any]:
    """Return the sources of an answer: venues with shares, missing venues, age of data, days of history."""
    view, facts = board.view, market_facts(board, now)
    shares = view.venue_shares(price) if price else {}
    if not shares:
        total = sum(view.interest_usd.values())
        shares = {venue: usd / total for venue, usd in view.interest_usd.items()}
    return {
        "venues": shares,
        "missing": dict(board.missing),
        "disputed": dict(board.disputed),
        "missing_shares": {venue: share for venue, share in board.venue_shares().items() if venue in board.missing},
        "age_seconds": max(now - board.as_of, 0) / 1000,
        "interest_usd": facts.interest_usd,
        "interest_change_24h": facts.interest_change_24h,
        "funding_rate": facts.funding_rate,
        "history_days": board.history_days,
    }


def forced_facts(view: MapView, board: AssetBoard, price: float) -> dict[str, Any]:
    """Return F to a price with its band, and its ratio to the usual F of such a move."""
    side = view.side_of(price)
    curve = view.curves[side]
    low, high = curve.band(price)
    forced = max(curve.forced_usd(price), _passed_usd(board, side, view.mark, price))
    usual = board.usual.forced_usd(side, abs(math.log(price / view.mark))) if price != view.mark else None
    return {
        "forced_usd": forced,
        "forced_low_usd": min(low, forced),
        "forced_high_usd": max(high, forced),
        "usual_ratio": forced / usual if usual else None,
        "map_share": curve.map_share(price),
    }


def _passed_usd(board: AssetBoard, side: Side, mark: float, price: float) -> float:
    """Return F of the clusters that a move passes completely, USD, as of the last closed bar.

    An answer for the move is never less than this.
    """
    return sum(
        c.forced_usd
        for c in board.clusters
        if c.side == side
        and not c.entered
        and c.distance(mark) > 0
        and (price <= c.far_price if side == "long" else price >= c.far_price)
    )


def ranked(board: AssetBoard, side: Side, mark: float, reach: float = 0.10) -> list[Cluster]:
    """Return the clusters of a side ahead of the mark and within reach, largest first."""
    ahead = [c for c in board.clusters if c.side == side and c.distance(mark) > -0.01 and c.distance(mark) <= reach]
    return sorted(ahead, key=lambda c: -c.forced_usd)


def nearest(board: AssetBoard, side: Side, mark: float) -> Cluster | None:
    """Return the nearest live cluster ahead of the mark, or None."""
    ahead = [c for c in board.clusters if c.side == side and c.distance(mark) > 0]
    return min(ahead, key=lambda c: c.distance(mark), default=None)


def alert_facts(board: AssetBoard, decision: ClusterFiring, now: int) -> dict[str, Any]:
    """Return all facts of an alert's message, JSON values.

    The board is as after the tick, the decision was made on the map from before it.
    """
    cluster, mark = decision.cluster, board.view.mark
    facts: dict[str, Any] = {
        "kind": decision.kind,
        "asset": board.asset,
        "at": now,
        "side": cluster.side,
        "price": decision.price,
        "mark": mark,
        "reason": decision.reason,
        "rule": decision.rule.text,
        "distance": abs(cluster.distance(decision.price)),
        "cluster": cluster_facts(board, cluster, now),
        **source_facts(board, now, cluster.far_price),
    }
    if decision.notified_state is not None and decision.notified_state.label:
        facts["cluster"]["label"] = decision.notified_state.label  # the label stays the same during an incident
    sides = ranked(board, cluster.side, mark)
    ids = [c.id for c in sides]
    facts["rank"] = ids.index(cluster.id) + 1 if cluster.id in ids else None
    facts["of"] = len(ids)
    if decision.kind in ("near", "entered"):
        facts |= _expected(board, decision)
    else:
        facts |= _aftermath(board, decision, now)
    if decision.kind == "over":
        facts["faded"] = bool(cluster.faded_at)
    return facts


def metric_facts(board: AssetBoard, decision: MetricFiring, now: int) -> dict[str, Any]:
    """Return all facts of a metric alert's message, JSON values."""
    score = risk_of(board, now)
    return {
        "kind": decision.rule.kind,
        "asset": board.asset,
        "at": now,
        "mark": board.view.mark,
        "level": decision.rule.level,
        "value": decision.value,
        "reason": decision.reason,
        "rule": decision.rule.text,
        "risk_parts": dict(score.parts) if score and decision.rule.kind == "risk" else {},
        "next_below": _next(board, "long", board.view.mark),
        "next_above": _next(board, "short", board.view.mark),
        **source_facts(board, now),
    }


def event_facts(board: AssetBoard, firing: EventFiring, now: int) -> dict[str, Any]:
    """Return all facts of the message about a surge, fresh ground or a move, JSON values."""
    side, mark, ground = firing.side, board.view.mark, firing.ground
    hours = board.hours.hours(2)
    facts: dict[str, Any] = {
        "kind": firing.kind,
        "asset": board.asset,
        "at": now,
        "side": side,
        "price": ground.entry_price if ground is not None else mark,
        "mark": mark,
        "reason": firing.kind,
        "rule": firing.rule.text,
        "top_tier": firing.top_tier,
        "hour_usd": {each: board.reported.usd(each, now - HOUR_MS, REPORTING) for each in SIDES},
        "move_1h": mark / float(hours.before[-1]) - 1 if len(hours) else None,
        "next_below": _next(board, "long", mark),
        "next_above": _next(board, "short", mark),
        **source_facts(board, now),
    }
    if firing.kind == "move":
        return facts | {"from": firing.value, "since": now}
    if ground is None:
        return facts | {"usd": firing.value, "threshold_usd": firing.level, "percentile": _rank_of(firing)}
    return facts | ground_facts(board, ground) | {"since": now}


def ground_facts(board: AssetBoard, ground: Ground) -> dict[str, Any]:
    """Return the facts of an untraded stretch, with the liquidations expected to its far end, JSON values."""
    facts: dict[str, Any] = {"days": ground.days, "all_known": ground.all_known, "far": ground.far_price}
    mark, far = board.view.mark, ground.far_price
    if far is not None and (far < mark if ground.side == "long" else far > mark):
        forced = forced_facts(board.view, board, far)
        facts |= {name: forced[name] for name in ("forced_usd", "forced_low_usd", "forced_high_usd")}
    return facts


def _rank_of(firing: EventFiring) -> float:
    """Return the percentile of the asset's hours that a surge reached."""
    return PERCENTILES["calm" if firing.top_tier else tier_of(firing.rule)]


def _expected(board: AssetBoard, decision: ClusterFiring) -> dict[str, Any]:
    """Return the liquidations expected from the alert's price to the far edge, by the map before the tick."""
    cluster, state = decision.cluster, decision.notified_state
    usual = board.usual.forced_usd(cluster.side, abs(math.log(cluster.far_price / decision.price)))
    forced = state.value if state else cluster.forced_usd
    return {
        "forced_usd": forced,
        "forced_low_usd": state.value_low if state else cluster.forced_low_usd,
        "forced_high_usd": state.value_high if state else cluster.forced_high_usd,
        "usual_ratio": forced / usual if usual and decision.kind == "near" else None,
    }


def _aftermath(board: AssetBoard, decision: ClusterFiring, now: int) -> dict[str, Any]:
    """Return the facts of a follow-up: reported and expected liquidations, share swept, next clusters."""
    cluster, state, mark = decision.cluster, decision.notified_state, board.view.mark
    since = state.since if state is not None else now - 3_600_000
    reported: dict[Side, float] = {side: board.reported.usd(side, since, REPORTING) for side in ("long", "short")}
    total = sum(reported.values())
    return {
        "since": since,
        "reported_usd": reported[cluster.side] if board.reported.has_feed else None,
        "long_share": reported["long"] / total if total else None,
        # Without an earlier alert compare with F at first entry: after the sweep hardly anything is left.
        "expected_low_usd": state.value_low if state else cluster.entry_forced_low_usd or cluster.forced_low_usd,
        "expected_high_usd": state.value_high if state else cluster.entry_forced_high_usd or cluster.forced_high_usd,
        "swept_share": min(cluster.swept_usd / cluster.entry_usd, 1.0) if cluster.entry_usd else None,
        "next_below": _next(board, "long", mark),
        "next_above": _next(board, "short", mark),
    }


def final_count(board: AssetBoard, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the final reported liquidations of a sweep, once its hour is over."""
    since = facts["since"]
    reported: dict[Side, float] = {side: board.reported.usd(side, since, REPORTING) for side in ("long", "short")}
    total = sum(reported.values())
    return {
        "reported_usd": reported["long" if facts["side"] == "long" else "short"] if board.reported.has_feed else None,
        "long_share": reported["long"] / total if total else None,
    }


def _next(board: AssetBoard, side: Side, mark: float) -> dict[str, Any] | None:
    cluster = nearest(board, side, mark)
    if cluster is None:
        return None
    return {
        "label": cluster.label_price,
        "distance": abs(cluster.label_price / mark - 1),
        "forced_usd": cluster.forced_usd,
    }
