"""A group or channel that cannot be written to any more: whoever subscribed it is told, once."""

from __future__ import annotations

from engine.ports import Chat
from handlers.context import Services

LOOKED_AT = 50


async def tell_subscriber(services: Services, chat: Chat) -> None:
    """Tell the last person who subscribed a chat that it is paused; nobody where that is not known."""
    for change in await services.store.changes(chat.id, LOOKED_AT):
        if change.what.startswith("/subscribe") and change.who:
            private = await services.store.see_chat(chat.platform, change.who, "private", "")
            if private.active:
                await services.store.add_message(private.id, {"kind": "lost", "chat": chat.title or chat.remote_id})
                services.wake()
            return
