"""The only writer of rules and mutes: the store first, then the rules in memory that fire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rules import Rule
from engine.alerts.state import RuleState
from engine.ports import Store


class Subscriptions:
    """Changes of rules and mutes, and what answers ask about them."""

    def __init__(self, store: Store, rules: ActiveRules) -> None:
        self._store, self._rules = store, rules

    # -- rules

    async def replace(self, rule: Rule, max_rules: int | None = None) -> tuple[list[Rule], list[Rule]]:
        """Put a rule in the place of its chat's rules of that kind and asset. Return the new rules and the old ones.

        Raises:
            InputError: when the chat would have more than max_rules.
        """
        added, removed = await self._store.rules.replace(rule.chat_id, [rule], [rule.kind], max_rules)
        self._rules.remove([old.id for old in removed])
        self._add(added)
        return added, removed

    async def undo(self, rule_id: int) -> list[Rule]:
        """Remove a rule and put back those that it replaced. Return them."""
        restored = await self._store.rules.restore_replaced(rule_id)
        self._rules.remove([rule_id])
        self._add(restored)
        return restored

    async def remove(self, rule_ids: Sequence[int]) -> None:
        """Delete rules with their states."""
        await self._store.rules.remove(rule_ids)
        self._rules.remove(rule_ids)

    async def pause(self, rule: Rule) -> None:
        """Keep a rule without letting it fire."""
        await self._store.rules.pause(rule.id, paused=True)
        self._rules.deactivate([rule.id])

    async def resume(self, rule: Rule) -> None:
        """Let a paused rule fire again."""
        await self._store.rules.pause(rule.id, paused=False)
        self._rules.deactivate([rule.id])
        self._rules.add(replace(rule, paused=False))

    async def roll_back(self, rule_ids: Sequence[int]) -> None:
        """Undo that rules have fired, as their alert was not delivered, unless they have fired again meanwhile."""
        expected = {rule_id: self._rules.last_fired_at.get(rule_id) for rule_id in rule_ids}
        stored = await self._store.rules.last_fired(rule_ids) if rule_ids else {}
        for rule_id in rule_ids:
            self._rules.roll_back_fired(rule_id, expected[rule_id], stored.get(rule_id))

    # -- chats

    async def activate_chat(self, chat_id: int) -> list[Rule]:
        """Switch a chat on, with its rules. Return them."""
        await self._store.chats.set_active(chat_id, active=True)
        return await self.reload_chat(chat_id)

    async def reload_chat(self, chat_id: int) -> list[Rule]:
        """Add a chat's stored rules to those that fire. Return them."""
        rules = await self._store.rules.of_chat(chat_id)
        self._add(rules)
        return rules

    async def deactivate_chat(self, chat_id: int, reason: str) -> None:
        """Switch a chat off; its rules are kept."""
        await self._store.chats.set_active(chat_id, active=False, reason=reason)
        self.silence_chat(chat_id)

    def silence_chat(self, chat_id: int) -> None:
        """Stop the rules of a chat that the store has switched off already."""
        self._rules.deactivate_chat(chat_id)

    async def forget_chat(self, chat_id: int) -> int:
        """Delete everything stored about a chat. Return how many rows."""
        self._rules.remove_chat(chat_id)
        return await self._store.chats.delete(chat_id)

    async def move_chat(self, chat_id: int, remote_id: str, merged_id: int | None) -> None:
        """Give a chat a new id on its platform.

        Args:
            merged_id: our id of another chat that had the new one, whose rules the chat takes over.
        """
        await self._store.chats.move(chat_id, remote_id)
        if merged_id is not None and merged_id != chat_id:
            self._rules.remove_chat(merged_id)
            await self.reload_chat(chat_id)

    # -- mutes

    async def mute(self, chat_id: int, asset: str, until: int) -> None:
        """Suppress an asset's alerts (`*` for all) in a chat until then, UTC ms."""
        await self._store.rules.mute(chat_id, asset, until)
        self._rules.mute(chat_id, asset, until)

    async def unmute(self, chat_id: int) -> None:
        """Remove a chat's mutes."""
        await self._store.rules.unmute(chat_id)
        self._rules.unmute(chat_id)

    def mutes_of(self, chat_id: int, now: int) -> list[str]:
        """Return what a chat has muted, assets or `*` for all."""
        return [asset for asset, until in self._rules.mutes_of(chat_id).items() if until > now]

    # -- questions

    def of_chat(self, chat_id: int) -> tuple[Rule, ...]:
        """Return a chat's rules that may fire."""
        return self._rules.of_chat(chat_id)

    def cooldown_until(self, rule: Rule) -> int:
        """Return the end of a rule's cool-down, UTC ms; 0 for none."""
        return self._rules.cooldown_until(rule)

    def state(self, rule: Rule, slot: str) -> RuleState | None:
        """Return a rule's state of a cluster, a metric or a market event."""
        return self._rules.states.get((rule.id, slot))

    def _add(self, rules: Sequence[Rule]) -> None:
        for rule in rules:
            self._rules.add(rule)
