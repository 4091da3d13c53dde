"""/status: what is running, how old it is, what is missing."""

from __future__ import annotations

from handlers import wording
from handlers.answers import Answer
from handlers.commands.registry import command
from handlers.context import Request, SourceState
from handlers.numbers import span


@command("status", "Sources, their age, and what is missing", "/status")
async def status(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # every command takes them
    """Answer /status."""
    services, now = request.services, request.now
    health = services.health()
    lines = []
    lines += [_source(source) for source in health.sources]
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
    if health.clock_set_back:
        lines.append(f"The machine's clock was set back {health.clock_set_back} times; mine went on at half speed")
    if health.prices_refused:
        lines.append(f"Prices refused as far from the other venues': {health.prices_refused}")
    well = all(source.state == "ok" for source in health.sources) and not services.watch.set_aside and not dead
    up = f", up {span((now - health.started_at) / 1000)}" if health.started_at else ""
    return Answer(f"Cliffwatch {'is well' if well else 'has trouble'}{up}", tuple(lines))


def _source(source: SourceState) -> str:
    """One venue in a line: state, age, what is wrong, what it costs."""
    parts = [source.state]
    if source.age_seconds is not None:
        parts.append(f"{span(max(source.age_seconds, 0))} old{'' if source.timed else ' as received'}")
    parts += [part for part in (source.detail, source.history, source.liquidations) if part]
    if source.requests:
        parts.append(f"{source.requests} requests/min, {_share(source.budget_share)} of its limit")
    if source.refused:
        parts.append(f"{source.refused} figures refused")
    if source.dropped:
        parts.append(f"{source.dropped} liquidations lost")
    return f"{wording.venue(source.venue)}: {', '.join(parts)}"


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "under 1%"
