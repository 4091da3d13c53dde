"""All rules and what they remember, in memory; the store holds the same and is written first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.alerts.decide import StateKey, Verdict
from engine.alerts.near import NearState
from engine.alerts.rules import Rule


class RuleBook:
    """Rules by id, their states, who wants to hear nothing for now, and which rules still need a baseline."""

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        states: Mapping[StateKey, NearState] | None = None,
        mutes: Mapping[tuple[int, str], int] | None = None,
    ) -> None:
        self._rules = {rule.id: rule for rule in rules}
        self.states: dict[StateKey, NearState] = dict(states or {})
        self._mutes = dict(mutes or {})
        self._fresh: dict[int, set[str]] = {rule_id: set() for rule_id in self._rules}

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(self._rules.values())

    def for_asset(self, asset: str) -> list[Rule]:
        """The rules that decide about an asset: in each chat one for that asset goes before one for all of its kind."""
        own = {(rule.chat_id, rule.kind) for rule in self._rules.values() if rule.asset == asset}
        return [
            rule
            for rule in self._rules.values()
            if rule.asset == asset or (rule.asset is None and (rule.chat_id, rule.kind) not in own)
        ]

    def assets(self) -> set[str]:
        """The assets that rules name."""
        return {rule.asset for rule in self._rules.values() if rule.asset is not None}

    def of_chat(self, chat_id: int) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._rules.values() if rule.chat_id == chat_id)

    def add(self, rule: Rule) -> None:
        """Take up a rule; its first tick for each asset is a baseline."""
        self._rules[rule.id] = rule
        self._fresh[rule.id] = set()

    def pause(self, chat_id: int) -> None:
        """Let a chat's rules rest; what they remember is kept for when they are added again."""
        resting = {rule.id for rule in self.of_chat(chat_id)}
        self._rules = {rule_id: rule for rule_id, rule in self._rules.items() if rule_id not in resting}

    def remove(self, rule_ids: Iterable[int]) -> None:
        """Forget rules and what they remember."""
        gone = set(rule_ids)
        self._rules = {rule_id: rule for rule_id, rule in self._rules.items() if rule_id not in gone}
        self.states = {key: state for key, state in self.states.items() if key[0] not in gone}
        self._fresh = {rule_id: seen for rule_id, seen in self._fresh.items() if rule_id not in gone}

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
        due = [
            rule
            for rule in self._rules.values()
            if rule.concerns(asset) and asset not in self._fresh.get(rule.id, {asset})
        ]
        for rule in due:
            self._fresh[rule.id].add(asset)
        return due

    def apply(self, verdict: Verdict) -> None:
        """Remember what a tick decided, after the store has."""
        for key, state in verdict.states.items():
            if state is None:
                self.states.pop(key, None)
            else:
                self.states[key] = state
