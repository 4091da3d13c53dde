"""All rules and what they remember, in memory; the store holds the same and is written first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from engine.alerts.cluster_rules import AssetTick, Sizes, StateKey, Verdict
from engine.alerts.index import AssetIndex
from engine.alerts.metric_rules import ValueIndex, ValueTick, ValueVerdict
from engine.alerts.near import RuleState, handed_over
from engine.alerts.rules import ONCE, Rule
from engine.liquidation.clusters import Cluster
from engine.market import SIDES

NEVER = 2**62
"""Later than any time."""


class RuleStates(Mapping[StateKey, RuleState]):
    """What rules remember of clusters, kept by cluster."""

    def __init__(self, of: Mapping[StateKey, RuleState]) -> None:
        self.by_cluster: dict[str, dict[int, RuleState]] = {}
        self.put(of)

    def __getitem__(self, key: StateKey) -> RuleState:
        return self.by_cluster[key[1]][key[0]]

    def get(self, key: StateKey, default: RuleState | None = None) -> RuleState | None:  # type: ignore[override]
        return self.by_cluster.get(key[1], {}).get(key[0], default)

    def __iter__(self) -> Iterator[StateKey]:
        return ((rule_id, cluster) for cluster, rows in self.by_cluster.items() for rule_id in rows)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.by_cluster.values())

    def put(self, changed: Mapping[StateKey, RuleState | None]) -> None:
        """Take up new states; None forgets one."""
        for (rule_id, cluster_id), state in changed.items():
            if state is not None:
                self.by_cluster.setdefault(cluster_id, {})[rule_id] = state
            elif cluster_id in self.by_cluster:
                self.by_cluster[cluster_id].pop(rule_id, None)
                if not self.by_cluster[cluster_id]:
                    del self.by_cluster[cluster_id]


class ActiveRules:
    """Rules by id, asset and chat, their states, who wants to hear nothing for now, and who still needs a baseline.

    What is added and removed is merged into an asset's index when the asset's next tick asks for it.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        states: Mapping[StateKey, RuleState] | None = None,
        mutes: Mapping[tuple[int, str], int] | None = None,
        told_at: Mapping[int, int] | None = None,
    ) -> None:
        self._rules: dict[int, Rule] = {}
        self._by_asset: dict[str | None, dict[int, Rule]] = {}
        self._by_chat: dict[int, dict[int, Rule]] = {}
        self.states = RuleStates(states or {})
        self._mutes = dict(mutes or {})
        self.told_at = dict(told_at or {})
        """When each rule last began a story that was told or still may be, UTC ms."""
        self._joined: list[int] = []
        self._joined_at: list[int] = []
        self._based: dict[str, int] = {}
        self._edits = 0
        self._indexes: dict[str, AssetIndex] = {}
        self._values: dict[str, ValueIndex] = {}
        self._edited: dict[str, set[int]] = {}
        for rule in rules:
            self.add(rule)
        self._known = frozenset(self._rules)
        """Rules that were there when the program started."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(self._rules.values())

    def for_asset(self, asset: str) -> list[Rule]:
        """The rules that decide about an asset: in each chat one for that asset goes before one for all of its kind.

        A rule of one side stands in the place of that side only.
        """
        own = self._by_asset.get(asset, {})
        taken: dict[tuple[int, str], list[Rule]] = {}
        for rule in own.values():
            taken.setdefault((rule.chat_id, rule.kind), []).append(rule)
        kept = []
        for rule in self._by_asset.get(None, {}).values():
            before = taken.get((rule.chat_id, rule.kind))
            rest = rule if before is None else _uncovered(rule, before)
            if rest is not None:
                kept.append(rest)
        return [*own.values(), *kept]

    def _of_chat_for(self, chat_id: int, asset: str) -> list[Rule]:
        """The same for one chat."""
        mine = self._by_chat.get(chat_id, {}).values()
        own = [rule for rule in mine if rule.asset == asset]
        everywhere = [rule for rule in mine if rule.asset is None]
        rest = (_uncovered(rule, [other for other in own if other.kind == rule.kind]) for rule in everywhere)
        return [*own, *(rule for rule in rest if rule is not None)]

    def assets(self) -> set[str]:
        """The assets that rules name."""
        return {asset for asset, rules in self._by_asset.items() if asset is not None and rules}

    def of_chat(self, chat_id: int) -> tuple[Rule, ...]:
        return tuple(self._by_chat.get(chat_id, {}).values())

    def add(self, rule: Rule) -> None:
        """Take up a rule that does not rest; its first tick for each asset is a baseline."""
        self._edits += 1
        if rule.paused:
            return
        self._rules[rule.id] = rule
        self._by_asset.setdefault(rule.asset, {})[rule.id] = rule
        self._by_chat.setdefault(rule.chat_id, {})[rule.id] = rule
        self._note(rule)
        self._joined.append(rule.id)
        self._joined_at.append(self._edits)

    def pause(self, chat_id: int) -> None:
        """Let a chat's rules rest; what they remember is kept for when they are added again."""
        self.rest(rule.id for rule in self.of_chat(chat_id))

    def forget(self, chat_id: int) -> None:
        """Forget a chat: its rules, what they remember, and what it muted."""
        self.remove(rule.id for rule in self.of_chat(chat_id))
        self.unmute(chat_id)

    def rest(self, rule_ids: Iterable[int]) -> None:
        """Let rules rest; what they remember is kept for when they are added again."""
        self._drop(tuple(rule_ids))

    def resting_until(self, rule: Rule) -> int:
        """Until when a rule begins no story, UTC ms, because it told one: its own wish."""
        told = self.told_at.get(rule.id)
        if told is None or not rule.every_ms:
            return 0
        return NEVER if rule.every_ms == ONCE else told + rule.every_ms

    def silent_until(self, rule: Rule, asset: str) -> int:
        """The same, with what its chat muted."""
        muted = (self._mutes.get((rule.chat_id, name), 0) for name in (asset, "*"))
        return max(self.resting_until(rule), *muted)

    def remove(self, rule_ids: Iterable[int]) -> None:
        """Forget rules and what they remember."""
        gone = set(rule_ids)
        self._drop(gone)
        self.states.put({key: None for key in tuple(self.states) if key[0] in gone})
        for rule_id in gone:
            self.told_at.pop(rule_id, None)

    def _drop(self, rule_ids: Iterable[int]) -> None:
        self._edits += 1
        for rule_id in tuple(rule_ids):
            rule = self._rules.pop(rule_id, None)
            if rule is not None:
                del self._by_asset[rule.asset][rule_id]
                del self._by_chat[rule.chat_id][rule_id]
                self._note(rule)

    def _note(self, rule: Rule) -> None:
        """A chat's rules have changed: its indexes take that up when they are next asked."""
        for asset in self._indexes if rule.asset is None else (rule.asset,):
            self._edited.setdefault(asset, set()).add(rule.chat_id)

    def mute(self, chat_id: int, asset: str, until: int) -> None:
        """Say nothing of an asset (`*` for all) to a chat until then."""
        self._mutes[chat_id, asset] = until

    def muted(self, asset: str) -> dict[int, int]:
        """Chats to the time until which they want to hear nothing of an asset."""
        found: dict[int, int] = {}
        for (chat_id, muted_asset), until in self._mutes.items():
            if muted_asset in (asset, "*"):
                found[chat_id] = max(found.get(chat_id, 0), until)
        return found

    def unmute(self, chat_id: int) -> None:
        """Let a chat hear everything again."""
        self._mutes = {key: until for key, until in self._mutes.items() if key[0] != chat_id}

    def mutes_of(self, chat_id: int) -> dict[str, int]:
        """Assets (`*` for all) to the time until which a chat wants to hear nothing."""
        return {asset: until for (chat, asset), until in self._mutes.items() if chat == chat_id}

    def take_fresh(self, asset: str) -> list[Rule]:
        """The rules that have not had their baseline for an asset; they have it now."""
        first = bisect_right(self._joined_at, self._based.get(asset, 0))
        self._based[asset] = self._edits
        due = dict.fromkeys(self._joined[first:])
        return [rule for rule_id in due if (rule := self._rules.get(rule_id)) is not None and rule.concerns(asset)]

    def near_rules(self, asset: str, now: int) -> list[Rule]:
        """The near rules that decide about an asset."""
        return [rule for rule in self.for_asset(asset) if rule.kind == "near" and not ended(rule, now)]

    def rules_by_id(self, rule_ids: Iterable[int]) -> list[Rule]:
        """The rules of some ids that are there."""
        return [self._rules[rule_id] for rule_id in rule_ids if rule_id in self._rules]

    def is_new(self, rule_id: int) -> bool:
        """Whether a rule was made since the program started."""
        return rule_id not in self._known

    def pairs(self, tick: AssetTick, sizes: Sizes) -> list[tuple[Rule, Cluster]]:
        """The rules and clusters of an asset that a tick can change."""
        index, now = self._index(tick.asset), tick.now
        marked = {mark.cluster.id for mark in tick.marks}
        found = []
        for cluster in tick.followed:
            rules = index.candidates(cluster, tick.path, tick.now, sizes.enough, marked=cluster.id in marked)
            if cluster.id in marked and not cluster.faded_at:
                rules += index.at_cluster()
            found += [(rule, cluster) for rule in rules if rule.wants(cluster.side) and not ended(rule, now)]
        return found

    def value_rules(self, tick: ValueTick) -> list[Rule]:
        """The rules about an asset's figures that a tick can change."""
        self._index(tick.asset)
        return [rule for rule in self._values[tick.asset].candidates(tick) if not ended(rule, tick.now)]

    def apply(self, asset: str, verdict: Verdict) -> None:
        """Remember what a tick decided, after the store has."""
        self.states.put(verdict.states)
        self._index(asset).settle(verdict.states)
        for decision in verdict.decisions:
            if decision.begins:
                self.told_at[decision.rule.id] = verdict.now

    def apply_values(self, tick: ValueTick, verdict: ValueVerdict) -> None:
        """The same for rules about figures."""
        self.states.put(verdict.states)
        self._index(tick.asset)
        self._values[tick.asset].settle(verdict.states)
        for decision in verdict.decisions:
            self.told_at[decision.rule.id] = tick.now

    def hand_over(
        self, asset: str, old: str, heir: Cluster, changed: Mapping[StateKey, RuleState | None]
    ) -> dict[StateKey, RuleState | None]:
        """What rules remember of a cluster once it has taken the place of one that some of them told of.

        Args:
            changed: what they remember since this tick.
        """
        found: dict[StateKey, RuleState | None] = {}
        for rule_id in self.states.by_cluster.get(old, {}):
            rule, key = self._rules.get(rule_id), (rule_id, heir.id)
            told = changed.get((rule_id, old), self.states.get((rule_id, old)))
            if rule is not None and rule.kind == "near" and told is not None and told.fired:
                known = changed.get(key, self.states.get(key))
                found[key] = handed_over(told, known, heir, rule.distance_for(asset))
        return found

    def roll_back_told(self, rule_id: int, known: int | None, stored: int | None) -> None:
        """Forget when a rule last told something, as it was not delivered, unless a tick told more meanwhile.

        Args:
            known: when that was, as it was read before. stored: when it last told something that still counts.
        """
        if self.told_at.get(rule_id) != known:
            return
        self.told_at.pop(rule_id, None)
        if stored is not None:
            self.told_at[rule_id] = stored

    def forget_clusters(self, asset: str, cluster_ids: Iterable[str]) -> None:
        """Clusters of an asset are no more; what was remembered of them is already forgotten."""
        self._index(asset).forget(cluster_ids)

    def clock_set_back(self, now: int) -> None:
        """Take what is remembered of times that have not come yet as of now: nothing waits for them."""
        self.told_at = {rule_id: min(at, now) for rule_id, at in self.told_at.items()}
        later = {
            key: replace(state, since=min(state.since, now), told_at=min(state.told_at, now))
            for key, state in self.states.items()
            if max(state.since, state.told_at) > now
        }
        self.states.put(later)
        self._indexes.clear()
        self._values.clear()

    def _index(self, asset: str) -> AssetIndex:
        edited = self._edited.pop(asset, set())
        if asset not in self._indexes:
            rules = self.for_asset(asset)
            self._indexes[asset] = AssetIndex(asset, (r for r in rules if not r.of_values), self.states.by_cluster)
            self._values[asset] = ValueIndex(asset, rules, self.states.by_cluster)
        elif edited:
            wanted = {chat_id: self._of_chat_for(chat_id, asset) for chat_id in edited}
            of_values = {rule.id for rules in wanted.values() for rule in rules if rule.of_values}
            if of_values or edited & self._values[asset].chats:
                self._values[asset] = ValueIndex(asset, self.for_asset(asset), self.states.by_cluster)
            clusters = {chat_id: [r for r in rules if not r.of_values] for chat_id, rules in wanted.items()}
            self._indexes[asset].merge(clusters)
        return self._indexes[asset]


def _uncovered(rule: Rule, before: Iterable[Rule]) -> Rule | None:
    """A rule for all coins as far as no rule of one coin stands in its place; None where nothing of it is left."""
    covered = {side for other in before for side in SIDES if other.wants(side)}
    left = [side for side in SIDES if rule.wants(side) and side not in covered]
    if not left:
        return None
    return rule if len(left) == len(SIDES) or rule.side is not None else replace(rule, side=left[0])


def ended(rule: Rule, now: int) -> bool:
    """Whether a rule's end has come."""
    return rule.expires_at is not None and rule.expires_at <= now
