"""Coins with the most open interest: ranked over all venues, dropped late, kept while a rule needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from engine.board import AssetBoard
from engine.clock import ManualClock, SystemClock
from engine.loopback.server import LoopbackExchange
from engine.market import DAY_MS
from engine.venues.ccxt_client import Access
from engine.venues.registry import VENUES
from engine.venues.universe import FALLBACK, Universe, by_open_interest
from engine.venues.worker import VenueWorker
from storage.store import Store
from tests.engine.loopback.markets import START, WavySource, cheap, exchange

NOW = START + DAY_MS
COINS = (
    ("BTC", 90_000.0, 80_000.0),
    ("ETH", 3000.0, 1e6),
    ("SOL", 150.0, 5e6),
    ("DOGE", 0.2, 1e8),
    ("PAXG", 4000.0, 1e7),
)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store(None, SystemClock())
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def server() -> AsyncIterator[LoopbackExchange]:
    sources = [WavySource(level, asset=asset, interest=size) for asset, level, size in COINS]
    made = await exchange(ManualClock(NOW), *sources, cheap(), inverse=True)
    yield made
    await made.stop()


def readers(server: LoopbackExchange, store: Store, names: Sequence[str]) -> list[VenueWorker]:
    clock = ManualClock(NOW)
    return [
        VenueWorker(VENUES[name](Access(server.url, None, clock.now)), [], store.market, clock, 1, lambda market: 0)
        for name in names
    ]


async def closed(workers: Sequence[VenueWorker]) -> None:
    for worker in workers:
        await worker.venue.close()


async def test_coins_are_ranked_over_all_venues_without_metals(server: LoopbackExchange, store: Store) -> None:
    workers = readers(server, store, list(VENUES))
    assert await by_open_interest(workers) == ["BTC", "ETH", "SOL", "PEPE", "DOGE"]
    await closed(workers)


async def test_a_venue_that_is_down_does_not_stop_the_ranking(server: LoopbackExchange, store: Store) -> None:
    server.fail("bybit", "500")
    workers = readers(server, store, ["binanceusdm", "bybit"])
    assert (await by_open_interest(workers))[:2] == ["BTC", "ETH"]
    await closed(workers)


async def test_the_ranking_is_followed_and_a_rule_keeps_its_coin(server: LoopbackExchange, store: Store) -> None:
    workers = readers(server, store, ["okx", "deribit"])
    boards: dict[str, AssetBoard] = {}
    wanted: set[str] = set()

    async def board(asset: str) -> AssetBoard:
        return AssetBoard(asset)

    gone: list[str] = []

    async def forget(asset: str) -> None:
        gone.append(asset)

    universe = Universe(2, workers, boards, board, lambda: wanted, forget)
    assert await universe.review() == ["BTC", "ETH"]
    assert set(boards) == {"BTC", "ETH"}
    assert {market.asset for worker in workers for market in worker.venue.markets} == {"BTC", "ETH"}
    boards["SOL"], boards["DOGE"], boards["PEPE"] = AssetBoard("SOL"), AssetBoard("DOGE"), AssetBoard("PEPE")
    wanted.add("DOGE")
    # With room for two, third place is close enough to stay; the fourth is dropped, and a rule keeps the last.
    assert await universe.review() == ["BTC", "ETH", "SOL", "DOGE"]
    assert set(boards) == {"BTC", "ETH", "SOL", "DOGE"}
    assert gone == ["PEPE"]
    await closed(workers)


async def test_without_any_answer_known_coins_stay(server: LoopbackExchange, store: Store) -> None:
    server.fail("okx", "down")
    workers = readers(server, store, ["okx"])
    boards: dict[str, AssetBoard] = {}

    async def board(asset: str) -> AssetBoard:
        return AssetBoard(asset)

    async def forget(asset: str) -> None:
        raise AssertionError(asset)

    universe = Universe(3, workers, boards, board, set, forget)
    assert await universe.review(["SOL", "XRP"]) == ["SOL", "XRP"]
    boards.clear()
    assert await universe.review() == list(FALLBACK)
    await closed(workers)
