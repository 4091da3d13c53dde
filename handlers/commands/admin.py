"""/admin: which chats may use the bot. For its operators."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import InputError
from handlers.access import REFUSED, require_operator, resume
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request

EXAMPLE = "/admin approve 3"


@command(
    "admin",
    "Let chats in or out (operator)",
    EXAMPLE,
    Parameter("action", "approve or refuse, and a number"),
    hidden=True,
)
async def admin(request: Request, arguments: str) -> Answer:
    """Answer /admin [approve N | refuse N]."""
    await require_operator(request)
    if request.chat.kind != "private":
        raise InputError("That is for a private chat with me.")
    store = request.services.store
    chats = {str(chat.id): chat for chat in await store.chats()}
    words = arguments.lower().split()
    if not words:
        waiting = [chat for chat in chats.values() if not chat.approved]
        lines = tuple(f"#{c.id} {c.platform} {c.kind} {c.title[:40]}" for c in waiting[:7])
        buttons = tuple(Button(f"Let in #{c.id}", f"/admin approve {c.id}") for c in waiting[:3])
        return Answer(f"{len(waiting)} chats wait to be let in", lines, buttons=buttons, private=True)
    if len(words) != 2 or words[0] not in ("approve", "refuse") or words[1].lstrip("#") not in chats:
        raise InputError("Say approve or refuse and the number of a chat.", EXAMPLE)
    chat = chats[words[1].lstrip("#")]
    let_in = words[0] == "approve"
    await store.approve_chat(chat.id, approved=let_in)
    if not let_in:
        await store.switch_chat(chat.id, active=False, reason=REFUSED)
        request.services.watch.book.pause(chat.id)
    elif chat.off_reason == REFUSED:
        await resume(replace(request, chat=chat))
    done = "let in" if let_in else "shut out"
    return Answer(f"#{chat.id} {chat.title or chat.remote_id} is {done}.", private=True)
