"""/status: venues, maps, message queue and platforms, and what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from engine.market import DAY_MS
from handlers import wording
from handlers.answers import Answer
from handlers.commands.buttons import refresh
from handlers.commands.registry import command
from handlers.context import Health, Request, Services, SourceState
from handlers.health import DUE_SECONDS, START_SECONDS, Signs, troubles
from handlers.i18n import N_, _, n_
from handlers.numbers import span


@command("status", "Show data sources, their age and what's missing", "/status")
async def status(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # every command takes them
    """Answer /status."""
    services, now = request.services, request.now
    health = services.health()
    lines = []
    lines += [_source(source) for source in health.sources]
    maps = []
    for asset in services.assets:
        board = services.pipeline.boards[asset]
        days = _("{number} d", number=f"{board.history_days:.0f}") if board.ready else _("no map yet")
        maps.append(f"{asset} {services.pipeline.set_aside.get(asset, days)}")
    lines.append(_("Maps: {maps}", maps=", ".join(maps[:10])))
    counts = await services.store.outbox.counts()
    signs = await signs_of(services)
    lines += _delivery(health, counts, signs) + _market_lines(health)
    if await request.by_operator():
        aside = list(services.store.set_aside.items())
        lines += [f"{what}: {why}" for what, why in aside[:5]]
        if len(aside) > 5:
            lines.append(_("and {count} more", count=len(aside) - 5))
    wrong = troubles(signs)
    lines += [_(_TROUBLES[name], words=words) for name, words in wrong.items() if name in _TROUBLES]
    head = _("Cliffwatch has problems") if wrong else _("Cliffwatch is healthy")
    if not wrong and signs.venues_well < signs.venues:
        missing = signs.venues - signs.venues_well
        head += ", " + n_("{count} venue missing", "{count} venues missing", missing)
    if health.started_at:
        head += ", " + _("up {span}", span=span((now - health.started_at) / 1000))
    return Answer(head, tuple(lines), buttons=(refresh("/status"),))


def _delivery(health: Health, counts: Mapping[str, int], signs: Signs) -> list[str]:
    """Return lines on the message queue and the state of the chat platforms."""
    lines, waiting = [], counts.get("ready", 0) + counts.get("sending", 0)
    lines.append(
        _(
            "Messages: {sent} sent, {waiting} waiting, {dead} failed in 24h",
            sent=counts.get("sent", 0),
            waiting=waiting,
            dead=signs.dead,
        )
    )
    if counts.get("perhaps"):
        lines.append(_("Delivery unconfirmed: {count}", count=counts["perhaps"]))
    if signs.oldest_due > DUE_SECONDS:
        lines.append(_("Oldest message overdue by {span}", span=span(signs.oldest_due)))
    if health.platforms:
        states = ", ".join(f"{name} {state}" for name, state in health.platforms.items())
        lines.append(_("Platforms: {states}", states=states))
    return lines


def _market_lines(health: Health) -> list[str]:
    """Return lines on late polls, the clock, and prices that other venues do not confirm."""
    lines = []
    if health.late_runs or health.skipped_runs:
        lines.append(_("Polls: {late} late, {skipped} skipped", late=health.late_runs, skipped=health.skipped_runs))
    lines += _clock(health)
    if health.prices_refused:
        lines.append(_("Prices rejected, too far from other venues: {count}", count=health.prices_refused))
    if health.wicks:
        lines.append(_("Highs/lows seen on one venue only: {count}", count=health.wicks))
    for key, why in list(health.doubts.items())[:3]:
        lines.append(_("Not trusted: {market}: {reason}", market=_market(key), reason=wording.reason(why)))
    return lines


_TROUBLES = {
    "figures": N_("Stale data: {words}"),
    "ticks": N_("No tick for {words}"),
    "set aside": N_("Set aside: {words}"),
    "database": N_("Database: {words}"),
    "clock": N_("This machine's clock is off by {words}"),
}
"""Problems that the other lines do not already show, by area."""


async def signs_of(services: Services) -> Signs:
    """Collect the inputs of the health verdict."""
    health, wall, now = services.health(), services.wall.now(), services.clock.now()
    boards = services.pipeline.boards
    ages = {name: max(now - board.as_of, 0) / 1000 if board.ready else None for name, board in boards.items()}
    due, dead = await services.store.outbox.oldest_due(), await services.store.outbox.dead_since(wall - DAY_MS)
    return Signs(
        ages=ages,
        tick_age=time.monotonic() - services.ticked_at,
        oldest_due=max(wall - due, 0) / 1000 if due else 0.0,
        platforms=dict(health.platforms),
        dead=dead,
        clock_ahead=health.clock_ahead if not services.simulated else None,
        set_aside=(*services.pipeline.set_aside, *services.store.set_aside),
        database=services.store.trouble,
        up=(now - health.started_at) / 1000 / services.clock.speed if health.started_at else START_SECONDS,
        venues_well=sum(source.state == "ok" for source in health.sources),
        venues=len(health.sources),
    )


def _clock(health: Health) -> list[str]:
    if not health.clock_set_back:
        return []
    return [
        n_(
            "The machine's clock was set back {count} time",
            "The machine's clock was set back {count} times",
            health.clock_set_back,
        )
    ]


def _market(key: str) -> str:
    venue, _space, symbol = key.partition(" ")
    return f"{wording.venue(venue)} {symbol.split(':')[0]}"


def _source(source: SourceState) -> str:
    """Return one line on a venue: state, age of its data, problems, share of its rate limit."""
    parts = [source.state]
    if source.age_seconds is not None:
        old = span(max(source.age_seconds, 0))
        parts.append(_("{span} old", span=old) if source.timed else _("received {span} ago", span=old))
    parts += [part for part in (source.detail, source.history, source.liquidations) if part]
    if source.requests:
        share = _share(source.budget_share)
        parts.append(_("{count} requests/min, {share} of its limit", count=source.requests, share=share))
    if source.refused:
        counted = ", ".join(f"{wording.refusal(name)} {count}" for name, count in source.refused.items())
        parts.append(_("rejected: {counted}", counted=counted))
    if source.dropped:
        parts.append(_("{count} liquidations dropped", count=source.dropped))
    return f"{wording.venue(source.venue)}: {', '.join(parts)}"


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else _("under 1%")
