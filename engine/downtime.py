"""Alerts missed while the program is down or no venue answers, and the one message about them afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.alerts.active_rules import ActiveRules
from engine.alerts.cluster_rules import ClusterFiring
from engine.alerts.metric_rules import MetricFiring
from engine.alerts.rules import Rule
from engine.alerts.state import Decisions, RuleState, StateKey
from engine.board import AssetBoard
from engine.facts import cluster_facts, source_facts
from engine.liquidation.clusters import Cluster
from engine.market import MINUTE_MS, AssetUpdate, MarketTick
from engine.messages import AlertRecord, TickRecord

STALE_MS = 5 * MINUTE_MS
"""With no market data for this long, chats that expect alerts are notified that none can fire."""


class Downtime:
    """Alerts missed during downtime, and assets without fresh data.

    Attributes:
        priced_until: UTC ms by asset, until when prices have been followed and stored.
    """

    def __init__(self) -> None:
        self.priced_until: dict[str, int] = {}
        self._since: dict[str, int] = {}
        """UTC ms by asset, when the downtime began that its next live tick ends."""

        self._stale_since: dict[str, int] = {}
        """UTC ms by asset, of the last data, if chats have been notified that there is none."""

        self._sampled_at: dict[str, int] = {}
        self._held: dict[str, dict[StateKey, RuleState | None]] = {}
        """States that late ticks changed, stored with the message about them."""

        self._missed: dict[int, list[dict[str, Any]]] = {}
        """Facts of missed alerts by chat."""

        self._missed_rules: dict[tuple[int, str], set[int]] = {}
        """Ids of rules with missed alerts, by chat and asset: the message counts against their repeat intervals."""

    def begin(self, priced_until: Mapping[str, int], stale_since: Mapping[str, int] | None = None) -> None:
        """Start up after downtime: a live feed follows, with late ticks first."""
        self.priced_until = dict(priced_until)
        self._since = dict(priced_until)
        self._stale_since = dict(stale_since or {})

    def ongoing(self, asset: str) -> bool:
        """Return whether a message about downtime is still due for an asset."""
        return asset in self._since

    @property
    def pending(self) -> bool:
        """Whether late ticks' changes are not stored yet, so that no checkpoint may be taken."""
        return any(self._held.values()) or any(self._missed.values())

    def clock_set_back(self, now: int) -> None:
        """Clamp times in the future to now."""
        for times in (self.priced_until, self._since, self._sampled_at):
            for asset, at in times.items():
                times[asset] = min(at, now)

    def drop(self, asset: str) -> None:
        """Forget an asset that is no longer followed: if it comes back, its past is no news."""
        self._missed_rules = {key: rules for key, rules in self._missed_rules.items() if key[1] != asset}
        for by_asset in (self.priced_until, self._since, self._stale_since, self._sampled_at, self._held):
            by_asset.pop(asset, None)
        self._drop_missed(asset)

    def held_states(self, asset: str) -> dict[StateKey, RuleState | None]:
        """Return the states that late ticks changed and that are not stored yet."""
        return self._held.get(asset, {})

    def committed(self, record: TickRecord) -> None:
        """Note that a tick has been stored."""
        for asset in record.priced:
            self._held.pop(asset, None)
        self.priced_until |= record.priced

    # -- no venue answers

    def watch_samples(
        self, board: AssetBoard, update: AssetUpdate, tick: MarketTick, rules: ActiveRules, record: TickRecord
    ) -> None:
        """Add alerts that an asset's data has gone stale, once per downtime."""
        asset, now = board.asset, tick.now
        if update.samples:
            self._sampled_at[asset] = now
            return
        since = self._sampled_at.get(asset, self.priced_until.get(asset, 0))
        if not tick.present or asset in self._stale_since or not board.ready or not since or now - since < STALE_MS:
            return
        self._stale_since[asset] = self._since[asset] = record.stale[asset] = since
        facts = {
            "kind": "stale",
            "asset": asset,
            "at": now,
            "since": since,
            "mark": board.mark,
            "missing": dict(board.missing),
        }
        for chat_id in rules.unmuted_chats(asset, now):
            key = f"stale/{chat_id}/{asset}/{since}"
            record.alerts.append(AlertRecord(key, "stale", asset, chat_id, None, now, facts))

    # -- missed alerts

    def collect(
        self,
        board: AssetBoard,
        clusters: Decisions[ClusterFiring],
        metrics: Decisions[MetricFiring],
        now: int,
    ) -> None:
        """Collect the alerts that rules would have fired during downtime, for the message about it.

        Their states are stored with that message: after a crash before it, the same bars are read again.
        """
        asset = board.asset
        self._held.setdefault(asset, {}).update(clusters.states | metrics.states)
        self._since.setdefault(asset, self.priced_until.get(asset, now))
        for firing in clusters.fired:
            if firing.kind == "over":
                continue  # an incident that ended without a sweep is not reported
            facts = {
                "kind": firing.kind,
                "asset": asset,
                "at": now,
                "cluster": cluster_facts(board, firing.cluster, now),
            }
            self._miss(firing.rule, asset, facts, counts=firing.opens_incident)
        for price in metrics.fired:
            self._miss(price.rule, asset, {"kind": "price", "asset": asset, "at": now, "level": price.rule.level})

    def _miss(self, rule: Rule, asset: str, facts: dict[str, Any], *, counts: bool = True) -> None:
        self._missed.setdefault(rule.chat_id, []).append(facts)
        if counts:
            self._missed_rules.setdefault((rule.chat_id, asset), set()).add(rule.id)

    def finish(
        self,
        board: AssetBoard,
        update: AssetUpdate,
        in_range: Iterable[tuple[Rule, Cluster]],
        rules: ActiveRules,
        record: TickRecord,
    ) -> None:
        """End an asset's downtime on its first live tick: add one message per chat about missed alerts.

        Late bars that trickle in while no venue has current data do not end it.
        """
        asset = board.asset
        if update.samples or asset not in self._stale_since:
            record.alerts += self._summaries(board, in_range, rules, record.now)
        if update.samples and self._stale_since.pop(asset, None) is not None:
            record.stale[asset] = None

    def _summaries(
        self, board: AssetBoard, in_range: Iterable[tuple[Rule, Cluster]], rules: ActiveRules, now: int
    ) -> list[AlertRecord]:
        """Return one message per chat: missed alerts, and clusters that are in range now.

        A chat that got the "no data" message always gets the "data is back" one.
        """
        asset = board.asset
        since = self._since.pop(asset, None)
        if since is None:
            return []
        near: dict[int, dict[str, dict[str, Any]]] = {}
        for rule, cluster in in_range:
            near.setdefault(rule.chat_id, {})[cluster.id] = cluster_facts(board, cluster, now)
        missed = {chat: [item for item in items if item["asset"] == asset] for chat, items in self._missed.items()}
        was_stale = asset in self._stale_since
        waiting = set(rules.unmuted_chats(asset, now)) if was_stale else set()
        kind = "back" if was_stale else "offline"
        alerts = []
        for chat_id in sorted({chat for chat, items in missed.items() if items} | set(near) | waiting):
            facts = {
                "kind": kind,
                "asset": asset,
                "at": now,
                "mark": board.view.mark,
                "offline_from": since,
                "offline_to": now,
                "missed": missed.get(chat_id, []),
                "in_range": list(near.get(chat_id, {}).values()),
                **source_facts(board, now),
            }
            counts_for = tuple(sorted(self._missed_rules.pop((chat_id, asset), ())))
            key = f"{kind}/{chat_id}/{asset}/{since}"
            alerts.append(AlertRecord(key, kind, asset, chat_id, None, now, facts, counts_for=counts_for))
        self._drop_missed(asset)
        return alerts

    def _drop_missed(self, asset: str) -> None:
        self._missed = {
            chat: [item for item in items if item["asset"] != asset] for chat, items in self._missed.items()
        }
