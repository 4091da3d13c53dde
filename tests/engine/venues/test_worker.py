"""A venue's reader: margin tiers before the first bar, seeds where there is no history, books, delistings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.board import AssetBoard
from engine.clock import ManualClock, SystemClock
from engine.liquidation.margin import Tier
from engine.loopback.server import LoopbackExchange
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS
from engine.venues.exchange import Access
from engine.venues.registry import VENUES
from engine.venues.venue import STEP_MS
from engine.venues.worker import VenueWorker
from storage.store import Store
from tests.engine.loopback.markets import START, WavySource, exchange
from tests.engine.venues.test_feed import Rig

NOW = START + 3 * DAY_MS + 17_000


@asynccontextmanager
async def reader(
    name: str, store: Store | None = None, clock: ManualClock | None = None
) -> AsyncIterator[tuple[VenueWorker, LoopbackExchange, Store, ManualClock]]:
    clock = clock or ManualClock(NOW)
    store = store or Store(None, SystemClock())
    await store.open()
    server = await exchange(clock, WavySource(), WavySource(3000, asset="ETH"), inverse=True)
    worker = VenueWorker(VENUES[name](Access(server.url, None, clock.now)), ["BTC"], store, clock, 1, lambda market: 0)
    try:
        yield worker, server, store, clock
    finally:
        await worker.venue.close()
        await server.stop()
        await store.close()


async def test_the_first_bar_is_placed_by_the_venues_own_tiers() -> None:
    async with reader("gate") as (worker, _, store, clock):
        assert await worker.open()
        linear = next(market for market in worker.venue.markets if market.kind == "linear")
        assert (linear.maintenance_rate, linear.fee_rate, linear.max_leverage) == (0.004, 0.00075, 125.0)
        read_at, tiers = await store.tiers_of(linear.key)
        assert read_at == NOW
        assert tiers == [Tier(0.0, 0.004, 0.0, 125.0), Tier(1_000_000.0, 0.005, 0.0, 100.0)]
        await store.save_tiers(linear, [Tier(0.0, 0.02, 0.0, 20.0)], NOW)
        await worker.reload()  # within the day: what was read counts
        worker.state = "ok"
        await worker.reload()
        (again,) = worker.venue.markets_of("BTC")[:1]
        assert again.maintenance_rate == 0.02
        clock.at += DAY_MS
        await worker.reload()
        assert worker.venue.markets_of("BTC")[0].maintenance_rate == 0.004


async def test_a_map_takes_up_new_rules_without_moving_what_is_there() -> None:
    clock, store = ManualClock(NOW), Store(None, SystemClock())
    await store.open()
    rig = Rig(await exchange(clock), clock, store, AssetBoard("BTC"), ["bybit"])
    try:
        rig.start()
        await rig.settle()
        market = rig.feed.workers[0].venue.markets[0]
        market_map = rig.board.maps[market.key]
        before = market_map.windows["long"].contracts.tobytes()
        await store.save_tiers(market, [Tier(0.0, 0.05, 0.0, 10.0)], clock.at)
        await rig.feed._reload(rig.feed.workers[0])
        assert market_map.market.maintenance_rate == 0.05
        assert market_map.windows["long"].contracts.tobytes() == before
    finally:
        await rig.stop()
        await rig.server.stop()
        await store.close()


@pytest.mark.parametrize("name", [name for name, venue in VENUES.items() if venue.interest_step_ms is None])
async def test_a_market_without_a_history_of_interest_begins_with_todays(name: str) -> None:
    async with reader(name) as (worker, _, _, clock):
        await worker.read_history()
        await worker.close_bars()
        for market in worker.venue.markets:
            bars = worker.progress[market.key].waiting
            assert len(bars) > 270
            (reading,) = [r for r in await worker.venue.readings(clock.at) if r.market.key == market.key]
            assert bars[0].contracts == pytest.approx(reading.contracts)
            assert all(bar.contracts is None for bar in bars[1:])


async def test_what_polls_see_at_a_bars_end_is_its_open_interest() -> None:
    async with reader("bitget") as (worker, _, _, clock):
        await worker.read_history()
        market = worker.venue.markets[0]
        clock.at = clock.at // STEP_MS * STEP_MS + STEP_MS + 9_000
        assert await worker.poll()
        looked = worker.progress[market.key].sample
        assert looked is not None
        clock.at += 20_000
        assert await worker.poll()
        assert await worker.close_bars()
        last = worker.progress[market.key].waiting[-1]
        assert last.closed_at == clock.at // STEP_MS * STEP_MS
        assert last.contracts == looked.contracts


async def test_history_is_read_on_after_a_break() -> None:
    async with reader("bybit") as (worker, server, store, clock):
        await worker.open()
        market = worker.venue.markets[0]
        await worker.read_history()
        read = len(await store.bars_since(market, 0))
        assert read > 270
        again = VenueWorker(
            VENUES["bybit"](Access(server.url, None, clock.now)), ["BTC"], store, clock, 1, lambda market: 0
        )
        requests = server.requests["bybit"]
        await again.read_history()
        assert server.requests["bybit"] - requests <= 5  # markets, and nothing that is there already
        assert len(again.progress[market.key].waiting) == read
        assert again.history_to_go(clock.at) == (0, 0)
        await again.venue.close()


async def test_one_that_is_far_behind_says_how_much_is_to_read() -> None:
    async with reader("okx") as (worker, server, _, clock):
        await worker.open()
        server.fail("okx", "500")
        await worker.read_history()
        markets, days = worker.history_to_go(clock.at)
        assert markets == 2
        assert days == pytest.approx(2 * 23 / 24, abs=0.1)


async def test_books_are_read_of_what_is_wanted() -> None:
    async with reader("okx") as (worker, _, _, _):
        assert await worker.poll()
        await worker.read_books(lambda market: market.kind == "linear")
        assert [book.market.kind for book in worker.books.values()] == ["linear"]


async def test_looking_closely_stays_within_a_part_of_the_budget() -> None:
    async with reader("krakenfutures") as (worker, _, _, clock):
        await worker.open()
        readings = await worker.venue.readings(clock.at)
        assert len(worker._closely(readings)) == 2
        worker.venue.budget = 10.0  # type: ignore[misc]  # a venue that allows next to nothing
        assert worker._closely(readings) == set()
        worker.leads = lambda market: market.kind == "inverse"
        assert worker._closely(readings) == {"krakenfutures BTC/USD:BTC"}


async def test_other_coins_are_followed_in_place_of_those_before() -> None:
    async with reader("binanceusdm") as (worker, _, _, clock):
        await worker.open()
        clock.at += MINUTE_MS
        await worker.follow(["ETH"])
        assert set(worker.progress) == {"binanceusdm ETH/USDT:USDT"}
        assert await worker.poll()
        assert worker.ages_ms(clock.at) == [0]
        assert clock.at - worker.progress["binanceusdm ETH/USDT:USDT"].closed_at > 20 * HOUR_MS
