"""/settings, /history and /forget: what a chat has set, what it was told, and the end of all of it."""

from __future__ import annotations

from engine.alerts.policy import quiet_text
from engine.history import iso
from handlers.access import require_admin
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request

SHOWN = 7
SURE = "yes"


@command("settings", "What this chat has set", "/settings")
async def settings(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # takes none
    """Answer /settings."""
    chat, services = request.chat, request.services
    rules = await services.store.rules_of_chat(chat.id)
    wishes = chat.wishes
    mutes = [
        "everything" if asset == "*" else asset
        for asset, until in services.watch.book.mutes_of(chat.id).items()
        if until > request.now
    ]
    quiet = f"{quiet_text(wishes.quiet)}{', the largest come' if wishes.loud else ''}" if wishes.quiet else "none"
    return Answer(
        f"{len(rules)} alert{'s' if len(rules) != 1 else ''} set here",
        (
            f"Quiet hours: {quiet} ({wishes.timezone})",
            f"At most {wishes.cap} messages with alerts a day",
            f"Muted: {', '.join(mutes) or 'nothing'}",
            "Messages: on" if chat.active else "Messages: off, /start takes up again",
        ),
        buttons=(Button("My alerts", "/alerts"), Button("Quiet hours", "/quiet"), Button("History", "/history")),
    )


@command("history", "What this chat was told last", "/history")
async def history(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # takes none
    """Answer /history."""
    rows = await request.services.store.told_lately(request.chat.id, SHOWN)
    if not rows:
        return Answer("Nothing was told here yet.", buttons=(Button("My alerts", "/alerts"),))
    lines = tuple(f"{iso(row.at)[5:16].replace('T', ' ')} {row.asset} {row.kind}: {row.fate}" for row in rows)
    return Answer(
        f"The last {len(rows)} alert{'s' if len(rows) != 1 else ''} here, times in UTC",
        lines,
        buttons=(Button("My alerts", "/alerts"),),
    )


@command("forget", "Delete all that is kept of this chat", "/forget", Parameter("sure", "yes"))
async def forget(request: Request, arguments: str) -> Answer:
    """Answer /forget [yes]."""
    await require_admin(request, "have it forgotten")
    if arguments.strip().lower() != SURE:
        return Answer(
            "Delete all alerts, settings and waiting messages of this chat?",
            ("It cannot be undone. Copies that the operator made of the database are not reached by it.",),
            buttons=(Button("Delete it all", f"/forget {SURE}"),),
        )
    services, chat = request.services, request.chat
    services.watch.book.forget(chat.id)
    count = await services.store.forget_chat(chat.id)
    return Answer(f"Forgotten: {count} rows of this chat are deleted.", ("/start begins anew.",))
