"""All active rules and their states, in memory.

Users' changes are stored before they are made here. A tick's changes are stored after it has been processed; if that
fails, the process ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from engine.alerts.cluster_rules import AssetTick, SizeFilter
from engine.alerts.index import AssetIndex
from engine.alerts.metric_rules import MetricIndex, MetricTick
from engine.alerts.near import transferred
from engine.alerts.rules import ONCE, Rule
from engine.alerts.state import Firing, RuleState, RuleStates, StateKey
from engine.alerts.suppression import Reason
from engine.liquidation.clusters import Cluster
from engine.market import SIDES

NEVER = 2**62
"""Later than any time."""


class ActiveRules:
    """Rules by id, asset and chat, their states, mutes, and which rules are new to an asset.

    Rules that are added and removed are merged into an asset's index on the asset's next tick.

    Attributes:
        states: of all rules.
        last_fired_at: UTC ms, when each rule last opened an incident whose alert was delivered or still may be.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        states: Mapping[StateKey, RuleState] | None = None,
        mutes: Mapping[tuple[int, str], int] | None = None,
        last_fired_at: Mapping[int, int] | None = None,
    ) -> None:
        self._rules: dict[int, Rule] = {}
        self._by_asset: dict[str | None, dict[int, Rule]] = {}
        self._by_chat: dict[int, dict[int, Rule]] = {}
        self.states = RuleStates(states or {})
        self._mutes = dict(mutes or {})
        self.last_fired_at = dict(last_fired_at or {})
        self._joined: list[int] = []
        self._joined_at: list[int] = []
        self._seeded: dict[str, int] = {}
        self._edits = 0
        self._indexes: dict[str, AssetIndex] = {}
        self._metrics: dict[str, MetricIndex] = {}
        self._edited: dict[str, set[int]] = {}
        for rule in rules:
            self.add(rule)
        self._at_start = frozenset(self._rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(self._rules.values())

    def for_asset(self, asset: str) -> list[Rule]:
        """Return the rules that apply to an asset: in each chat one for that asset overrides one for all of its kind.

        A rule of one side overrides that side only.
        """
        own = self._by_asset.get(asset, {})
        by_kind: dict[tuple[int, str], list[Rule]] = {}
        for rule in own.values():
            by_kind.setdefault((rule.chat_id, rule.kind), []).append(rule)
        general = self._by_asset.get(None, {}).values()
        return [*own.values(), *_not_overridden(general, by_kind)]

    def _of_chat_for(self, chat_id: int, asset: str) -> list[Rule]:
        """Return the rules of one chat that apply to an asset, with the same overrides."""
        own = [rule for rule in self.of_chat(chat_id) if rule.asset == asset]
        by_kind: dict[tuple[int, str], list[Rule]] = {}
        for rule in own:
            by_kind.setdefault((chat_id, rule.kind), []).append(rule)
        return [*own, *_not_overridden((rule for rule in self.of_chat(chat_id) if rule.asset is None), by_kind)]

    def assets(self) -> set[str]:
        """Return the assets that rules name."""
        return {asset for asset, rules in self._by_asset.items() if asset is not None and rules}

    def of_chat(self, chat_id: int) -> tuple[Rule, ...]:
        return tuple(self._by_chat.get(chat_id, {}).values())

    def rules_by_id(self, rule_ids: Iterable[int]) -> list[Rule]:
        """Return the rules of these ids that exist."""
        return [self._rules[rule_id] for rule_id in rule_ids if rule_id in self._rules]

    # -- changes by people

    def add(self, rule: Rule) -> None:
        """Add a rule unless it is paused; on its first tick for each asset its states are seeded."""
        self._edits += 1
        if rule.paused:
            return
        self._rules[rule.id] = rule
        self._by_asset.setdefault(rule.asset, {})[rule.id] = rule
        self._by_chat.setdefault(rule.chat_id, {})[rule.id] = rule
        self._note(rule)
        self._joined.append(rule.id)
        self._joined_at.append(self._edits)

    def deactivate_chat(self, chat_id: int) -> None:
        """Deactivate a chat's rules. Their states are kept for when they are added again."""
        self.deactivate(rule.id for rule in self.of_chat(chat_id))

    def deactivate(self, rule_ids: Iterable[int]) -> None:
        """Deactivate rules. Their states are kept for when they are added again."""
        self._edits += 1
        for rule_id in tuple(rule_ids):
            rule = self._rules.pop(rule_id, None)
            if rule is not None:
                del self._by_asset[rule.asset][rule_id]
                del self._by_chat[rule.chat_id][rule_id]
                self._note(rule)

    def remove(self, rule_ids: Iterable[int]) -> None:
        """Delete rules with their states."""
        removed = set(rule_ids)
        self.deactivate(removed)
        self.states.put({key: None for key in tuple(self.states) if key[0] in removed})
        for rule_id in removed:
            self.last_fired_at.pop(rule_id, None)

    def remove_chat(self, chat_id: int) -> None:
        """Delete a chat's rules with their states, and its mutes."""
        self.remove(rule.id for rule in self.of_chat(chat_id))
        self.unmute(chat_id)

    def _note(self, rule: Rule) -> None:
        """Note that a chat's rules have changed, for the indexes."""
        for asset in self._indexes if rule.asset is None else (rule.asset,):
            self._edited.setdefault(asset, set()).add(rule.chat_id)

    # -- suppression

    def mute(self, chat_id: int, asset: str, until: int) -> None:
        """Suppress an asset's alerts (`*` for all) in a chat until then."""
        self._mutes[chat_id, asset] = until

    def unmute(self, chat_id: int) -> None:
        """Remove a chat's mutes."""
        self._mutes = {key: until for key, until in self._mutes.items() if key[0] != chat_id}

    def muted(self, asset: str) -> dict[int, int]:
        """Return the chats that muted an asset, and until when, UTC ms."""
        chats: dict[int, int] = {}
        for (chat_id, muted_asset), until in self._mutes.items():
            if muted_asset in (asset, "*"):
                chats[chat_id] = max(chats.get(chat_id, 0), until)
        return chats

    def mutes_of(self, chat_id: int) -> dict[str, int]:
        """Return the assets that a chat muted (`*` for all), and until when, UTC ms."""
        return {asset: until for (chat, asset), until in self._mutes.items() if chat == chat_id}

    def unmuted_chats(self, asset: str, now: int) -> list[int]:
        """Return the chats that have a rule for an asset and have not muted it."""
        muted = self.muted(asset)
        return sorted({rule.chat_id for rule in self.for_asset(asset) if muted.get(rule.chat_id, 0) <= now})

    def cooldown_until(self, rule: Rule) -> int:
        """Return the end of a rule's cool-down, its repeat interval, UTC ms; 0 for none."""
        fired_at = self.last_fired_at.get(rule.id)
        if fired_at is None or not rule.every_ms:
            return 0
        return NEVER if rule.every_ms == ONCE else fired_at + rule.every_ms

    def is_muted(self, rule: Rule, asset: str, now: int) -> bool:
        """Return whether a rule's chat has muted an asset, or everything."""
        return any(self._mutes.get((rule.chat_id, name), 0) > now for name in (asset, "*"))

    def suppression(self, rule: Rule, asset: str, now: int) -> Reason | None:
        """Return why a rule that fires for an asset now would make no alert, or None if it would."""
        if self.is_muted(rule, asset, now):
            return Reason.MUTED
        return Reason.COOL_DOWN if self.cooldown_until(rule) > now else None

    def roll_back_fired(self, rule_id: int, expected: int | None, stored: int | None) -> None:
        """Undo that a rule has fired, because its alert was not delivered, unless it has fired again since.

        Args:
            expected: its last_fired_at as it was read before.
            stored: when it last opened an incident that still counts.
        """
        if self.last_fired_at.get(rule_id) != expected:
            return
        self.last_fired_at.pop(rule_id, None)
        if stored is not None:
            self.last_fired_at[rule_id] = stored

    # -- ticks

    def take_new_rules(self, asset: str) -> list[Rule]:
        """Return the rules whose states have not been seeded for an asset; they count as seeded from now on."""
        first = bisect_right(self._joined_at, self._seeded.get(asset, 0))
        self._seeded[asset] = self._edits
        due = dict.fromkeys(self._joined[first:])
        return [rule for rule_id in due if (rule := self._rules.get(rule_id)) is not None and rule.concerns(asset)]

    def near_rules(self, asset: str, now: int) -> list[Rule]:
        """Return the near rules that apply to an asset."""
        return [rule for rule in self.for_asset(asset) if rule.kind == "near" and not ended(rule, now)]

    def made_since_start(self, rule_id: int) -> bool:
        """Return whether a rule was made since the program started."""
        return rule_id not in self._at_start

    def pairs(self, tick: AssetTick, sizes: SizeFilter) -> list[tuple[Rule, Cluster]]:
        """Return the rules and clusters of an asset that a tick can change."""
        index, now = self._index(tick.asset), tick.now
        with_event = {event.cluster.id for event in tick.events}
        pairs = []
        for cluster in tick.followed:
            has_event = cluster.id in with_event
            rules = index.candidates(cluster, tick.path, tick.now, sizes.passes, has_event=has_event)
            if has_event and not cluster.faded_at:
                rules += index.at_cluster()
            pairs += [(rule, cluster) for rule in rules if rule.wants(cluster.side) and not ended(rule, now)]
        return pairs

    def metric_rules(self, tick: MetricTick) -> list[Rule]:
        """Return the rules about an asset's metrics that a tick can change."""
        self._index(tick.asset)
        return [rule for rule in self._metrics[tick.asset].candidates(tick) if not ended(rule, tick.now)]

    def apply(
        self,
        asset: str,
        states: Mapping[StateKey, RuleState | None],
        fired: Iterable[Firing],
        now: int,
        ended_clusters: Collection[str] = (),
    ) -> None:
        """Apply a tick's decisions about an asset.

        Args:
            states: that changed, None for those that are deleted.
            fired: rules that made an alert.
            ended_clusters: ids of clusters that no longer exist; their states are among those deleted.
        """
        self.states.put(states)
        index = self._index(asset)
        index.apply_states(states)
        self._metrics[asset].apply_states(states)
        for firing in fired:
            if firing.opens_incident:
                self.last_fired_at[firing.rule.id] = now
        index.drop_clusters(ended_clusters)

    def transfer_states(
        self, asset: str, old: str, heir: Cluster, changed: Mapping[StateKey, RuleState | None]
    ) -> dict[StateKey, RuleState | None]:
        """Return states for a cluster that replaces one with open incidents.

        Args:
            changed: states that this tick has changed already.
        """
        states: dict[StateKey, RuleState | None] = {}
        for rule_id in self.states.by_slot.get(old, {}):
            rule, key = self._rules.get(rule_id), (rule_id, heir.id)
            state = changed.get((rule_id, old), self.states.get((rule_id, old)))
            if rule is not None and rule.kind == "near" and state is not None and state.awaiting_followup:
                own = changed.get(key, self.states.get(key))
                states[key] = transferred(state, own, heir, rule.distance_for(asset))
        return states

    def clock_set_back(self, now: int) -> None:
        """Clamp times in the future to now, so that nothing waits for them."""
        self.last_fired_at = {rule_id: min(at, now) for rule_id, at in self.last_fired_at.items()}
        clamped = {
            key: replace(state, since=min(state.since, now), notified_at=min(state.notified_at, now))
            for key, state in self.states.items()
            if max(state.since, state.notified_at) > now
        }
        self.states.put(clamped)
        self._indexes.clear()
        self._metrics.clear()

    def _index(self, asset: str) -> AssetIndex:
        edited = self._edited.pop(asset, set())
        if asset not in self._indexes:
            rules = self.for_asset(asset)
            self._indexes[asset] = AssetIndex(asset, (r for r in rules if not r.is_metric), self.states.by_slot)
            self._metrics[asset] = MetricIndex(asset, rules, self.states.by_slot)
        elif edited:
            by_chat = {chat_id: self._of_chat_for(chat_id, asset) for chat_id in edited}
            metric = any(rule.is_metric for rules in by_chat.values() for rule in rules)
            if metric or edited & self._metrics[asset].chats:
                self._metrics[asset] = MetricIndex(asset, self.for_asset(asset), self.states.by_slot)
            self._indexes[asset].merge({chat: [r for r in rules if not r.is_metric] for chat, rules in by_chat.items()})
        return self._indexes[asset]


def _not_overridden(general: Iterable[Rule], by_kind: Mapping[tuple[int, str], list[Rule]]) -> list[Rule]:
    """Return the rules for all assets, limited to the sides that no rule of the asset, by chat and kind, overrides."""
    remaining = (_remaining_sides(rule, by_kind.get((rule.chat_id, rule.kind), [])) for rule in general)
    return [rule for rule in remaining if rule is not None]


def _remaining_sides(rule: Rule, overriding: Collection[Rule]) -> Rule | None:
    """Return a rule limited to the sides that no other rule covers, or None if there is none."""
    if not overriding:
        return rule
    covered = {side for other in overriding for side in SIDES if other.wants(side)}
    sides = [side for side in SIDES if rule.wants(side) and side not in covered]
    if not sides:
        return None
    return rule if len(sides) == len(SIDES) or rule.side is not None else replace(rule, side=sides[0])


def ended(rule: Rule, now: int) -> bool:
    """Return whether a rule has expired."""
    return rule.expires_at is not None and rule.expires_at <= now
