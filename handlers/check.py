"""`check`: what is set, what can be reached, where to invite the bot. And how a running one is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from engine.errors import VenueError
from engine.ports import Clock
from engine.venues.feed import LiveFeed
from engine.venues.registry import VENUES
from handlers.context import Health, SourceState
from handlers.settings import PREFIX, TABLE, Settings
from handlers.wording import venue as venue_name


async def check(settings: Settings) -> tuple[list[str], bool]:
    """Lines to print, and whether all that is set can be reached."""
    lines = ["Settings"]
    for row in TABLE:
        value = getattr(settings, row.name.lower())
        shown = ("set" if value else "not set") if row.secret else _shown(value)
        lines.append(f"  {PREFIX}{row.name:16} {shown}")
    results = await asyncio.gather(*(_venue(settings, venue) for venue in settings.venues))
    lines += ["Venues", *(line for line, _ in results)]
    well = any(ok for _, ok in results)
    if settings.telegram_token:
        from handlers.faces.telegram import check_telegram

        found, ok = await check_telegram(settings.telegram_token, settings.telegram_api)
        lines += ["Telegram", *(f"  {line}" for line in found)]
        well = well and ok
    if settings.discord_token:
        from handlers.faces.discord import check_discord

        found, ok = await check_discord(settings.discord_token, settings.discord_api, settings.discord_gateway)
        lines += ["Discord", *(f"  {line}" for line in found)]
        well = well and ok
    return lines, well


def _shown(value: object) -> str:
    if value is None or value == frozenset():
        return "-"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, frozenset):
        return ",".join(sorted(":".join(part) for part in value))
    return str(value)


async def _venue(settings: Settings, name: str) -> tuple[str, bool]:
    venue = VENUES[name](settings.venue_gateway)
    try:
        await venue.open(settings.assets)
        listed = ", ".join(market.asset for market in venue.markets)
    except VenueError as error:
        return f"  {venue_name(name):16} {error}", False
    finally:
        await venue.close()
    return f"  {venue_name(name):16} reached: {listed}", True


def health_of(feed: LiveFeed, clock: Clock, faces: Mapping[str, str], started_at: int) -> Health:
    """How venues and faces are doing, for /status."""
    now = clock.now()
    sources = []
    for worker in feed.workers:
        ages = [age for market in worker.venue.markets if (age := worker.age_ms(market, now)) is not None]
        detail = worker.detail
        if worker.state == "ok" and worker.stream_state not in ("ok", "starting"):
            detail = f"no liquidation stream: {worker.stream_state}"
        oldest = max(ages) / 1000 if ages else None
        sources.append(SourceState(worker.id, worker.state, oldest, detail))
    note = ""
    if feed.in_history:
        reading = [f"{venue_name(w.id)} {w.detail}" for w in feed.workers if w.state == "history" and w.detail]
        note = f" (history: {', '.join(reading)})" if reading else " (history is being read)"
    return Health(started_at, tuple(sources), dict(faces), feed.late_runs, feed.skipped_runs, note)
