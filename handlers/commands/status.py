"""/status: what is running, how old it is, what is missing."""

from __future__ import annotations

from handlers import wording
from handlers.answers import Answer
from handlers.commands.pages import refresh
from handlers.commands.registry import command
from handlers.context import Request, SourceState
from handlers.language import _, n_
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
        days = _("{number} d", number=f"{board.history_days:.0f}") if board.ready else _("no map yet")
        maps.append(f"{asset} {services.watch.set_aside.get(asset, days)}")
    lines.append(_("Maps: {maps}", maps=", ".join(maps[:10])))
    counts = await services.store.counts()
    waiting, dead = counts.get("ready", 0) + counts.get("sending", 0), counts.get("dead", 0)
    lines.append(
        _(
            "Messages: {sent} sent, {waiting} waiting, {dead} given up",
            sent=counts.get("sent", 0),
            waiting=waiting,
            dead=dead,
        )
    )
    if health.faces:
        states = ", ".join(f"{face} {state}" for face, state in health.faces.items())
        lines.append(_("Chats: {states}", states=states))
    if health.late_runs or health.skipped_runs:
        lines.append(_("Polls: {late} late, {skipped} skipped", late=health.late_runs, skipped=health.skipped_runs))
    if health.clock_set_back:
        lines.append(
            n_(
                "The machine's clock was set back {count} time; mine went on at half speed",
                "The machine's clock was set back {count} times; mine went on at half speed",
                health.clock_set_back,
            )
        )
    if health.prices_refused:
        lines.append(_("Prices refused as far from the other venues': {count}", count=health.prices_refused))
    well = all(source.state == "ok" for source in health.sources) and not services.watch.set_aside and not dead
    head = _("Cliffwatch is well") if well else _("Cliffwatch has trouble")
    if health.started_at:
        head += ", " + _("up {span}", span=span((now - health.started_at) / 1000))
    return Answer(head, tuple(lines), buttons=(refresh("/status"),))


def _source(source: SourceState) -> str:
    """One venue in a line: state, age, what is wrong, what it costs."""
    parts = [source.state]
    if source.age_seconds is not None:
        old = span(max(source.age_seconds, 0))
        parts.append(_("{span} old", span=old) if source.timed else _("{span} old as received", span=old))
    parts += [part for part in (source.detail, source.history, source.liquidations) if part]
    if source.requests:
        share = _share(source.budget_share)
        parts.append(_("{count} requests/min, {share} of its limit", count=source.requests, share=share))
    if source.refused:
        counted = ", ".join(f"{wording.refusal(name)} {count}" for name, count in source.refused.items())
        parts.append(_("refused: {counted}", counted=counted))
    if source.dropped:
        parts.append(_("{count} liquidations lost", count=source.dropped))
    return f"{wording.venue(source.venue)}: {', '.join(parts)}"


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else _("under 1%")
