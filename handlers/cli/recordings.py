"""Commands that make a recording: from the venues as they trade, or from the database."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

from engine.alerts.active_rules import ActiveRules
from engine.board import AssetBoard
from engine.errors import HistoryError, VenueError
from engine.pipeline import AlertPipeline
from engine.ports import Clock, Store
from engine.recording import SUFFIX, Recorder, RecordingStore, take_up
from engine.venues.feed import LiveFeed
from engine.venues.universe import FALLBACK, by_open_interest
from handlers.progress import show_history
from handlers.settings import Settings
from handlers.startup import build_workers, stop_signal


async def record(options: argparse.Namespace, settings: Settings, clock: Clock) -> int:
    """Follow the venues, without rules or chats, and write what they report into a file until stopped."""
    _recording_name(options.out)
    before = take_up(options.out)
    with options.out.open("a", encoding="utf-8") as handle:
        recorder = Recorder(handle)
        await _recorded(settings, clock, RecordingStore(recorder, before))
    _report(recorder, options.out)
    return 0


async def _recorded(settings: Settings, clock: Clock, store: RecordingStore) -> None:
    """Follow the venues without rules or chats until a stop signal."""
    stop = stop_signal()
    boards = {asset: AssetBoard(asset) for asset in settings.assets if settings.ranked is None}
    workers = build_workers(settings, clock, store, boards)
    if settings.ranked is not None:
        chosen = (await by_open_interest(workers))[: settings.ranked] or list(FALLBACK)
        boards.update((asset, AssetBoard(asset)) for asset in chosen)
    for worker in workers:
        with contextlib.suppress(VenueError):  # lists none of them, which its state shows
            await worker.follow(list(boards))
    pipeline, feed = (
        AlertPipeline(boards, ActiveRules(), store),
        LiveFeed(workers, boards, store, clock, settings.poll_seconds),
    )

    async def follow() -> None:
        async for delivered in feed.ticks():
            await pipeline.process(delivered)

    tasks = [asyncio.create_task(work) for work in (follow(), show_history(feed, clock), stop.wait())]
    try:
        await asyncio.wait([tasks[0], tasks[2]], return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await feed.stop()


async def export(options: argparse.Namespace, store: Store) -> int:
    """Write the database's bars and liquidation orders into a file."""
    unfinished = options.out.with_suffix(".unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as handle:
            recorder = Recorder(handle)
            for market in await store.market.markets():
                recorder.add_bars((market, bar) for bar in await store.market.bars_since(market, 0))
                recorder.add_liquidations(await store.market.liquidations_of(market))
        unfinished.replace(options.out)
    finally:
        unfinished.unlink(missing_ok=True)
    _report(recorder, options.out)
    return 0


def check_export(path: Path) -> None:
    """Check that a recording can be exported to a path.

    Raises:
        HistoryError: when it cannot.
    """
    _recording_name(path)
    if path.exists():
        raise HistoryError(f"{path.name} exists already; name another file")


def _report(recorder: Recorder, path: Path) -> None:
    print(f"{recorder.bars:,} bars and {recorder.orders:,} liquidation orders written to {path.name}", file=sys.stderr)


def _recording_name(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise HistoryError(f"{path.name}: a recording's name ends in {SUFFIX}")
    if not path.parent.is_dir():
        raise HistoryError(f"there is no directory {path.parent}")
