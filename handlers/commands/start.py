"""/start, /help and /stop: the first minute, the words, and the way out."""

from __future__ import annotations

from engine.errors import CliffwatchError
from handlers import wording
from handlers.access import CODE, STOPPED, allowed, claim, require_admin, resume
from handlers.answers import Answer, Button
from handlers.commands.liq import liq
from handlers.commands.registry import THEMES, Parameter, command, find_command
from handlers.context import Request


@command(
    "start",
    "What this is, the nearest clusters, a test alert",
    "/start",
    Parameter("code", "The operator's code"),
)
async def start(request: Request, arguments: str) -> Answer:
    """Answer /start [code]: explain in three lines, show the nearest clusters, send a test alert."""
    code = arguments if CODE.fullmatch(arguments) else ""  # links into groups send other words here
    claimed = bool(code) and await claim(request, code)
    if not claimed and not await allowed(request):
        lines = [f"Its operator can let this chat in: /admin approve {request.chat.id}"]
        if code:
            lines.insert(0, "That code is not valid.")
        return Answer("Cliffwatch. This bot is private.", tuple(lines), private=True)
    services = request.services
    if await request.by_admin():
        await resume(request)
        await services.store.add_message(request.chat.id, {"kind": "test"})
        services.wake()
    lines = [
        "I warn before price reaches levels where leveraged positions are forced out.",
        f"Watching {', '.join(services.assets[:8])}. Every figure says how old and how sure it is.",
        f"{wording.DISCLAIMER} A test alert follows.",
    ]
    try:
        lines.append((await liq(request, "")).headline)
    except CliffwatchError as error:
        lines.append(str(error))
    if claimed:
        lines.insert(0, "You are now the operator of this bot.")
    return Answer(
        "Cliffwatch: where leveraged positions break",
        tuple(lines),
        buttons=(
            Button("Alert me", "/threshold normal"),
            Button("Clusters", "/clusters"),
            Button("Map", "/map"),
            Button("Help", "/help"),
        ),
    )


@command("help", "All commands, or one", "/help liq", Parameter("command", "Its name"))
async def help_(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # every command takes both
    """Answer /help [command]."""
    if arguments:
        found = find_command(arguments.split(maxsplit=1)[0].lstrip("/").lower())
        words = [f"{p.name}: {p.help}" for p in found.parameters]
        return Answer(f"/{found.name}: {found.help}", (*words, f"Example: {found.example}"))
    lines = tuple(f"{theme}: {' '.join(f'/{name}' for name in names)}" for theme, names in THEMES.items())
    return Answer("What I answer", (*lines, "/help liq says more of one."), footer=wording.DISCLAIMER)


@command("stop", "No more alerts here", "/stop")
async def stop(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # every command takes them
    """Answer /stop: switch the chat off; its rules are kept for /start."""
    await require_admin(request, "stop it")
    rules = await request.services.store.rules_of_chat(request.chat.id)
    await request.services.store.switch_chat(request.chat.id, active=False, reason=STOPPED)
    request.services.watch.book.pause(request.chat.id)
    kept = f"{len(rules)} alert{'s are' if len(rules) > 1 else ' is'} kept." if rules else ""
    return Answer(
        "Stopped: nothing more is sent here.",
        tuple(line for line in (f"{kept} /start takes up again.".strip(),)),
    )
