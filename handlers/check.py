"""`check`: the settings, reachability of venues and platforms, invite links. Also the health of a running bot."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from statistics import median

from engine.clock import MACHINE
from engine.errors import VenueError
from engine.ports import Clock
from engine.venues.ccxt_client import Access
from engine.venues.feed import LiveFeed
from engine.venues.registry import VENUES
from engine.venues.worker import VenueWorker
from handlers.context import Health, SourceState
from handlers.logs import redact
from handlers.numbers import span
from handlers.settings import PREFIX, TABLE, Settings
from handlers.wording import venue as venue_name


async def check(settings: Settings) -> tuple[list[str], bool]:
    """Return lines to print, and whether at least one venue and every configured platform can be reached."""
    lines = ["Settings"]
    for row in TABLE:
        value = getattr(settings, row.name.lower())
        shown = ("set" if value else "not set") if row.secret else _shown(value)
        lines.append(f"  {PREFIX}{row.name:16} {shown}")
    results = await asyncio.gather(*(_venue(settings, venue) for venue in settings.venues))
    lines += ["Venues", *(line for line, _ in results)]
    well = any(ok for _, ok in results)
    if settings.telegram_token:
        from handlers.platforms.telegram.client import check_telegram

        report, ok = await check_telegram(settings.telegram_token, settings.telegram_api)
        lines += ["Telegram", *(f"  {line}" for line in report)]
        well = well and ok
    if settings.discord_token:
        from handlers.platforms.discord.client import check_discord

        report, ok = await check_discord(settings.discord_token, settings.discord_api, settings.discord_gateway)
        lines += ["Discord", *(f"  {line}" for line in report)]
        well = well and ok
    return [redact(line, settings.secrets) for line in lines], well


def _shown(value: object) -> str:
    if value is None or value == frozenset():
        return "-"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, frozenset):
        return ",".join(sorted(":".join(part) for part in value))
    return str(value)


async def _venue(settings: Settings, name: str) -> tuple[str, bool]:
    venue = VENUES[name](Access(settings.venue_gateway, (settings.venue_proxies or {}).get(name)))
    try:
        await venue.load()
        if settings.ranked is None:
            venue.follow(settings.assets)
        listed = ", ".join(dict.fromkeys(market.asset for market in venue.markets)) or f"{len(venue.assets)} coins"
    except VenueError as error:
        return f"  {venue_name(name):16} {error}", False
    finally:
        await venue.close()
    return f"  {venue_name(name):16} reached: {listed}", True


def health_of(feed: LiveFeed, clock: Clock, platforms: Mapping[str, str], started_at: int) -> Health:
    """Return the health of venues and platforms, for /status."""
    now = clock.now()
    sources = []
    for worker in feed.workers:
        ages = worker.ages_ms(now)
        sources.append(
            SourceState(
                worker.id,
                worker.state,
                max(ages) / 1000 if ages else None,
                worker.detail,
                liquidations=_liquidations(worker, now),
                history=_history(worker, now),
                requests=worker.venue.meter.last_minute()[0],
                budget_share=worker.venue.meter.last_minute()[1] / worker.venue.budget,
                refused={str(what): count for what, count in worker.venue.refusals.items()},
                dropped=worker.venue.frames_dropped,
                timed=all(market.sample.timed for market in worker.progress.values() if market.sample),
            )
        )
    reading = [f"{venue_name(source.venue)} {source.history}" for source in sources if source.history]
    note = f" (history: {', '.join(reading[:3])})" if reading else " (reading history)" if feed.in_history else ""
    return Health(
        started_at,
        tuple(sources),
        dict(platforms),
        feed.late_runs,
        feed.skipped_runs,
        note,
        feed.prices_refused,
        MACHINE.jumps_back,
        feed.wicks,
        _clock_ahead(feed.workers),
        feed.doubts,
    )


def _clock_ahead(workers: Sequence[VenueWorker]) -> float | None:
    """Return how far this machine's clock is ahead of the venues' (median), seconds, or None if unknown."""
    offsets = [ahead for worker in workers if (ahead := worker.venue.meter.clock_ahead_seconds) is not None]
    return median(offsets) if offsets else None


def _history(worker: VenueWorker, now: int) -> str:
    """Return how much of a venue's history is still to be read; empty if none."""
    markets, days = worker.history_to_go(now)
    return f"{days:.0f} d of {markets} market{'s' if markets > 1 else ''} to read" if markets else ""


def _liquidations(worker: VenueWorker, now: int) -> str:
    """Return what is wrong with a venue's liquidation feed, or its last activity; empty without a feed."""
    if worker.venue.feed == "none":
        return ""
    if worker.forced.state not in ("ok", "starting"):
        return f"no liquidations: {worker.forced.state}"
    last_event = (
        f"{span((now - worker.forced.last_event_at) / 1000)} ago" if worker.forced.last_event_at else "none yet"
    )
    return f"liquidations {last_event}"
