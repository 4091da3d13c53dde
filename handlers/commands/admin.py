"""/admin: which chats may use the bot. For its operators."""

from __future__ import annotations

from engine.errors import InputError
from handlers.access import require_operator
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
    await store.approve_chat(chat.id, approved=words[0] == "approve")
    done = "let in" if words[0] == "approve" else "shut out"
    return Answer(f"#{chat.id} {chat.title or chat.remote_id} is {done}.", private=True)
