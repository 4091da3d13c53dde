"""/admin: approve chats, list and dismiss operators, resend dead letters. For operators only."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from engine.errors import InputError
from handlers.access import REFUSED, TOPIC, require_operator, resume
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import N_, _, n_
from handlers.numbers import span

EXAMPLE = "/admin approve 3"
DEAD_SHOWN = 100
ASKED_SHOWN = 100

log = logging.getLogger(__name__)


@command(
    "admin",
    "Approve or refuse chats (operator)",
    EXAMPLE,
    Parameter("action", "approve 3, refuse 3, operators, dismiss telegram:ID, dead, resend 17, resend all"),
    hidden=True,
    operator_only=True,
)
async def admin(request: Request, arguments: str) -> Answer:
    """Answer /admin [approve N | refuse N | operators | dismiss PLATFORM:ID | dead | resend N | resend all]."""
    await require_operator(request)
    if request.chat.kind != "private":
        raise InputError("That only works in a private chat with me.")
    store = request.services.store
    words = arguments.lower().split()
    if not words:
        return await _waiting(request)
    if words[0] in _ACTIONS:
        return await _ACTIONS[words[0]](request, words[1:])
    chats = {str(chat.id): chat for chat in await store.chats.all()}
    if len(words) != 2 or words[0] not in ("approve", "refuse") or words[1].lstrip("#") not in chats:
        raise InputError("Use approve or refuse with a chat number.", EXAMPLE)
    chat = chats[words[1].lstrip("#")]
    group_members = words[0] == "approve"
    request.services.group_members.clear()  # membership must be checked again
    topics = [other for other in chats.values() if other.remote_id.startswith(f"{chat.remote_id}{TOPIC}")]
    if group_members and not chat.approved:
        await store.outbox.add_message(chat.id, {"kind": "let_in"})
        request.services.wake()
    for one in (chat, *topics):
        await store.chats.approve(one.id, approved=group_members)
        if not group_members:
            await request.services.subscriptions.deactivate_chat(one.id, REFUSED)
        elif one.off_reason == REFUSED:
            await resume(replace(request, chat=one))
    done = N_("#{number} {chat} approved.") if group_members else N_("#{number} {chat} refused.")
    return Answer(_(done, number=chat.id, chat=chat.title or chat.remote_id), private=True)


async def _waiting(request: Request) -> Answer:
    """List the chats that asked for access and are not approved, the latest request first."""
    waiting = await request.services.store.chats.waiting_for_approval(ASKED_SHOWN)
    lines = tuple(f"#{c.id} {c.platform} {c.kind} {c.title[:40]}" for c in waiting[:7])
    buttons = tuple(Button(_("Approve #{number}", number=c.id), f"/admin approve {c.id}") for c in waiting[:3])
    head = n_("{count} chat waiting for approval", "{count} chats waiting for approval", len(waiting))
    return Answer(head, lines, buttons=buttons, private=True)


async def _operators(request: Request, words: list[str]) -> Answer:  # noqa: ARG001  # every action takes them
    """List the operators: those who claimed the bot and those named in its settings."""
    configured = request.services.configured_operators
    all_operators = sorted(await request.services.store.operators.all() | configured)
    lines = tuple(
        _("{operator}, set in CLIFFWATCH_OPERATORS", operator=f"{platform}:{user_id}")
        if (platform, user_id) in configured
        else f"{platform}:{user_id}"
        for platform, user_id in all_operators
    )
    return Answer(n_("{count} operator", "{count} operators", len(all_operators)), lines, private=True)


async def _dismiss(request: Request, words: list[str]) -> Answer:
    """Remove an operator. The last one always stays."""
    services = request.services
    platform, _separator, user_id = words[0].partition(":") if len(words) == 1 else ("", "", "")
    all_operators = await services.store.operators.all() | services.configured_operators
    if (platform, user_id) not in all_operators:
        raise InputError("Name an operator as listed by /admin operators.", "/admin dismiss telegram:123456")
    if (platform, user_id) in services.configured_operators:
        raise InputError("That operator is set in CLIFFWATCH_OPERATORS. Remove them there.")
    others = bool(services.configured_operators)
    if not await services.store.operators.remove(platform, user_id, may_be_last=others):
        raise InputError("That's the only operator. Add another in CLIFFWATCH_OPERATORS first.")
    log.warning("operator %s was removed by %s:%s", words[0], request.platform, request.user_id)
    return Answer(_("{operator} is no longer an operator.", operator=f"{platform}:{user_id}"), private=True)


async def _dead(request: Request, words: list[str]) -> Answer:  # noqa: ARG001
    """List the dead letters, newest first."""
    letters = await request.services.store.outbox.dead_letters(DEAD_SHOWN)
    if not letters:
        return Answer(_("No failed messages."), private=True)
    lines = tuple(
        _(
            "#{number} {kind} {asset} to {platform} chat {chat}, {span} ago: {error}",
            number=d.id,
            kind=d.kind,
            asset=d.asset,
            platform=d.platform,
            chat=d.chat_id,
            span=span(max(request.services.wall.now() - d.created_at, 0) / 1000),
            error=d.error,
        )
        for d in letters[:7]
    )
    count = len(letters)
    buttons = (
        Button(_("Resend all"), "/admin resend all"),
        Button(_("Resend #{number}", number=letters[0].id), f"/admin resend {letters[0].id}"),
    )
    head = (
        _("{count} or more failed messages", count=count)
        if count == DEAD_SHOWN
        else n_("{count} failed message", "{count} failed messages", count)
    )
    return Answer(head, lines, buttons=buttons, private=True)


async def _resend(request: Request, words: list[str]) -> Answer:
    """Requeue dead letters. When sent, they show how late they are."""
    letters = {str(letter.id): letter for letter in await request.services.store.outbox.dead_letters(DEAD_SHOWN)}
    wanted = list(letters) if words == ["all"] else [word.lstrip("#") for word in words]
    if not wanted or not set(wanted) <= letters.keys():
        raise InputError("Give the number of a failed message, or all.", "/admin resend all")
    count = await request.services.store.outbox.resend([int(number) for number in wanted])
    request.services.wake()
    head = n_("{count} message will be sent again.", "{count} messages will be sent again.", count)
    return Answer(head, private=True)


_ACTIONS: dict[str, Callable[[Request, list[str]], Awaitable[Answer]]] = {
    "operators": _operators,
    "dismiss": _dismiss,
    "dead": _dead,
    "resend": _resend,
}
