"""Access control: open, approved chats and their members, or a list. Also how the first operator claims the bot."""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import replace

from engine.chats import CLAIM_CODE, Chat
from engine.errors import InputError
from engine.ports import Store
from handlers.context import Membership, Request, Services

log = logging.getLogger(__name__)

CODE = re.compile(r"[0-9a-f]{10}")
REFUSED = "refused by the operator"
STOPPED = "stopped"
TOPIC = "/"
"""Separates a group's id from a topic's id; each topic is a chat of its own."""


KEPT_MS = 5 * 60_000
"""How long a membership answer is cached, so that not every message queries the platform."""

MAX_KEPT = 20_000
"""Maximum number of people whose membership is cached."""

ASKED_AGAIN_MS = 24 * 3_600_000


async def ensure_claim_code(store: Store, configured: bool) -> str | None:
    """Return the one-time code with which the first operator claims the bot, or None if there is one."""
    if configured or await store.operators.all():
        await store.meta.set(CLAIM_CODE, None)
        return None
    code = await store.meta.get(CLAIM_CODE)
    if code is None:
        code = secrets.token_hex(5)
        await store.meta.set(CLAIM_CODE, code)
    return code


async def claim(request: Request, code: str) -> bool:
    """Make the sender the operator and approve their chat if the code is right, which uses it up.

    Returns:
        Whether the code was right.
    """
    store = request.services.store
    if not request.user_id or not await store.operators.claim(code.strip(), request.platform, request.user_id):
        log.warning("%s: invalid operator code", request.platform)
        return False
    await store.chats.approve(request.chat.id, approved=True)
    return True


async def group_of(request: Request) -> Chat:
    """Return the current record of the group that a topic belongs to; for other chats, the chat itself."""
    chat = request.chat
    if TOPIC not in chat.remote_id:
        return chat
    over = chat.remote_id.partition(TOPIC)[0]
    return await request.services.store.chats.find(chat.platform, over) or chat


async def allowed(request: Request) -> bool:
    """Return whether a request may be answered at all."""
    mode, here = request.services.access, await group_of(request)
    if here.off_reason == REFUSED and not await request.by_operator():
        return False
    if mode == "open" or here.approved or await request.by_operator():
        return True
    if mode == "list" or request.chat.kind != "private" or not request.user_id:
        return False
    return bool(await shares_a_group(request.services, request.platform, request.membership, request.user_id))


async def shares_a_group(services: Services, platform: str, people: Membership, user_id: str) -> bool | None:
    """Return whether a person is a member of an approved group, or None if the platform does not say.

    A yes or no is cached for KEPT_MS; None is not cached.
    """
    now, key = services.wall.now(), (platform, user_id)
    cached = services.group_members.get(key)
    if cached is not None and 0 <= now - cached[0] < KEPT_MS:
        return cached[1]
    verdict: bool | None = False
    for chat in await services.store.chats.all(platform):
        if chat.approved and chat.active and chat.kind != "private" and TOPIC not in chat.remote_id:
            member = await people.is_member(chat.remote_id, user_id)
            if member:
                verdict = True
                break
            verdict = None if member is None else verdict
    if verdict is not None:
        if len(services.group_members) > MAX_KEPT:
            services.group_members.clear()
        services.group_members[key] = (now, verdict)
    return verdict


async def may_be_notified(services: Services, chat_id: int) -> bool:
    """Return whether alerts may still go to a chat. Membership is checked again once a day.

    Alerts stop if the platform reports that the person is no longer a member, and in list mode for anyone who is
    neither approved nor an operator. They go on if the platform does not answer.
    """
    now = services.wall.now()
    if services.access == "open" or 0 <= now - services.members_at.get(chat_id, 0) < ASKED_AGAIN_MS:
        return True
    chat = await services.store.chats.get(chat_id)
    people = services.people.get(chat.platform) if chat is not None else None
    if chat is None or chat.approved or chat.kind != "private" or people is None:
        return True
    if (chat.platform, chat.remote_id) in await services.store.operators.all() | services.configured_operators:
        return True
    user_id = chat.person or people.user_of(chat.remote_id)
    if user_id is None:
        return True
    if services.access == "list":
        return False
    services.group_members.pop((chat.platform, user_id), None)
    member = await shares_a_group(services, chat.platform, people, user_id)
    if member:
        services.members_at[chat_id] = now
    return member is not False


async def require_admin(request: Request) -> None:
    """Check that the sender is an admin of the chat.

    Raises:
        InputError: for everybody else.
    """
    if not await request.by_admin():
        if request.chat.kind == "channel":
            raise InputError("Only admins of this channel can do that.")
        raise InputError("Only admins of this group can do that.")


async def in_private_chat(request: Request, *, prove: bool = False) -> Request:
    """Return the request moved to the sender's private chat: alerts that a member sets in a group are private.

    Args:
        prove: send a test message there if it has no rules yet, to show that it can be reached.

    Raises:
        InputError: when the platform has no private chat with them.
    """
    if request.chat.kind == "private":
        return request
    remote_id = await request.membership.private_chat(request.user_id) if request.user_id else None
    if remote_id is None:
        raise InputError("I can't message you privately. Open a chat with me first, or /subscribe this chat.")
    store = request.services.store
    person = request.user_id if remote_id != request.user_id else ""
    chat = await store.chats.upsert(request.platform, remote_id, "private", "", request.locale, person=person)
    if prove and not await store.rules.of_chat(chat.id):
        await store.outbox.add_message(chat.id, {"kind": "test"})
        request.services.wake()
    return replace(request, chat=chat)


async def alive(request: Request) -> Request:
    """Return the request with its chat switched on: a chat that sends messages can receive them.

    Chats that were stopped or refused stay off.
    """
    chat = request.chat
    if chat.refused_since:
        await request.services.store.chats.mark_reachable(chat.id)
    if chat.active or chat.off_reason in (STOPPED, REFUSED) or not chat.id:
        return request
    await resume(request)
    return replace(request, chat=replace(chat, active=True, off_reason=""))


async def resume(request: Request) -> None:
    """Switch a chat on again and reactivate its rules.

    Raises:
        InputError: when an operator refused the chat and the sender is no operator.
    """
    if request.chat.active:
        return
    if request.chat.off_reason == REFUSED and not await request.by_operator():
        raise InputError("The operator has refused this chat.")
    await request.services.subscriptions.activate_chat(request.chat.id)


async def require_operator(request: Request) -> None:
    """Check that the sender is an operator.

    Raises:
        InputError: for everybody else.
    """
    if not await request.by_operator():
        raise InputError("Only the operator of this bot can do that.")
