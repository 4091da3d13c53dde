"""One tick: sample -> map -> clusters -> rules -> store."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from engine.alerts.active_rules import NEVER, ActiveRules, ended
from engine.alerts.cluster_rules import AssetTick, Decision, Sizes, StateKey, Verdict, baseline, decide
from engine.alerts.market_events import (
    MOVE_MS,
    Riding,
    RidingVerdict,
    decide_fresh,
    decide_move,
    decide_surge,
    fresh_place,
    move_place,
    moved,
    surge_place,
)
from engine.alerts.metric_rules import GROWN, ValueTick, decide_values
from engine.alerts.near import RuleState
from engine.alerts.rules import ONCE, Rule
from engine.announce import alert_facts, cluster_facts, riding_facts, source_facts, value_facts
from engine.board import AssetBoard
from engine.liquidation.prior import REPORTING
from engine.market import HOUR_MS, MINUTE_MS, SIDES, AssetUpdate, MarketTick
from engine.messages import AlertRecord, TickRecord
from engine.ports import TickStore

log = logging.getLogger(__name__)

STALE_MS = 5 * MINUTE_MS
"""Without any figure for so long, those who wait for alerts are told that none can come."""


def _told_together(_: Rule) -> int:
    """What moved while the program was down, or without figures, is in the one message of what was missed."""
    return NEVER


class Watch:
    """Boards of all assets, and the rules over them. A tick is stored in one transaction before anything is sent."""

    def __init__(self, boards: dict[str, AssetBoard], book: ActiveRules, store: TickStore) -> None:
        self.boards = boards
        self.book = book
        self.set_aside: dict[str, str] = {}
        self.priced_until: dict[str, int] = {}
        self._store = store
        self._held: dict[str, dict[StateKey, RuleState | None]] = {}
        self._missed: dict[int, list[dict[str, Any]]] = {}
        self._spoken: dict[tuple[int, str], set[int]] = {}
        """By chat and asset the rules whose moment was missed: the message that tells of it counts for them."""

        self._offline_since: dict[str, int] = {}
        self._stale_since: dict[str, int] = {}
        self._sampled_at: dict[str, int] = {}

    async def tick(self, delivered: MarketTick) -> TickRecord:
        """Take in what the feed brought and store what follows from it.

        An asset whose computation fails is set aside, said in /status, and the tick goes on with the others.

        Raises:
            StorageError: when the tick could not be stored; the process must end and start again.
        """
        record = TickRecord(delivered.now)
        for asset, update in delivered.updates.items():
            try:
                if asset in self.boards:  # a coin may be let go while its last tick is on the way
                    self._asset(asset, update, delivered, record)
                self.set_aside.pop(asset, None)
            except Exception as error:
                log.exception("the tick of %s failed and is set aside", asset)
                self.set_aside[asset] = f"{type(error).__name__} in the last tick"
        if delivered.silent or delivered.late:
            return record  # what they changed is stored with the message that tells of it, see _held
        await self._store.commit(record)
        for asset in record.priced:
            self._held.pop(asset, None)
        self.priced_until |= record.priced
        return record

    @property
    def storable(self) -> bool:
        """Whether all that the boards have seen has been stored, so that a checkpoint may be taken."""
        return not any(self._held.values()) and not any(self._missed.values())

    def _asset(self, asset: str, update: AssetUpdate, delivered: MarketTick, record: TickRecord) -> None:
        board, now, begun = self.boards[asset], delivered.now, len(record.alerts)
        tick = board.advance(update, now, silent=delivered.silent)
        if delivered.silent:
            return
        if update.samples:
            self._sampled_at[asset] = now
        elif delivered.present:
            self._without_figures(board, now, record)
        if not update.priced:
            return
        if not delivered.late:
            record.priced[asset] = now
        if tick is None:
            return
        fresh = [] if delivered.late else self.book.take_fresh(asset)
        following = {rule.id for rule in fresh}
        sizes = Sizes(tick)
        pairs = self.book.pairs(tick, sizes)
        verdict = decide(
            pairs, self.book.states, tick, self.book.muted(asset), following, sizes, self.book.resting_until
        )
        there = {cluster.id: cluster for cluster in (*board.tracker.live, *board.tracker.faded)}
        gone = {cluster.id for cluster in tick.followed} - there.keys()
        for old, heir in board.tracker.take_successors().items():
            gone.add(old)
            if heir in there:
                verdict.states |= self.book.hand_over(asset, old, there[heir], verdict.states)
        verdict.states |= self._ended(gone, verdict)
        if delivered.late:
            # Not stored before the message that tells of it: a crash until then reads the same bars again.
            self._held.setdefault(asset, {}).update(verdict.states)
            self._offline_since.setdefault(asset, self.priced_until.get(asset, now))
            self._keep_missed(board, verdict.decisions, now)
            self._keep_missed_prices(board, tick)
        else:
            heard = [r for r in fresh if not ended(r, now) and self.book.silent_until(r, asset) <= now]
            based, in_range = baseline(heard, self.book.states, tick)
            verdict.states |= based.states
            record.states |= self._held.get(asset, {}) | verdict.states
            record.alerts += self._alerts(board, verdict.decisions, now)
            self._figures(board, tick, update, following, record)
            spoken = {alert.rule_id for alert in record.alerts[begun:] if alert.rule_id is not None}
            self._ride(board, tick, following, record, spoken)
            if update.samples or asset not in self._stale_since:
                # Bars that still trickle in while no venue says what is now are not the end of it.
                record.alerts += self._catch_up(board, in_range, now)
            if update.samples and self._stale_since.pop(asset, None) is not None:
                record.stale[asset] = None
        self.book.apply(asset, verdict)
        self.book.forget_clusters(asset, gone)

    def _ended(self, gone: Collection[str], decided: Verdict) -> dict[StateKey, RuleState | None]:
        """What rules remember of clusters that are no more: to be forgotten."""
        known = {(rule_id, cluster) for cluster in gone for rule_id in self.book.states.by_cluster.get(cluster, ())}
        return dict.fromkeys(known | {key for key in decided.states if key[1] in gone})

    def _alerts(self, board: AssetBoard, decisions: Iterable[Decision], now: int) -> list[AlertRecord]:
        """Alerts of a tick; rules of one wording that fire at one place share their facts."""
        known: dict[tuple[Any, ...], dict[str, Any]] = {}
        records = []
        for d in decisions:
            same = (d.kind, d.cluster.id, d.price, d.reason, d.rule.text, d.told)
            if same not in known:
                known[same] = alert_facts(board, d, now) | {"top_tier": d.top_tier}
            rule, only = d.rule, d.rule.every_ms == ONCE
            records.append(
                AlertRecord(
                    d.key, d.kind, board.asset, rule.chat_id, rule.id, now, known[same], d.begins, d.top_tier, only
                )
            )
        return records

    def _figures(
        self, board: AssetBoard, tick: AssetTick, update: AssetUpdate, following: Collection[int], record: TickRecord
    ) -> None:
        """Rules about figures. Without samples only the path of prices is known: nothing else is now."""
        asset, now = board.asset, record.now
        seen = ValueTick(asset, now, tick.path, board.figures(now) if update.samples else {})
        rules = self.book.value_rules(seen)
        silent = partial(self.book.silent_until, asset=asset)
        # What a figure did while the program was down is news to rules that stood already.
        new = {rule_id for rule_id in following if self.book.is_new(rule_id)}
        verdict = decide_values(rules, self.book.states, seen, silent, new)
        record.states |= verdict.states
        known: dict[tuple[Any, ...], dict[str, Any]] = {}
        for d in verdict.decisions:
            # Ten thousand may wait for one price: what they are told is worked out once for each wording.
            same = (d.rule.kind, d.rule.level, d.value, d.reason, d.rule.text)
            if same not in known:
                known[same] = value_facts(board, d, now)
            facts, only = known[same], d.rule.every_ms == ONCE
            top = d.rule.kind == "cascade" and d.value >= GROWN * (d.rule.level or d.value)
            record.alerts.append(
                AlertRecord(d.key, d.rule.kind, asset, d.rule.chat_id, d.rule.id, now, facts, top_tier=top, only=only)
            )
        for d in verdict.changes:
            record.changes[d.key] = value_facts(board, d, now)
        self.book.apply_values(seen, verdict)

    def _ride(
        self, board: AssetBoard, tick: AssetTick, following: Collection[int], record: TickRecord, spoken: set[int]
    ) -> None:
        """What near rules tell of besides clusters: surges of liquidations, fresh ground, a move without a word.

        Args:
            spoken: ids of rules that had a word of the asset in this tick.
        """
        asset, now = board.asset, record.now
        silent = partial(self.book.silent_until, asset=asset)
        verdicts = []
        for side in SIDES:
            usd, thresholds = board.reported_usd(side, now - HOUR_MS, REPORTING), board.surge_thresholds(side)
            known = self.book.states.by_cluster.get(surge_place(asset, side), {})
            if usd >= min(thresholds.values(), default=math.inf):
                rules = [rule for rule in self.book.near_rules(asset, now) if rule.wants(side)]
            else:
                rules = [rule for rule in self.book.rules_by_id(known) if rule.concerns(asset)]
            states = self.book.states
            verdicts.append(decide_surge(rules, states, asset, side, usd, thresholds, now, silent, following))
        remembered = any(fresh_place(asset, side) in self.book.states.by_cluster for side in SIDES)
        if tick.grounds or remembered:
            rules = self.book.near_rules(asset, now)
            verdicts.append(
                decide_fresh(rules, self.book.states, asset, tick.grounds, tick.path, now, silent, following)
            )
        spoken |= {riding.rule.id for verdict in verdicts for riding in verdict.decisions}
        verdicts.append(self._move(board, spoken, silent, following, now))
        known_facts: dict[tuple[Any, ...], dict[str, Any]] = {}

        def facts_of(riding: Riding) -> dict[str, Any]:
            same = (riding.kind, riding.side, riding.level, riding.value, riding.rule.text)
            if same not in known_facts:
                known_facts[same] = riding_facts(board, riding, now)
            return known_facts[same]

        for verdict in verdicts:
            record.states |= verdict.states
            self.book.states.put(verdict.states)
            record.changes |= {riding.key: facts_of(riding) for riding in verdict.changes}
            for riding in verdict.decisions:
                told, rule = facts_of(riding), riding.rule
                record.alerts.append(
                    AlertRecord(
                        riding.key, riding.kind, asset, rule.chat_id, rule.id, now, told, False, riding.top_tier
                    )
                )

    def _move(
        self,
        board: AssetBoard,
        spoken: Collection[int],
        silent: Callable[[Rule], int],
        following: Collection[int],
        now: int,
    ) -> RidingVerdict:
        """A move of which near rules had no word, and which of them have one now.

        Args:
            spoken: ids of rules that had a word of the asset in this tick.
        """
        asset, mark = board.asset, board.mark
        verdict = RidingVerdict()
        if asset in self._offline_since:
            silent = _told_together
        if moved(board.recent.since(now - MOVE_MS), mark, asset) is not None:
            rules = [rule for rule in self.book.near_rules(asset, now) if rule.id not in spoken]
            verdict = decide_move(rules, self.book.states, asset, board.recent, mark, now, silent, following)
        near = (rule for rule in self.book.rules_by_id(spoken) if rule.kind == "near")
        verdict.states |= {(rule.id, move_place(asset)): RuleState(False, now, label=mark) for rule in near}
        return verdict

    def _without_figures(self, board: AssetBoard, now: int, record: TickRecord) -> None:
        """A tick on which no venue said what is now: told once when the last such figures have become old."""
        asset = board.asset
        since = self._sampled_at.get(asset, self.priced_until.get(asset, 0))
        if asset in self._stale_since or not board.ready or not since or now - since < STALE_MS:
            return
        self._stale_since[asset] = self._offline_since[asset] = record.stale[asset] = since
        facts = {
            "kind": "stale",
            "asset": asset,
            "at": now,
            "since": since,
            "mark": board.mark,
            "missing": dict(board.missing),
        }
        for chat_id in self._subscribers(asset, now):
            key = f"stale/{chat_id}/{asset}/{since}"
            record.alerts.append(AlertRecord(key, "stale", asset, chat_id, None, now, facts))

    def _subscribers(self, asset: str, now: int) -> list[int]:
        """Chats that have a rule for an asset and have not muted it."""
        muted = self.book.muted(asset)
        return sorted({r.chat_id for r in self.book.for_asset(asset) if muted.get(r.chat_id, 0) <= now})

    # -- after downtime

    def was_offline(self, priced_until: Mapping[str, int], stale_since: Mapping[str, int] | None = None) -> None:
        """A live feed follows, with late ticks: what they would have fired is told in one message a chat and asset."""
        self.priced_until = dict(priced_until)
        self._offline_since = dict(priced_until)
        self._stale_since = dict(stale_since or {})

    def clock_set_back(self, now: int) -> None:
        """Forget what is known of times that have not come yet."""
        for known in (self.priced_until, self._offline_since, self._sampled_at):
            for asset, at in known.items():
                known[asset] = min(at, now)
        self.book.clock_set_back(now)

    def forget(self, asset: str) -> None:
        """An asset is followed no more: should it come back, its past is no news."""
        self._spoken = {key: rules for key, rules in self._spoken.items() if key[1] != asset}
        for known in (self.priced_until, self._offline_since, self._stale_since, self._sampled_at, self._held):
            known.pop(asset, None)
        self._missed = {
            chat: [item for item in items if item["asset"] != asset] for chat, items in self._missed.items()
        }

    def _keep_missed(self, board: AssetBoard, decisions: Iterable[Decision], now: int) -> None:
        for decision in decisions:
            if decision.kind == "over":
                continue  # what came after the program was down says more
            missed = {
                "kind": decision.kind,
                "asset": board.asset,
                "at": now,
                "cluster": cluster_facts(board, decision.cluster, now),
            }
            self._missed.setdefault(decision.rule.chat_id, []).append(missed)
            if decision.begins:
                self._spoken.setdefault((decision.rule.chat_id, board.asset), set()).add(decision.rule.id)

    def _keep_missed_prices(self, board: AssetBoard, tick: AssetTick) -> None:
        """Prices that were reached while the program was down: told in the same message."""
        seen = ValueTick(board.asset, tick.now, tick.path, {})
        silent = partial(self.book.silent_until, asset=board.asset)
        verdict = decide_values(self.book.value_rules(seen), self.book.states, seen, silent)
        for decision in verdict.decisions:
            missed = {"kind": "price", "asset": board.asset, "at": tick.now, "level": decision.rule.level}
            self._missed.setdefault(decision.rule.chat_id, []).append(missed)
            self._spoken.setdefault((decision.rule.chat_id, board.asset), set()).add(decision.rule.id)
        self._held.setdefault(board.asset, {}).update(verdict.states)
        self.book.apply_values(seen, verdict)

    def _catch_up(self, board: AssetBoard, in_range: Iterable[tuple[Any, Any]], now: int) -> list[AlertRecord]:
        """One message a chat after a start, or after all venues were gone: what was swept meanwhile, what is in range.

        Who was told that figures were gone is told that they are back, whatever happened meanwhile.
        """
        since = self._offline_since.pop(board.asset, None)
        if since is None:
            return []
        near: dict[int, dict[str, dict[str, Any]]] = {}
        for rule, cluster in in_range:
            near.setdefault(rule.chat_id, {})[cluster.id] = cluster_facts(board, cluster, now)
        mine = {chat: [item for item in items if item["asset"] == board.asset] for chat, items in self._missed.items()}
        alerts = []
        gone = board.asset in self._stale_since
        told = set(self._subscribers(board.asset, now)) if gone else set()
        for chat_id in sorted({chat for chat, items in mine.items() if items} | set(near) | told):
            facts = {
                "kind": "back" if gone else "offline",
                "asset": board.asset,
                "at": now,
                "mark": board.view.mark,
                "offline_from": since,
                "offline_to": now,
                "missed": mine.get(chat_id, []),
                "in_range": list(near.get(chat_id, {}).values()),
                **source_facts(board, now),
            }
            key = f"{facts['kind']}/{chat_id}/{board.asset}/{since}"
            spoken = tuple(sorted(self._spoken.pop((chat_id, board.asset), ())))
            alerts.append(
                AlertRecord(key, str(facts["kind"]), board.asset, chat_id, None, now, facts, counts_for=spoken)
            )
        self._missed = {
            chat: [item for item in items if item["asset"] != board.asset] for chat, items in self._missed.items()
        }
        return alerts
