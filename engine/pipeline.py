"""The alert pipeline: a tick moves the boards, rules fire, suppression applies, alerts are stored, then sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from engine.alerts.active_rules import ActiveRules, ended
from engine.alerts.cluster_rules import AssetTick, ClusterFiring, SizeFilter, decide, seed_states
from engine.alerts.market_events import (
    MOVE_MS,
    EventFiring,
    decide_fresh,
    decide_move,
    decide_surge,
    fresh_slot,
    move_slot,
    moved,
    surge_slot,
)
from engine.alerts.metric_rules import MetricFiring, MetricTick, decide_metrics
from engine.alerts.rules import ONCE, Rule
from engine.alerts.state import Decisions, Firing, RuleState, StateKey
from engine.alerts.suppression import Reason, Suppressed, suppress, suppress_incidents
from engine.board import AssetBoard
from engine.downtime import Downtime
from engine.facts import alert_facts, event_facts, metric_facts, metrics_of
from engine.liquidation.clusters import Cluster
from engine.liquidation.prior import REPORTING
from engine.market import HOUR_MS, SIDES, AssetUpdate, MarketTick
from engine.messages import AlertRecord, TickRecord
from engine.ports import TickStore

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Evaluation:
    """The rules' decisions about one asset on one tick.

    Attributes:
        new_ids: rules whose states were seeded on this tick.
        in_range: new rules with the clusters that are within their distance already, which are shown once.
        ended_clusters: ids of clusters that no longer exist.
    """

    clusters: Decisions[ClusterFiring]
    metrics: Decisions[MetricFiring]
    events: Decisions[EventFiring] = field(default_factory=Decisions)
    new_ids: Collection[int] = ()
    in_range: list[tuple[Rule, Cluster]] = field(default_factory=list)
    ended_clusters: frozenset[str] = frozenset()

    @property
    def states(self) -> dict[StateKey, RuleState | None]:
        return self.clusters.states | self.metrics.states | self.events.states

    @property
    def fired(self) -> list[Firing]:
        return [*self.clusters.fired, *self.metrics.fired, *self.events.fired]


class AlertPipeline:
    """The boards of all assets and the rules over them.

    Attributes:
        set_aside: assets whose last tick failed, with why.
    """

    def __init__(self, boards: dict[str, AssetBoard], rules: ActiveRules, store: TickStore) -> None:
        self.boards = boards
        self.rules = rules
        self.downtime = Downtime()
        self.set_aside: dict[str, str] = {}
        self._store = store

    async def process(self, tick: MarketTick) -> TickRecord:
        """Advance the boards, evaluate the rules, and store everything that follows in one transaction.

        The store plans the messages: see engine.alerts.delivery_policy. An asset whose computation fails is set aside
        and named in /status, and the others go on.

        Raises:
            StorageError: when the tick could not be stored; the process must end and start again.
        """
        record = TickRecord(tick.now)
        for asset, update in tick.updates.items():
            try:
                if asset in self.boards:  # the asset may be dropped while its last tick is in flight
                    record.merge(self._process_asset(self.boards[asset], update, tick))
                self.set_aside.pop(asset, None)
            except Exception as error:
                log.exception("the tick of %s failed and is set aside", asset)
                self.set_aside[asset] = f"{type(error).__name__} in the last tick"
        if tick.silent or tick.late:
            return record  # late changes are stored with the message after downtime
        await self._store.commit(record)
        self.downtime.committed(record)
        return record

    def _process_asset(self, board: AssetBoard, update: AssetUpdate, tick: MarketTick) -> TickRecord:
        record = TickRecord(tick.now)
        asset_tick = board.advance(update, tick.now, silent=tick.silent)
        if tick.silent:
            return record
        self.downtime.watch_samples(board, update, tick, self.rules, record)
        if update.priced and not tick.late:
            record.priced[board.asset] = tick.now
        if not update.priced or asset_tick is None:
            return record
        evaluation = self._evaluate(board, asset_tick, update, late=tick.late)
        record.suppressed += self._suppress(board, evaluation, tick.now)
        if tick.late:
            self.downtime.collect(board, evaluation.clusters, evaluation.metrics, tick.now)
        else:
            record.suppressed += self._add_unexplained_move(board, evaluation, tick.now)
            self._add_alerts(board, evaluation, record)
            self.downtime.finish(board, update, evaluation.in_range, self.rules, record)
        self.rules.apply(board.asset, evaluation.states, evaluation.fired, tick.now, evaluation.ended_clusters)
        return record

    # -- evaluate

    def _evaluate(self, board: AssetBoard, tick: AssetTick, update: AssetUpdate, *, late: bool) -> Evaluation:
        """Decide all rules about an asset. late: only cluster and price rules, because only prices are known."""
        new_rules = [] if late else self.rules.take_new_rules(board.asset)
        new_ids = {rule.id for rule in new_rules}
        sizes, rules, states = SizeFilter(tick), self.rules, self.rules.states
        clusters = decide(rules.pairs(tick, sizes), states, tick, new_ids, sizes)
        ended_clusters = self._end_clusters(board, tick, clusters)
        # Without samples only the path of prices is up to date.
        values = metrics_of(board, tick.now) if update.samples and not late else {}
        metric_tick = MetricTick(board.asset, tick.now, tick.path, values)
        # Changes while we were down still fire for rules that existed before.
        unseeded = {rule_id for rule_id in new_ids if rules.made_since_start(rule_id)}
        metrics = decide_metrics(rules.metric_rules(metric_tick), states, metric_tick, unseeded)
        evaluation = Evaluation(clusters, metrics, new_ids=new_ids, ended_clusters=ended_clusters)
        if not late:
            audible = [
                rule
                for rule in new_rules
                if not ended(rule, tick.now) and rules.suppression(rule, board.asset, tick.now) is None
            ]
            seeded, evaluation.in_range = seed_states(audible, states, tick)
            clusters.states |= seeded
            evaluation.events = self._market_events(board, tick, new_ids)
        return evaluation

    def _end_clusters(self, board: AssetBoard, tick: AssetTick, decisions: Decisions[ClusterFiring]) -> frozenset[str]:
        """Pass states on to clusters that replace others, and delete those of clusters that no longer exist."""
        existing = {cluster.id: cluster for cluster in (*board.tracker.live, *board.tracker.faded)}
        ended_ids = {cluster.id for cluster in tick.followed} - existing.keys()
        for old, heir in board.tracker.take_successors().items():
            ended_ids.add(old)
            if heir in existing:
                decisions.states |= self.rules.transfer_states(board.asset, old, existing[heir], decisions.states)
        stored = {(rule_id, slot) for slot in ended_ids for rule_id in self.rules.states.by_slot.get(slot, ())}
        decisions.states |= dict.fromkeys(stored | {key for key in decisions.states if key[1] in ended_ids})
        return frozenset(ended_ids)

    def _market_events(self, board: AssetBoard, tick: AssetTick, new_ids: Collection[int]) -> Decisions[EventFiring]:
        """Decide near rules about surges of liquidations and fresh ground."""
        asset, now, states, decisions = board.asset, tick.now, self.rules.states, Decisions[EventFiring]()
        near_rules = _once(lambda: self.rules.near_rules(asset, now))
        for side in SIDES:
            usd, thresholds = board.reported.usd(side, now - HOUR_MS, REPORTING), board.surge_thresholds(side)
            if usd >= min(thresholds.values(), default=math.inf):
                rules = [rule for rule in near_rules() if rule.wants(side)]
            else:
                with_state = states.by_slot.get(surge_slot(asset, side), {})
                rules = [rule for rule in self.rules.rules_by_id(with_state) if rule.concerns(asset)]
            decisions.merge(decide_surge(rules, states, asset, side, usd, thresholds, now, new_ids))
        if tick.grounds or any(fresh_slot(asset, side) in states.by_slot for side in SIDES):
            decisions.merge(decide_fresh(near_rules(), states, asset, tick.grounds, tick.path, now, new_ids))
        return decisions

    # -- suppress

    def _suppress(self, board: AssetBoard, evaluation: Evaluation, now: int) -> list[Suppressed]:
        """Remove the alerts that mutes and cool-downs suppress, and return them."""
        asset, rules = board.asset, self.rules

        def reason_of(rule: Rule) -> Reason | None:
            return rules.suppression(rule, asset, now)

        return [
            *suppress_incidents(
                evaluation.clusters,
                asset,
                lambda rule: rules.is_muted(rule, asset, now),
                lambda rule: rules.cooldown_until(rule) > now,
            ),
            *suppress(evaluation.metrics, asset, reason_of),
            *suppress(evaluation.events, asset, reason_of),
        ]

    def _add_unexplained_move(self, board: AssetBoard, evaluation: Evaluation, now: int) -> list[Suppressed]:
        """Add alerts of near rules about a large move that they have not reported. Return suppressed alerts."""
        asset, mark, rules = board.asset, board.mark, self.rules
        fired = {firing.rule.id for firing in evaluation.fired}
        suppressed: list[Suppressed] = []
        if moved(board.recent.since(now - MOVE_MS), mark, asset) is not None:
            silent = [rule for rule in rules.near_rules(asset, now) if rule.id not in fired]
            moves = decide_move(silent, rules.states, asset, board.recent, mark, now, evaluation.new_ids)
            in_summary = self.downtime.ongoing(asset)
            suppressed = suppress(
                moves, asset, lambda rule: Reason.IN_SUMMARY if in_summary else rules.suppression(rule, asset, now)
            )
            evaluation.events.merge(moves)
        fired |= {firing.rule.id for firing in evaluation.events.fired}
        near = (rule for rule in rules.rules_by_id(fired) if rule.kind == "near")
        evaluation.events.states |= {(rule.id, move_slot(asset)): RuleState(False, now, label=mark) for rule in near}
        return suppressed

    # -- life

    def clock_set_back(self, now: int) -> None:
        """Clamp times in the future to now: the clock was ahead."""
        self.downtime.clock_set_back(now)
        self.rules.clock_set_back(now)

    # -- record

    def _add_alerts(self, board: AssetBoard, evaluation: Evaluation, record: TickRecord) -> None:
        """Add alerts with their facts for all firings. Identical rules that fire at one place share facts."""
        now, asset = record.now, board.asset
        clusters, metrics, events = evaluation.clusters, evaluation.metrics, evaluation.events
        record.states |= self.downtime.held_states(asset) | evaluation.states

        def cluster_facts_of(firing: ClusterFiring) -> dict[str, Any]:
            return alert_facts(board, firing, now) | {"top_tier": firing.top_tier}

        of_cluster = _shared(_cluster_wording, cluster_facts_of)
        of_metric = _shared(_metric_wording, lambda firing: metric_facts(board, firing, now))
        of_event = _shared(_event_wording, lambda firing: event_facts(board, firing, now))
        record.alerts += [_alert(asset, f, now, of_cluster(f), once=f.rule.every_ms == ONCE) for f in clusters.fired]
        record.alerts += [_alert(asset, f, now, of_metric(f), once=f.rule.every_ms == ONCE) for f in metrics.fired]
        # A market event is never the one alert that a rule was made for.
        record.alerts += [_alert(asset, f, now, of_event(f), once=False) for f in events.fired]
        record.changes |= {f.key: of_metric(f) for f in metrics.grown}
        record.changes |= {f.key: of_event(f) for f in events.grown}


def _alert(asset: str, firing: Firing, now: int, facts: dict[str, Any], *, once: bool) -> AlertRecord:
    return AlertRecord(
        key=firing.key,
        kind=firing.kind,
        asset=asset,
        chat_id=firing.rule.chat_id,
        rule_id=firing.rule.id,
        at=now,
        facts=facts,
        opens_incident=firing.opens_incident,
        top_tier=firing.top_tier,
        once=once,
    )


F = TypeVar("F")


def _shared(key_of: Callable[[F], Any], facts_of: Callable[[F], dict[str, Any]]) -> Callable[[F], dict[str, Any]]:
    """Return a function that computes facts once per key: ten thousand rules may fire at one price."""
    by_key: dict[Any, dict[str, Any]] = {}

    def shared(firing: F) -> dict[str, Any]:
        key = key_of(firing)
        if key not in by_key:
            by_key[key] = facts_of(firing)
        return by_key[key]

    return shared


def _cluster_wording(firing: ClusterFiring) -> tuple[Any, ...]:
    return firing.kind, firing.cluster.id, firing.price, firing.rule.text, firing.notified_state


def _metric_wording(firing: MetricFiring) -> tuple[Any, ...]:
    return firing.kind, firing.rule.level, firing.value, firing.rule.text


def _event_wording(firing: EventFiring) -> tuple[Any, ...]:
    return firing.kind, firing.side, firing.level, firing.value, firing.rule.text


def _once(work: Callable[[], list[Rule]]) -> Callable[[], list[Rule]]:
    """Return a function that runs work when it is first called, and caches the result."""
    results: list[list[Rule]] = []

    def kept() -> list[Rule]:
        if not results:
            results.append(work())
        return results[0]

    return kept
