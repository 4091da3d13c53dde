"""Delivery over real sockets: 3,000 alerts to 3,000 chats through a Telegram server with its rate limits.

A busy group is queued ahead of them. Also measures latency from the tick in which price crosses to receipt.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rules import Rule
from engine.board import AssetBoard
from engine.clock import SystemClock
from engine.market import AssetUpdate, Bar, Market, MarketTick, Sample
from engine.messages import AlertRecord, TickRecord
from engine.pipeline import AlertPipeline
from handlers.context import Services
from handlers.delivery.dispatcher import Dispatcher
from handlers.delivery.failures import FailureHandler
from handlers.delivery.limits import TELEGRAM, UNLIMITED, Limits
from handlers.delivery.rendering import answer_of
from handlers.pictures import Pictures
from handlers.platforms.telegram.client import TelegramPlatform
from storage.store import Store
from tests.servers.telegram import Permitted, TelegramServer

CHATS, GROUP_MESSAGES = 3000, 100
PERMITTED_A_SECOND = 30
GROUP = -100_500
LATENCIES = 200
HOUR_MS = 3_600_000


@dataclass
class World:
    """A Telegram server, and the program's own delivery to it."""

    server: TelegramServer
    store: Store
    services: Services
    dispatcher: Dispatcher


@asynccontextmanager
async def world(limits: Limits, board: AssetBoard) -> AsyncIterator[World]:
    """Start everything, yield it, and shut it down at the end."""
    with tempfile.TemporaryDirectory() as folder:
        wall, server = SystemClock(), TelegramServer()
        store = Store(Path(folder) / "bench.sqlite", wall)
        await server.start()
        await store.open()
        services = Services(AlertPipeline({"BTC": board}, ActiveRules(), store), store, wall, access="open")
        pictures = Pictures(services)
        face = TelegramPlatform(services, pictures.draw, server.token, server.url)

        async def lost(chat_id: int) -> None:
            raise RuntimeError(f"chat {chat_id} is said to be gone")

        dispatcher = Dispatcher(
            face,
            store,
            wall,
            limits,
            answer_of(services, wall),
            lost,
            FailureHandler(services, face.platform, None).undelivered,
        )
        tasks = [asyncio.create_task(face.run()), asyncio.create_task(dispatcher.run())]
        services.wake = dispatcher.wake
        while not face.ready:  # noqa: ASYNC110  # the platform has only a flag to poll
            await asyncio.sleep(0.01)
        yield World(server, store, services, dispatcher)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        pictures.close()
        await store.close()
        await server.stop()


def delivery() -> Iterator[tuple[str, float, str]]:
    """Yield the rate relative to the limit, refusals, and the longest wait beside a busy group."""
    share, refused, longest, received = asyncio.run(_delivery())
    yield "delivery.rate_share", share, f"of the permitted {PERMITTED_A_SECOND} a second"
    yield "delivery.too_many_requests", float(refused), "429 answers, none is right"
    yield "delivery.received", float(received), f"of {CHATS} alerts"
    yield "delivery.longest_wait_seconds", longest, f"s, {CHATS / PERMITTED_A_SECOND:.0f} at the permitted rate"


async def _delivery() -> tuple[float, int, float, int]:
    async with world(TELEGRAM, AssetBoard("BTC")) as env:
        permitted = Permitted()
        env.server.faults.append(permitted)
        group = await env.store.chats.upsert("telegram", str(GROUP), "group", "busy")
        chats = [await env.store.chats.upsert("telegram", str(n), "private", "") for n in range(1, CHATS + 1)]
        # Not from a rule, so that the daily cap does not apply.
        busy = [_test_alert(group.id, n) for n in range(GROUP_MESSAGES)]
        for alert in busy:
            await env.store.commit(TickRecord(1, alerts=[alert]))
        started = time.monotonic()
        await env.store.commit(TickRecord(1, alerts=[_test_alert(chat.id, 0) for chat in chats]))
        env.dispatcher.wake()
        while sum(sent.chat_id > 0 for sent in env.server.sent) < CHATS:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        times = sorted(sent.at for sent in env.server.sent)
        mine = [sent.at for sent in env.server.sent if sent.chat_id > 0]
        share = (len(times) - 1) / (times[-1] - times[0]) / PERMITTED_A_SECOND
        return share, permitted.refused, max(mine) - started, len(mine)


def _test_alert(chat_id: int, number: int) -> AlertRecord:
    facts = {"kind": "test", "asset": "BTC", "at": 1}
    return AlertRecord(f"{chat_id}/{number}", "test", "BTC", chat_id, None, 1, facts)


def latency() -> Iterator[tuple[str, float, str]]:
    """Yield milliseconds from the tick in which price crosses a level to the server's receipt."""
    latencies = sorted(asyncio.run(_latency()))
    yield "latency.median_ms", statistics.median(latencies) * 1e3, "ms from tick to received, beyond the poll interval"
    yield "latency.p99_ms", latencies[int(0.99 * (len(latencies) - 1))] * 1e3, "ms, 99th percentile"
    yield "latency.alerts", float(len(latencies)), "alerts, one after the other, each to its own chat"


async def _latency() -> list[float]:
    board, market = AssetBoard("BTC"), Market("binanceusdm", "BTC/USDT:USDT", "BTC")
    now = SystemClock().now() // HOUR_MS * HOUR_MS
    bar = Bar(now - HOUR_MS, HOUR_MS, 90_000.0, 90_010.0, 89_990.0, 90_000.0, 80_000.0)
    board.advance(AssetUpdate(path=bar.path, bars=((market, bar),)), now)
    async with world(UNLIMITED, board) as env:
        pipeline, latencies = env.services.pipeline, []
        price = 90_000.0
        for number in range(LATENCIES):
            chat = await env.store.chats.upsert("telegram", str(number + 1), "private", "")
            level = price + 10.0
            rule = Rule(0, chat.id, "price", "BTC", level=level)
            for added in (await env.store.rules.replace(chat.id, [rule], ["price"]))[0]:
                pipeline.rules.add(added)
            await pipeline.process(_tick(market, now + 2 * number * 1000, price))  # the rule sees its first price
            price += 20.0
            started = time.monotonic()
            await pipeline.process(_tick(market, now + (2 * number + 1) * 1000, price))
            env.dispatcher.wake()
            while len(env.server.sent) <= number:  # noqa: ASYNC110
                await asyncio.sleep(0.0005)
            latencies.append(env.server.sent[-1].at - started)
            await asyncio.sleep(0.02)
        return latencies


def _tick(market: Market, now: int, price: float) -> MarketTick:
    sample = Sample(market, now, now, price, price, price, price, price, 80_000.0)
    return MarketTick(now, {"BTC": AssetUpdate(path=(price,), samples=(sample,))})
