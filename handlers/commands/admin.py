"""/admin: which chats may use the bot, and messages that could not be delivered. For its operators."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import InputError
from handlers.access import REFUSED, TOPIC, require_operator, resume
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.language import N_, _, n_
from handlers.numbers import span

EXAMPLE = "/admin approve 3"
DEAD_SHOWN = 100


@command(
    "admin",
    "Let chats in or out (operator)",
    EXAMPLE,
    Parameter("action", "approve or refuse and a number, dead, or resend and a number or all"),
    hidden=True,
)
async def admin(request: Request, arguments: str) -> Answer:
    """Answer /admin [approve N | refuse N | dead | resend N | resend all]."""
    await require_operator(request)
    if request.chat.kind != "private":
        raise InputError("That is for a private chat with me.")
    store = request.services.store
    chats = {str(chat.id): chat for chat in await store.chats()}
    words = arguments.lower().split()
    if words[:1] == ["dead"]:
        return await _dead(request)
    if words[:1] == ["resend"]:
        return await _resend(request, words[1:])
    if not words:
        waiting = [chat for chat in chats.values() if not chat.approved]
        lines = tuple(f"#{c.id} {c.platform} {c.kind} {c.title[:40]}" for c in waiting[:7])
        buttons = tuple(Button(_("Let in #{number}", number=c.id), f"/admin approve {c.id}") for c in waiting[:3])
        head = n_("{count} chat waits to be let in", "{count} chats wait to be let in", len(waiting))
        return Answer(head, lines, buttons=buttons, private=True)
    if len(words) != 2 or words[0] not in ("approve", "refuse") or words[1].lstrip("#") not in chats:
        raise InputError("Say approve or refuse and the number of a chat.", EXAMPLE)
    chat = chats[words[1].lstrip("#")]
    let_in = words[0] == "approve"
    request.services.let_in.clear()  # its members are asked for anew
    topics = [other for other in chats.values() if other.remote_id.startswith(f"{chat.remote_id}{TOPIC}")]
    for one in (chat, *topics):
        await store.approve_chat(one.id, approved=let_in)
        if not let_in:
            await store.switch_chat(one.id, active=False, reason=REFUSED)
            request.services.watch.book.pause(one.id)
        elif one.off_reason == REFUSED:
            await resume(replace(request, chat=one))
    done = N_("#{number} {chat} is let in.") if let_in else N_("#{number} {chat} is shut out.")
    return Answer(_(done, number=chat.id, chat=chat.title or chat.remote_id), private=True)


async def _dead(request: Request) -> Answer:
    """Messages that were given up, newest first."""
    letters = await request.services.store.dead_letters(DEAD_SHOWN)
    if not letters:
        return Answer(_("Nothing was given up."), private=True)
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
        _("{count} messages or more given up", count=count)
        if count == DEAD_SHOWN
        else n_("{count} message given up", "{count} messages given up", count)
    )
    return Answer(head, lines, buttons=buttons, private=True)


async def _resend(request: Request, words: list[str]) -> Answer:
    """Let messages that were given up go out again; they say how late they are."""
    letters = {str(letter.id): letter for letter in await request.services.store.dead_letters(DEAD_SHOWN)}
    wanted = list(letters) if words == ["all"] else [word.lstrip("#") for word in words]
    if not wanted or not set(wanted) <= letters.keys():
        raise InputError("Say the number of a message that was given up, or all.", "/admin resend all")
    count = await request.services.store.resend([int(number) for number in wanted])
    request.services.wake()
    head = n_("{count} message will be sent again.", "{count} messages will be sent again.", count)
    return Answer(head, private=True)
