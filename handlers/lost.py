"""A group or channel that cannot be written to any more: whoever subscribed it is told, once."""

from __future__ import annotations

from engine.chats import Chat
from handlers.context import Membership, Services
from handlers.delivery.dispatcher import Notice
from handlers.operators import tell_operators

LOOKED_AT = 50


async def tell_of(
    services: Services, platform: str, people: Membership | None, what: Notice, chat_id: int, error: str
) -> None:
    """Tell those whom it concerns what a platform says of a chat, or of all of them."""
    if what == "ill":
        await tell_operators(services, {"kind": "platform", "platform": platform, "state": "refusing"}, but=platform)
        return
    chat = await services.store.chat(chat_id)
    if chat is None:
        return
    if what == "back":
        for rule in await services.store.rules_of_chat(chat_id):
            services.watch.book.add(rule)
        return
    await tell_operators(services, {"kind": what, "chat": chat_id, "error": error}, but_chat=chat_id)
    if what == "refused" and chat.kind != "private" and people is not None:
        await tell_subscriber(services, chat, people, kind="waits")


async def tell_subscriber(services: Services, chat: Chat, people: Membership, *, kind: str = "lost") -> None:
    """Tell the last person who subscribed a chat that it is paused, or waits; nobody where that is not known."""
    for change in await services.store.changes(chat.id, LOOKED_AT):
        if change.what.startswith("/subscribe") and change.who:
            remote_id = await people.private_chat(change.who)
            if remote_id is None:
                return
            private = await services.store.see_chat(chat.platform, remote_id, "private", "")
            if private.active:
                await services.store.add_message(private.id, {"kind": kind, "chat": chat.title or chat.remote_id})
                services.wake()
            return
