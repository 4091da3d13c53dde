"""/admin: which chats may use the bot, and messages that could not be delivered. For its operators."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import InputError
from handlers.access import REFUSED, require_operator, resume
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
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


async def _dead(request: Request) -> Answer:
    """Messages that were given up, newest first."""
    letters = await request.services.store.dead_letters(DEAD_SHOWN)
    if not letters:
        return Answer("Nothing was given up.", private=True)
    lines = tuple(
        f"#{d.id} {d.kind} {d.asset} to {d.platform} chat {d.chat_id}, "
        f"{span(max(request.services.wall.now() - d.created_at, 0) / 1000)} ago: {d.error}"
        for d in letters[:7]
    )
    count = len(letters)
    many = f"{count} or more" if count == DEAD_SHOWN else str(count)
    buttons = (
        Button("Resend all", "/admin resend all"),
        Button(f"Resend #{letters[0].id}", f"/admin resend {letters[0].id}"),
    )
    return Answer(f"{many} message{'s' if count > 1 else ''} given up", lines, buttons=buttons, private=True)


async def _resend(request: Request, words: list[str]) -> Answer:
    """Let messages that were given up go out again; they say how late they are."""
    letters = {str(letter.id): letter for letter in await request.services.store.dead_letters(DEAD_SHOWN)}
    wanted = list(letters) if words == ["all"] else [word.lstrip("#") for word in words]
    if not wanted or not set(wanted) <= letters.keys():
        raise InputError("Say the number of a message that was given up, or all.", "/admin resend all")
    count = await request.services.store.resend([int(number) for number in wanted])
    request.services.wake()
    return Answer(f"{count} message{'s' if count != 1 else ''} will be sent again.", private=True)
