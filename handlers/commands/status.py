"""/status: what is running, how old it is, what is missing."""

from __future__ import annotations

from handlers import wording
from handlers.answers import Answer
from handlers.commands.registry import command
from handlers.context import Request
from handlers.numbers import span


@command("status", "Sources, their age, and what is missing", "/status")
async def status(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # every command takes them
    """Answer /status."""
    services, now = request.services, request.now
    health = services.health()
    lines = []
    for source in health.sources:
        age = f", {span(source.age_seconds)} old" if source.age_seconds is not None else ""
        detail = f" ({source.detail})" if source.detail else ""
        lines.append(f"{wording.venue(source.venue)}: {source.state}{age}{detail}")
    maps = []
    for asset in services.assets:
        board = services.watch.boards[asset]
        days = f"{board.history_days:.0f} d" if board.ready else "no map yet"
        maps.append(f"{asset} {services.watch.set_aside.get(asset, days)}")
    lines.append("Maps: " + ", ".join(maps[:10]))
    counts = await services.store.counts()
    waiting, dead = counts.get("ready", 0) + counts.get("sending", 0), counts.get("dead", 0)
    lines.append(f"Messages: {counts.get('sent', 0)} sent, {waiting} waiting, {dead} given up")
    if health.faces:
        lines.append("Chats: " + ", ".join(f"{face} {state}" for face, state in health.faces.items()))
    if health.late_runs or health.skipped_runs:
        lines.append(f"Polls: {health.late_runs} late, {health.skipped_runs} skipped")
    well = all(source.state == "ok" for source in health.sources) and not services.watch.set_aside and not dead
    up = f", up {span((now - health.started_at) / 1000)}" if health.started_at else ""
    return Answer(f"Cliffwatch {'is well' if well else 'has trouble'}{up}", tuple(lines))
