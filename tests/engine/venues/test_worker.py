"""The venue worker: margin tiers before the first bar, seeds where there is no history, books, rate limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from engine.board import AssetBoard
from engine.clock import ManualClock, SystemClock
from engine.errors import VenueError, VenueRefusedError
from engine.liquidation.margin import Tier
from engine.loopback.faults import Fault
from engine.loopback.server import LoopbackExchange
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, Liquidation, Market, Sample
from engine.venues.ccxt_client import Access
from engine.venues.extremes import Extremes, Reading
from engine.venues.registry import VENUES
from engine.venues.venue import STEP_MS
from engine.venues.worker import VenueWorker
from storage.store import Store
from tests.conftest import until
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
    worker = VenueWorker(
        VENUES[name](Access(server.url, None, clock.now)), ["BTC"], store.market, clock, 1, lambda market: 0
    )
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
        read_at, tiers = await store.market.tiers_of(linear.key)
        assert read_at == NOW
        assert [(tier.floor, tier.maintenance_rate, tier.max_leverage) for tier in tiers] == [
            (0.0, 0.004, 125.0),
            (1_000_000.0, 0.005, 100.0),
        ]
        assert [tier.maintenance_amount for tier in tiers] == pytest.approx([0.0, 1000.0])
        await store.market.save_tiers(linear, [Tier(0.0, 0.02, 0.0, 20.0)], NOW)
        worker.state = "ok"
        await worker.reload()  # within the day: no new request
        assert worker.venue.markets_of("BTC")[0].maintenance_rate == 0.004
        clock.at += DAY_MS
        await store.market.save_tiers(linear, [Tier(0.0, 0.02, 0.0, 20.0)], clock.at)
        await worker.reload()
        assert worker.venue.markets_of("BTC")[0].maintenance_rate == 0.02  # stored within the day, so it is used
        clock.at += DAY_MS
        await worker.reload()
        assert worker.venue.markets_of("BTC")[0].maintenance_rate == 0.004


async def test_a_map_adopts_new_rules_without_moving_contracts() -> None:
    clock, store = ManualClock(NOW), Store(None, SystemClock())
    await store.open()
    rig = Rig(await exchange(clock), clock, store, AssetBoard("BTC"), ["bybit"])
    try:
        rig.start()
        await rig.settle()
        market = rig.feed.workers[0].venue.markets[0]
        market_map = rig.board.maps.markets[market.key]
        before = market_map.windows["long"].contracts.tobytes()
        rig.feed.workers[0].venue.adopt(market, Tier(0.0, 0.05, 0.0, 10.0))
        assert market_map.windows["long"].contracts.tobytes() == before
        clock.at += 2 * STEP_MS
        await until(lambda: rig.board.maps.markets[market.key].market.maintenance_rate == 0.05)
        assert rig.board.maps.markets[market.key] is market_map
    finally:
        await rig.stop()
        await rig.server.stop()
        await store.close()


@pytest.mark.parametrize("name", [name for name, venue in VENUES.items() if venue.interest_step_ms is None])
async def test_a_market_without_interest_history_starts_with_todays(name: str) -> None:
    async with reader(name) as (worker, _, _, clock):
        await worker.read_history()
        await worker.close_bars()
        for market in worker.venue.markets:
            bars = worker.progress[market.key].waiting
            assert len(bars) > 270
            (reading,) = [r for r in await worker.venue.readings(clock.at) if r.market.key == market.key]
            assert bars[0].contracts == pytest.approx(reading.contracts)
            assert all(bar.contracts is None for bar in bars[1:])


async def test_the_poll_at_a_bars_end_is_its_open_interest() -> None:
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


async def test_history_resumes_after_a_break() -> None:
    async with reader("bybit") as (worker, server, store, clock):
        await worker.open()
        market = worker.venue.markets[0]
        await worker.read_history()
        read = len(await store.market.bars_since(market, 0))
        assert read > 270
        again = VenueWorker(
            VENUES["bybit"](Access(server.url, None, clock.now)), ["BTC"], store.market, clock, 1, lambda market: 0
        )
        requests = server.requests["bybit"]
        await again.read_history()
        assert server.requests["bybit"] - requests <= 5  # the markets, and no bars that are stored already
        assert len(again.progress[market.key].waiting) == read
        assert again.history_to_go(clock.at) == (0, 0)
        await again.venue.close()


async def test_a_worker_far_behind_reports_the_remainder() -> None:
    async with reader("okx") as (worker, server, _, clock):
        await worker.open()
        server.fail("okx", "500")
        await worker.read_history()
        markets, days = worker.history_to_go(clock.at)
        assert markets == 2
        assert days == pytest.approx(2 * 23 / 24, abs=0.1)


async def test_only_wanted_books_are_read() -> None:
    async with reader("okx") as (worker, _, _, _):
        assert await worker.poll()
        await worker.read_books(lambda market: market.kind == "linear")
        assert [book.market.kind for book in worker.books.values()] == ["linear"]


async def test_reading_minutes_stays_within_its_budget_share() -> None:
    async with reader("krakenfutures") as (worker, _, _, clock):
        await worker.open()
        readings = await worker.venue.readings(clock.at)
        assert len(worker._closely(readings)) == 2
        worker.venue.budget = 10.0  # type: ignore[misc]  # a venue that allows next to nothing
        assert worker._closely(readings) == set()
        worker.is_reference = lambda market: market.kind == "inverse"
        assert worker._closely(readings) == {"krakenfutures BTC/USD:BTC"}


async def test_other_coins_replace_those_followed_before() -> None:
    async with reader("binanceusdm") as (worker, _, _, clock):
        await worker.open()
        clock.at += MINUTE_MS
        await worker.follow(["ETH"])
        assert set(worker.progress) == {"binanceusdm ETH/USDT:USDT"}
        assert await worker.poll()
        assert worker.ages_ms(clock.at) == [0]
        assert clock.at - worker.progress["binanceusdm ETH/USDT:USDT"].closed_at > 20 * HOUR_MS


async def test_a_market_without_candles_backs_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reader("binanceusdm") as (worker, server, _, _):
        await worker.open()

        async def nothing(*given: object, **named: object) -> list[object]:
            return []

        monkeypatch.setattr(worker.venue._exchange, "fetch_ohlcv", nothing)
        await worker.read_history()
        (entry,) = worker.progress.values()
        assert entry.wrong == "no candles"
        requests = server.requests["binanceusdm"]
        await worker.read_history()
        assert server.requests["binanceusdm"] - requests <= 1


@pytest.mark.parametrize("fault", ["html", "empty", "truncated"])
async def test_an_invalid_answer_leaves_no_gap_in_history(fault: Fault) -> None:
    async with reader("bybit") as (worker, server, store, _):
        await worker.open()
        market = worker.venue.markets[0]
        before = worker.progress[market.key].closed_at
        server.fail("bybit", fault)
        await worker.read_history()
        assert worker.progress[market.key].closed_at == before
        assert worker.progress[market.key].wrong
        server.recover()
        for entry in worker.progress.values():
            entry.retry_at = 0.0
        await worker.read_history()
        assert len(await store.market.bars_since(market, 0)) > 270


async def test_a_rate_limit_on_any_request_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reader("okx") as (worker, _, _, clock):
        assert await worker.poll()

        async def too_often(*given: object, **named: object) -> list[object]:
            raise VenueError("rate limit", 60.0)

        monkeypatch.setattr(worker.venue, "depth", too_often)
        await worker.read_books(lambda market: True)
        assert worker._in_backoff()
        worker._retry_at = 0.0
        monkeypatch.setattr(worker.venue, "minutes", too_often)
        clock.at += MINUTE_MS
        assert not await worker.poll()
        assert (worker.state, worker.detail) == ("failing", "rate limit")
        assert worker._in_backoff()


async def test_a_market_that_fails_does_not_starve_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reader("gate") as (worker, _, _, clock):
        await worker.open()
        await worker.follow(["BTC", "ETH"])
        asked: list[str] = []
        ask = worker.venue.recent_liquidations

        async def some(market: Market, since: int) -> list[Liquidation]:
            asked.append(market.key)
            if market.kind == "inverse":
                raise VenueError("no such market")
            return await ask(market, since)

        monkeypatch.setattr(worker.venue, "recent_liquidations", some)
        await worker.forced.ask(clock.at)
        assert {key.split(" ")[1] for key in asked} == {"BTC/USDT:USDT", "BTC/USD:BTC", "ETH/USDT:USDT"}
        assert worker.forced.state == "BTC: no such market"


async def test_dropping_a_coin_during_a_poll_fails_nothing() -> None:
    async with reader("okx") as (worker, _, _, _):
        await worker.open()
        readings = worker.venue.readings

        async def slow(now: int) -> list[Reading]:
            result = await readings(now)
            await worker.follow(["ETH"])
            return result

        worker.venue.readings = slow  # type: ignore[method-assign]  # a slow poll
        assert await worker.poll()
        assert worker.state == "ok"


def sample(
    extremes: Extremes, at: int, rows: list[tuple[int, float, float, float, float]] | None, mark: float = 100.0
) -> Sample:
    market = Market("okx", "BTC/USDT:USDT", "BTC")
    return extremes.take(Reading(market, at, mark, 5.0), NOW // STEP_MS * STEP_MS, at, rows)


def test_a_wick_is_found_after_a_failed_poll() -> None:
    extremes, minute = Extremes(), NOW // MINUTE_MS * MINUTE_MS
    sample(extremes, NOW, [(minute, 100.0, 100.0, 100.0, 100.0)])
    failed = sample(extremes, NOW + 20_000, [])
    assert (failed.low, failed.watched_from) == (100.0, NOW + 20_000)
    wick = [(minute, 100.0, 100.0, 95.0, 100.0), (minute + MINUTE_MS, 100.0, 100.0, 100.0, 100.0)]
    recovered = sample(extremes, NOW + 80_000, wick)
    assert recovered.low == 95.0
    assert recovered.watched_from == NOW


def test_an_impossible_minute_sweeps_nothing() -> None:
    extremes, minute = Extremes(), NOW // MINUTE_MS * MINUTE_MS
    sample(extremes, NOW, [(minute, 100.0, 100.0, 100.0, 100.0)])
    result = sample(extremes, NOW + 60_000, [(minute + MINUTE_MS, 100.0, 100.0, 0.5, 100.0)])
    assert (result.low, result.bar_low) == (100.0, 100.0)


async def test_a_timeout_does_not_reuse_an_old_status() -> None:
    async with reader("okx") as (worker, server, _, _):
        await worker.open()
        server.fail("okx", "451")
        with pytest.raises(VenueRefusedError):
            await worker.venue.readings(NOW)
        worker.venue._exchange.timeout = 200
        server.fail("okx", "hangs")
        with pytest.raises(VenueError) as caught:
            await worker.venue.readings(NOW)
        assert not isinstance(caught.value, VenueRefusedError)
        assert str(caught.value) == "no answer in time"


async def test_a_proxy_applies_to_its_own_venue_only() -> None:
    asked: list[str] = []

    async def forward(request: web.BaseRequest) -> web.Response:
        asked.append(str(request.url))
        async with ClientSession() as session, session.get(request.url) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    proxy = web.Server(forward)
    runner = web.ServerRunner(proxy)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clock, port = ManualClock(NOW), runner.addresses[0][1]
    server = await exchange(clock)
    through = VENUES["bybit"](Access(server.url, f"http://me:s3cret@127.0.0.1:{port}", clock.now))
    direct = VENUES["okx"](Access(server.url, None, clock.now))
    try:
        for venue in (through, direct):
            await venue.load()
            venue.follow(["BTC"])
            assert await venue.readings(NOW)
        assert asked
        assert all("/bybit/" in url for url in asked)
        await runner.cleanup()
        with pytest.raises(VenueError) as caught:
            await through.readings(NOW)
        assert "s3cret" not in str(caught.value)
        assert await direct.readings(NOW)
    finally:
        await through.close()
        await direct.close()
        await server.stop()
        await runner.cleanup()


async def test_a_venue_is_left_alone_for_as_long_as_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reader("okx") as (worker, _, _, clock):
        await worker.open()

        async def too_often(*given: object, **named: object) -> list[object]:
            raise VenueError("rate limit", 7200.0)

        monkeypatch.setattr(worker.venue, "readings", too_often)
        asked_at = asyncio.get_running_loop().time()
        assert not await worker.poll()
        assert worker._retry_at >= asked_at + 7200.0 / clock.speed
