"""What a start puts together: venue workers, the boards of the chosen coins, and their review."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence

from engine.board import MODEL, AssetBoard
from engine.market import DAY_MS
from engine.pipeline import AlertPipeline
from engine.ports import Clock, MarketStore, Store
from engine.venues.ccxt_client import Access
from engine.venues.feed import LiveFeed
from engine.venues.names import is_name
from engine.venues.registry import VENUES
from engine.venues.universe import Universe
from engine.venues.worker import MAX_DAYS, VenueWorker
from handlers.settings import Settings

log = logging.getLogger(__name__)

RANKED = "ranked assets"
"""Meta key of the coins last chosen by open interest."""


def stop_signal() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def build_workers(
    settings: Settings, clock: Clock, store: MarketStore, boards: Mapping[str, AssetBoard]
) -> list[VenueWorker]:
    """Return a worker for each configured venue. It follows no coin yet."""
    proxies = settings.venue_proxies or {}
    return [
        VenueWorker(
            VENUES[venue](Access(settings.venue_gateway, proxies.get(venue), clock.now)),
            [],
            store,
            clock,
            settings.history_days,
            lambda market: boards[market.asset].maps.closed_at_of(market) if market.asset in boards else 0,
            settings.poll_seconds,
        )
        for venue in settings.venues
    ]


async def choose_assets(
    settings: Settings,
    clock: Clock,
    store: Store,
    workers: Sequence[VenueWorker],
    pipeline: AlertPipeline,
    feed: LiveFeed,
) -> Callable[[], Awaitable[None]] | None:
    """Make the boards of the named coins, or of those with the most open interest.

    Return a function that reviews the choice by open interest, or None if the coins are named.
    """

    def make_board(asset: str) -> Awaitable[AssetBoard]:
        return load_board(store, asset, settings.venues, clock)

    async def forget(asset: str) -> None:
        await store.checkpoints.delete(asset)
        pipeline.downtime.drop(asset)
        feed.forget(asset)

    if settings.ranked is None:
        for asset in settings.assets:
            pipeline.boards[asset] = await make_board(asset)
        for worker in workers:
            await worker.follow(settings.assets)
        return None
    universe = Universe(settings.ranked, workers, pipeline.boards, make_board, pipeline.rules.assets, forget)

    async def review() -> None:
        last_choice = _names(await store.meta.get(RANKED))
        await store.meta.set(RANKED, json.dumps(await universe.review(last_choice)))

    await review()
    return review


def _names(text: str | None) -> list[str]:
    """Return the coins of a stored list, none if it cannot be read."""
    try:
        return [str(name) for name in json.loads(text or "[]") if is_name(str(name))]
    except (ValueError, TypeError):
        return []


async def load_board(store: Store, asset: str, venues: Sequence[str], clock: Clock) -> AssetBoard:
    """Return an asset's board from its checkpoint, or an empty one."""
    state = await store.checkpoints.load(asset)
    if state is None or state.get("model") != MODEL:
        return AssetBoard(asset)  # it is built from history
    try:
        board = AssetBoard.restore(asset, venues, state)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        # A checkpoint is a cache: an unreadable one is rebuilt from history.
        log.warning("the checkpoint of %s cannot be read (%s); rebuilding it", asset, type(error).__name__)
        return AssetBoard(asset)
    if clock.now() - board.closed_at > MAX_DAYS * DAY_MS:
        return AssetBoard(asset)  # too old: venues no longer have the bars since
    board.reported.restore_orders(await store.market.reported_since(asset, board.closed_at - 2 * DAY_MS))
    return board
