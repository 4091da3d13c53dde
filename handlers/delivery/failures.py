"""Handles failed deliveries: re-enables rules, and notifies subscribers and operators."""

from __future__ import annotations

from engine.chats import Chat
from handlers.context import Membership, Services
from handlers.delivery.dispatcher import Notice
from handlers.operators import notify_operators

LOOKED_AT = 50


class FailureHandler:
    """Callbacks for one platform's dispatcher.

    Args:
        people: answers questions about membership there; None if the platform has none.
    """

    def __init__(self, services: Services, platform: str, people: Membership | None) -> None:
        self._services, self._platform, self._people = services, platform, people

    async def undelivered(self, message_id: int, chat_id: int | None, error: str) -> None:
        """Roll back the rules of a message that was given up, so that they may fire again, and notify operators.

        Args:
            chat_id: the chat it was for; None if operators are not to be notified, as when it merely expired.
        """
        services = self._services
        await services.subscriptions.roll_back(await services.store.alerts.rules_of_message(message_id))
        if chat_id is not None:
            facts = {"kind": "undelivered", "message": message_id, "chat": chat_id, "error": error}
            await notify_operators(services, facts, but_chat=chat_id)

    async def chat_lost(self, chat_id: int) -> None:
        """Deactivate the rules of a chat that was switched off, and notify the user who subscribed it."""
        self._services.subscriptions.silence_chat(chat_id)
        chat = await self._services.store.chats.get(chat_id)
        if chat is not None and chat.kind != "private" and self._people is not None:
            await notify_subscriber(self._services, chat, self._people)

    async def notice(self, what: Notice, chat_id: int, error: str) -> None:
        """Notify operators, and a refused chat's subscriber; put back the rules of a chat that is back."""
        services = self._services
        if what == "ill":
            facts = {"kind": "platform", "platform": self._platform, "state": "refusing"}
            await notify_operators(services, facts, but=self._platform)
            return
        chat = await services.store.chats.get(chat_id)
        if chat is None:
            return
        if what == "back":
            await services.subscriptions.reload_chat(chat_id)
            return
        await notify_operators(services, {"kind": what, "chat": chat_id, "error": error}, but_chat=chat_id)
        if what == "refused" and chat.kind != "private" and self._people is not None:
            await notify_subscriber(services, chat, self._people, kind="waits")


async def notify_subscriber(services: Services, chat: Chat, people: Membership, *, kind: str = "lost") -> None:
    """Notify the last user who subscribed a chat that it is paused, or waits, if the log names one."""
    for change in await services.store.chats.changes(chat.id, LOOKED_AT):
        if change.what.startswith("/subscribe") and change.who:
            remote_id = await people.private_chat(change.who)
            if remote_id is None:
                return
            private = await services.store.chats.upsert(chat.platform, remote_id, "private", "")
            if private.active:
                await services.store.outbox.add_message(
                    private.id, {"kind": kind, "chat": chat.title or chat.remote_id}
                )
                services.wake()
            return
