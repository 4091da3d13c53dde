"""A group or channel that cannot be written to any more: whoever subscribed it is told, once."""

from __future__ import annotations

from engine.ports import Chat
from handlers.context import Membership, Services

LOOKED_AT = 50


async def tell_subscriber(services: Services, chat: Chat, people: Membership) -> None:
    """Tell the last person who subscribed a chat that it is paused; nobody where that is not known."""
    for change in await services.store.changes(chat.id, LOOKED_AT):
        if change.what.startswith("/subscribe") and change.who:
            remote_id = await people.private_chat(change.who)
            if remote_id is None:
                return
            private = await services.store.see_chat(chat.platform, remote_id, "private", "")
            if private.active:
                await services.store.add_message(private.id, {"kind": "lost", "chat": chat.title or chat.remote_id})
                services.wake()
            return
