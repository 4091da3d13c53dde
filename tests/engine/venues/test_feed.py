"""The live feed: history first, then ticks. A venue that fails is left out until it recovers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from engine.alerts.active_rules import ActiveRules
from engine.board import AssetBoard
from engine.clock import ManualClock, SystemClock
from engine.errors import VenueError
from engine.loopback.server import LoopbackExchange
from engine.market import DAY_MS, MINUTE_MS, AssetUpdate, MarketTick, ReportedLiquidation
from engine.pipeline import AlertPipeline
from engine.venues.ccxt_client import Access
from engine.venues.feed import LiveFeed
from engine.venues.progress import MarketProgress
from engine.venues.registry import VENUES
from engine.venues.worker import VenueWorker
from storage.store import Store
from tests.conftest import until
from tests.engine.loopback.markets import START, exchange

NOW = START + 3 * DAY_MS + 17_000
DAYS = 2
THREE = ("binanceusdm", "bybit", "okx")


class Rig:
    """A loopback exchange, a feed that reads it, and a pipeline that processes its ticks."""

    def __init__(
        self,
        server: LoopbackExchange,
        clock: ManualClock,
        store: Store,
        board: AssetBoard,
        names: Sequence[str] = THREE,
        poll_seconds: float = 1.0,
    ) -> None:
        self.server, self.clock, self.store, self.board = server, clock, store, board
        workers = [
            VenueWorker(
                VENUES[name](Access(server.url, None, clock.now)),
                ["BTC"],
                store.market,
                clock,
                DAYS,
                board.maps.closed_at_of,
            )
            for name in names
        ]
        self.feed = LiveFeed(workers, {"BTC": board}, store.market, clock, poll_seconds)
        self.pipeline = AlertPipeline({"BTC": board}, ActiveRules(), store)
        self.delivered: list[MarketTick] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def stored(self) -> list[ReportedLiquidation]:
        """Liquidation orders that ticks have delivered."""
        return [row for d in self.delivered for update in d.updates.values() for row in update.reported]

    def start(self) -> None:
        async def run() -> None:
            async for delivered in self.feed.ticks():
                self.delivered.append(delivered)
                await self.pipeline.process(delivered)

        self._task = asyncio.create_task(run())

    async def settle(self) -> None:
        """Wait until the feed has caught up with the present."""
        await until(lambda: any(not d.silent and not d.late and d.now >= self.clock.at for d in self.delivered))

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.feed.stop()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    clock = ManualClock(NOW)
    store = Store(None, SystemClock())
    await store.open()
    made = Rig(await exchange(clock), clock, store, AssetBoard("BTC"))
    yield made
    await made.stop()
    await made.server.stop()
    await store.close()


async def test_the_first_start_reads_history_silently_and_then_ticks(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    silent = [d for d in rig.delivered if d.silent]
    assert len(silent) >= DAYS * 288 - 15
    assert rig.board.history_days == pytest.approx(DAYS, abs=0.06)
    assert set(rig.board.view.interest_usd) == set(THREE)
    assert rig.board.missing == {}


async def test_loopback_and_direct_feed_give_the_same_map(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    direct = AssetBoard("BTC")
    for worker in rig.feed.workers:
        market = worker.venue.markets[0]
        for bar in await rig.store.market.bars_since(market, 0):
            direct.advance(AssetUpdate(bars=((market, bar),)), bar.closed_at)
        live, again = rig.board.maps.markets[market.key], direct.maps.markets[market.key]
        assert live.closed_at == again.closed_at
        for side in ("long", "short"):
            assert live.windows[side].contracts.tobytes() == again.windows[side].contracts.tobytes()


async def test_bars_close_as_time_passes(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    before = rig.board.closed_at
    for _ in range(12):
        rig.clock.at += MINUTE_MS
        await asyncio.sleep(0.15)
    await until(lambda: rig.board.closed_at >= before + 2 * 5 * MINUTE_MS)
    assert rig.board.as_of >= rig.clock.at - 2 * MINUTE_MS


async def test_a_venue_that_is_down_at_the_start_is_left_out_and_named(rig: Rig) -> None:
    rig.server.fail("okx", "down")
    rig.start()
    await rig.settle()
    assert set(rig.board.missing) == {"okx"}
    assert set(rig.board.view.venue_shares(80_000)) == {"binanceusdm", "bybit"}


async def test_a_venue_that_fails_later_is_left_out_and_comes_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.venues.worker.BACKOFF_SECONDS", (0.2, 0.4))
    rig.start()
    await rig.settle()
    rig.server.fail("bybit", "down")
    rig.clock.at += 3 * MINUTE_MS
    await until(lambda: set(rig.board.missing) == {"bybit"})
    assert "bybit" not in rig.board.view.venue_shares(80_000)
    held = rig.board.maps.markets["bybit BTC/USDT:USDT"].held("long")
    assert held > 0
    rig.server.recover()
    await until(lambda: not rig.board.missing)
    assert "bybit" in rig.board.view.venue_shares(80_000)


async def test_bars_missed_in_downtime_come_late_and_in_order(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    await rig.stop()
    rig.clock.at += 45 * MINUTE_MS
    again = Rig(rig.server, rig.clock, rig.store, AssetBoard("BTC"))
    again.start()
    try:
        await again.settle()
        late = [d.now for d in again.delivered if d.late]
        assert late == sorted(late)
        assert len(late) == 7  # of nine bars, two are recent enough for live alerts
        assert all(d.silent for d in again.delivered if d.now < late[0])
    finally:
        await again.stop()


async def test_bars_of_an_outage_of_every_venue_are_marked_as_missed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.venues.worker.BACKOFF_SECONDS", (0.05, 0.1))
    rig.start()
    await rig.settle()
    before = await rig.store.market.priced_until()
    for name in THREE:
        rig.server.fail(name, "down")
    await until(lambda: all(worker.state == "failing" for worker in rig.feed.workers))
    rig.clock.at += 20 * MINUTE_MS
    await asyncio.sleep(0.5)
    assert await rig.store.market.priced_until() == before
    count = len(rig.delivered)
    rig.server.recover()
    await until(lambda: any(d.late for d in rig.delivered[count:]))
    await until(lambda: rig.board.as_of >= rig.clock.at)
    missed = [d for d in rig.delivered[count:] if d.now < rig.clock.at]
    assert missed
    assert not any(d.silent for d in missed)
    assert all(d.updates["BTC"].priced for d in missed)


async def test_one_failing_market_does_not_affect_its_venue(rig: Rig) -> None:
    worker = rig.feed.workers[0]
    rig.start()
    await rig.settle()
    market = worker.venue.markets[0]
    listing = worker.venue._followed[market.key]
    other = replace(market, asset="ETH", symbol="ETH/USDT:USDT")
    worker.venue._followed[other.key] = replace(listing, market=other, id="ETHUSDT")
    worker.progress[other.key] = MarketProgress(rig.clock.at)
    rig.clock.at += 70_000
    await until(lambda: worker.detail.startswith("ETH: "))
    assert worker.state == "ok"
    assert worker.ages_ms(rig.clock.at) == [0]
    del worker.venue._followed[other.key]


async def test_a_late_venues_history_is_stepped_before_its_ticks(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.venues.feed.BACKFILL_BARS", 100)
    late = rig.feed.workers[2]
    late.venue.load, load = refuse, late.venue.load  # type: ignore[method-assign]  # down at first
    rig.start()
    await rig.settle()
    assert set(rig.board.missing) == {"okx"}
    late.venue.load, late._retry_at = load, 0.0  # type: ignore[method-assign]
    await until(lambda: not rig.board.missing, 30)
    market = late.venue.markets[0]
    bars = await rig.store.market.bars_since(market, 0)
    direct = AssetBoard("BTC")
    for bar in bars:
        direct.advance(AssetUpdate(bars=((market, bar),)), bar.closed_at)
    live, again = rig.board.maps.markets[market.key], direct.maps.markets[market.key]
    assert live.closed_at == again.closed_at
    assert live.windows["long"].contracts.tobytes() == again.windows["long"].contracts.tobytes()


async def refuse() -> None:
    raise VenueError("not available")
