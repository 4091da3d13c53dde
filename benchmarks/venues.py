"""Cost of reading the fifty largest coins on all venues: requests, share of the venues' limits, time and memory.

The loopback exchange runs as all venues in its own process. The program's part runs here, at SPEED.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from engine.alerts.active_rules import ActiveRules
from engine.board import AssetBoard
from engine.clock import ScaledClock, SystemClock
from engine.loopback.server import LoopbackExchange
from engine.loopback.tape import Tape
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, Market
from engine.pipeline import AlertPipeline
from engine.venues.ccxt_client import Access
from engine.venues.feed import LiveFeed
from engine.venues.registry import VENUES
from engine.venues.universe import Universe
from engine.venues.worker import VenueWorker
from storage.store import Store
from tests.engine.loopback.markets import WavySource

COINS = 60
FOLLOWED = 50
SPEED = 4.0
POLL_SECONDS = 20.0
HISTORY_HOURS = 3
SIMULATED_MINUTES = 12
Figure = tuple[str, float, str]
START = 1_765_000_000_000 // DAY_MS * DAY_MS


def _sources(now: int) -> list[WavySource]:
    names = ["BTC", "ETH", *(f"C{number:02d}" for number in range(COINS - 2))]
    start = now - HISTORY_HOURS * HOUR_MS
    # Each is smaller than the previous one, so the ranking is known.
    return [
        WavySource(90_000.0 / (1 + number), start, name, 80_000.0 * 0.95**number) for number, name in enumerate(names)
    ]


def _serve(clock: ScaledClock, pipe: Connection) -> None:
    async def run() -> None:
        tapes = {source.asset: Tape(source) for source in _sources(clock.start)}
        server = LoopbackExchange(tapes, clock, inverse=True)
        await server.start()
        pipe.send(server.url)
        await asyncio.to_thread(pipe.recv)
        await server.stop()

    asyncio.run(run())


async def _read(clock: ScaledClock, url: str) -> list[Figure]:
    store = Store(None, SystemClock())
    await store.open()
    boards: dict[str, AssetBoard] = {}

    def closed_at(market: Market) -> int:
        return boards[market.asset].maps.closed_at_of(market) if market.asset in boards else 0

    workers = [
        VenueWorker(VENUES[name](Access(url, None, clock.now)), [], store.market, clock, 1, closed_at, POLL_SECONDS)
        for name in VENUES
    ]

    async def board(asset: str) -> AssetBoard:
        return AssetBoard(asset)

    async def forget(asset: str) -> None:
        boards.pop(asset, None)

    universe = Universe(FOLLOWED, workers, boards, board, set, forget)
    await universe.review()
    feed = LiveFeed(workers, boards, store.market, clock, POLL_SECONDS)
    pipeline = AlertPipeline(boards, ActiveRules(), store)
    started = asyncio.Event()

    async def follow() -> None:
        async for delivered in feed.ticks():
            await pipeline.process(delivered)
            if not delivered.silent:
                started.set()

    task = asyncio.create_task(follow())
    await started.wait()
    requests = {worker.id: worker.venue.meter.requests for worker in workers}
    costs = {worker.id: worker.venue.meter.cost for worker in workers}
    began, cpu = clock.now(), time.process_time()
    await asyncio.sleep(SIMULATED_MINUTES * MINUTE_MS / 1000 / SPEED)
    minutes = (clock.now() - began) / MINUTE_MS
    spent = time.process_time() - cpu
    asked = {worker.id: (worker.venue.meter.requests - requests[worker.id]) / minutes for worker in workers}
    shares = {
        worker.id: (worker.venue.meter.cost - costs[worker.id]) / minutes / worker.venue.budget for worker in workers
    }
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await feed.stop()
    await store.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        ("venues.markets", sum(len(worker.venue.markets) for worker in workers), "markets"),
        ("venues.requests_per_minute", sum(asked.values()), "a minute"),
        ("venues.budget_share", max(shares.values()), "of the venue's limit, the highest"),
        ("venues.cpu_seconds", spent * 60 / minutes, "s per simulated hour"),
        ("venues.memory_mb", memory, "MB"),
        *((f"venues.budget_share.{name}", share, "of its limit") for name, share in shares.items()),
    ]


def run() -> Iterator[Figure]:
    """Yield figures of twelve simulated minutes after the first maps."""
    clock = ScaledClock(START, SystemClock().now(), SPEED)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(clock, there))
    server.start()
    try:
        yield from asyncio.run(_read(clock, here.recv()))
    finally:
        here.send("stop")
        server.join(10)
