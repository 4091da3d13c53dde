"""Private messages to the operators, on the platforms that work."""

from __future__ import annotations

from typing import Any

from engine.chats import Chat
from handlers.context import Services


async def chats_of_operators(services: Services, but: str = "") -> list[Chat]:
    """Return the operators' private chats that can receive messages.

    Args:
        but: a platform to leave out, because it is the one with the problem.
    """
    chats = []
    for platform, user_id in sorted(await services.store.operators.all() | services.configured_operators):
        if platform == but:
            continue
        people = services.people.get(platform)
        remote_id = await people.private_chat(user_id) if people is not None else user_id
        chat = await services.store.chats.find(platform, remote_id) if remote_id else None
        if chat is not None and chat.active:
            chats.append(chat)
    return chats


async def notify_operators(
    services: Services, facts: dict[str, Any], *, but: str = "", but_chat: int | None = None
) -> int:
    """Queue a message to the operators. Return the number of chats it goes to.

    Args:
        but: a platform to leave out.
        but_chat: id of a chat to leave out.
    """
    chats = [chat for chat in await chats_of_operators(services, but) if chat.id != but_chat]
    for chat in chats:
        await services.store.outbox.add_message(chat.id, facts)
    services.wake()
    return len(chats)
