"""What follows when a message was given up: its rules may speak again, and the operators are told."""

from __future__ import annotations

from handlers.context import Services
from handlers.operators import tell_operators


class Undelivered:
    """Called by dispatchers for each message that was given up."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, message_id: int, chat_id: int | None, error: str) -> None:
        """Take a message's end up.

        Args:
            chat_id: where it should have gone; None for what was merely too late, which operators are not told.
        """
        services = self._services
        rules = await services.store.rules_of_message(message_id)
        known, book = {rule_id: services.watch.book.told_at.get(rule_id) for rule_id in rules}, services.watch.book
        told = await services.store.last_told(rules) if rules else {}
        for rule_id in rules:
            if book.told_at.get(rule_id) == known[rule_id]:  # a tick may have told something meanwhile
                book.told_at.pop(rule_id, None)
                if rule_id in told:
                    book.told_at[rule_id] = told[rule_id]
        if chat_id is not None:
            facts = {"kind": "undelivered", "message": message_id, "chat": chat_id, "error": error}
            await tell_operators(services, facts, but_chat=chat_id)
