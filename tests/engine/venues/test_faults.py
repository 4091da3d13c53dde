"""Every way a venue can fail: no figure is invented, the state is shown, and the venue recovers by itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.board import AssetBoard
from engine.clock import ManualClock, SystemClock
from engine.errors import VenueError, VenueRefusedError
from engine.loopback.faults import FAULTS, Fault
from engine.loopback.tape import VENUE_SHARE, Forced
from engine.market import DAY_MS, MINUTE_MS, Bar, venue_of
from engine.venues.ccxt_client import Access
from engine.venues.registry import VENUES
from engine.venues.venue import Venue
from storage.store import Store
from tests.conftest import until
from tests.engine.loopback.markets import START, WavySource, burst, exchange
from tests.engine.venues.test_feed import THREE, Rig

NOW = START + 3 * DAY_MS + 17_000
STREAM_FAULTS = ("silent stream", "cut stream")
REFUSED = ("451", "country")
RATE_LIMITED = ("429", "418")
HARMLESS = ("twice", *STREAM_FAULTS)
"""Faults that leave figures right."""

TIMELESS = tuple(name for name in VENUES if name in ("gate", "hyperliquid", "kucoinfutures"))
"""Venues whose figures carry no time, so that neither a wrong clock nor an old answer shows."""


def prices(bar: Bar) -> tuple[float, ...]:
    return bar.opened_at, *bar.path


async def looked(venue: Venue) -> list[Any]:
    return [(reading.market.key, reading.mark, reading.contracts) for reading in await venue.readings(NOW)]


@pytest.mark.parametrize("name", VENUES)
async def test_no_fault_invents_a_figure(name: str) -> None:
    server = await exchange(ManualClock(NOW), inverse=True)
    venue = VENUES[name](Access(server.url, None, lambda: NOW))
    venue._exchange.timeout = 300
    try:
        await venue.load()
        venue.follow(["BTC"])
        good = await looked(venue)
        for fault in FAULTS:
            server.fail(name, fault)
            if fault in HARMLESS or fault == "frozen" or (fault == "ahead" and name in TIMELESS):
                figures = await looked(venue)
                assert [key for key, *_ in figures] == [key for key, *_ in good], fault
                if fault != "ahead":
                    assert figures == good, fault
                continue
            with pytest.raises(VenueError) as caught:
                await looked(venue)
            assert isinstance(caught.value, VenueRefusedError) == (fault in REFUSED), fault
            if fault in RATE_LIMITED:
                assert (str(caught.value), caught.value.retry_after) == ("rate limit", 2.0), fault
            assert "127.0.0.1" not in str(caught.value)
            assert len(str(caught.value)) < 150
            server.fail(name, None)
            assert await looked(venue) == good, f"after {fault}"
    finally:
        await venue.close()
        await server.stop()


@pytest.mark.parametrize("name", VENUES)
async def test_doubled_and_reversed_rows_add_no_bars(name: str) -> None:
    server = await exchange(ManualClock(NOW), inverse=True)
    venue = VENUES[name](Access(server.url, None, lambda: NOW))
    try:
        await venue.load()
        venue.follow(["BTC"])
        market = venue.markets[0]
        good = await venue.bars(market, NOW - DAY_MS, NOW, NOW)
        server.fail(name, "twice")
        received = await venue.bars(market, NOW - DAY_MS, NOW, NOW)
        # Doubled rows may push some bars off the page, but add none.
        assert {prices(bar) for bar in received} <= {prices(bar) for bar in good}
        assert {bar for bar in received if bar.contracts is not None} <= set(good)
        assert all(left.closed_at <= right.opened_at for left, right in itertools.pairwise(received))
        spoilt: tuple[Fault, ...] = ("truncated", "empty", "html", "nan")
        for fault in spoilt:
            server.fail(name, fault)
            try:
                received = await venue.bars(market, NOW - DAY_MS, NOW, NOW)
            except VenueError:
                continue
            assert all((bar.open, bar.close) in {(b.open, b.close) for b in good} for bar in received), fault
            assert all(bar.contracts is None or bar in good for bar in received), fault
    finally:
        await venue.close()
        await server.stop()


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr("engine.venues.worker.BACKOFF_SECONDS", (0.05, 0.1))
    monkeypatch.setattr("engine.venues.worker.REFUSED_SECONDS", 0.1)
    monkeypatch.setattr("engine.venues.liquidation_feed.BACKOFF_SECONDS", (0.05, 0.1))
    clock, store = ManualClock(NOW), Store(None, SystemClock())
    await store.open()
    made = Rig(await exchange(clock), clock, store, AssetBoard("BTC"), poll_seconds=0.3)
    for worker in made.feed.workers:
        worker.venue._exchange.timeout = 400
    yield made
    await made.stop()
    await made.server.stop()
    await store.close()


async def test_each_fault_excludes_one_venue_until_it_recovers(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    worker = next(worker for worker in rig.feed.workers if worker.id == "bybit")
    market = worker.venue.markets[0]
    for fault in [fault for fault in FAULTS if fault not in HARMLESS]:
        held = rig.board.maps.markets[market.key].held("long")
        rig.server.fail("bybit", fault)
        rig.clock.at += 2 * MINUTE_MS
        await until(lambda: set(rig.board.missing) == {"bybit"})
        assert rig.board.missing["bybit"]
        assert "bybit" not in rig.board.view.interest_usd, fault
        assert set(rig.board.view.interest_usd) == {"binanceusdm", "okx"}
        assert rig.board.venue_shares()["bybit"] == pytest.approx(VENUE_SHARE["bybit"], abs=0.03)
        # Its map is kept as it was: an outage closes no positions.
        assert rig.board.maps.markets[market.key].held("long") == pytest.approx(held, rel=0.02)
        if fault in REFUSED:
            await until(lambda: worker.state == "refused")
        rig.server.recover()
        await until(lambda: not rig.board.missing, 30)
        assert worker.state == "ok", fault
        assert "bybit" in rig.board.view.interest_usd


async def test_a_delisted_market_leaves_the_sum_and_the_others_stay(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    rig.server.delist("okx", "BTC")
    rig.clock.at += 2 * MINUTE_MS
    await until(lambda: set(rig.board.missing) == {"okx"})
    assert set(rig.board.view.interest_usd) == {"binanceusdm", "bybit"}


async def test_an_old_answer_is_ignored(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    worker = rig.feed.workers[0]
    rig.clock.at += 30_000
    await until(lambda: worker.ages_ms(rig.clock.at) == [0])
    rig.server.fail(worker.id, "frozen")
    before = worker.progress[worker.venue.markets[0].key].sample
    rig.clock.at += 40_000
    await asyncio.sleep(0.3)
    await until(lambda: not worker._polling.locked())
    assert worker.ages_ms(rig.clock.at) == [40_000]
    assert before is not None


async def test_a_price_far_from_the_others_is_left_out(rig: Rig) -> None:
    rig.start()
    await rig.settle()
    worker = rig.feed.workers[2]
    look = worker.venue._figures

    def thousandfold(listing: Any, row: Any) -> Any:
        figures = look(listing, row)
        return type(figures)(float(figures.mark) * 1000, figures.contracts, at=figures.at)

    worker.venue._figures = thousandfold  # type: ignore[method-assign]  # a venue that changes its lot size overnight
    rig.clock.at += 70_000
    await until(lambda: "another coin" in rig.board.missing.get(worker.id, ""))
    assert rig.feed.prices_refused > 0
    assert rig.board.mark == pytest.approx(90_000, rel=0.05)


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("fault", ["twice", "cut stream"])
async def test_every_order_is_stored_once_despite_repeats_and_reconnects(name: str, fault: Fault) -> None:
    clock, source, store = ManualClock(NOW), WavySource(), Store(None, SystemClock())
    await store.open()
    rig = Rig(await exchange(clock, source), clock, store, AssetBoard("BTC"), [name])
    rig.server.fail(name, fault)
    try:
        rig.start()
        await rig.settle()
        sent: list[Forced] = []
        for step in range(3):
            # Connected and subscribed, whatever happened to the socket before.
            await until(lambda: bool(rig.server.listeners(name)))
            await asyncio.sleep(0.1)
            orders = burst(clock.at + 1000 + step, 20, name)
            sent += orders
            source.orders = orders
            clock.at += MINUTE_MS
            wanted = len(sent)
            await until(lambda: len(rig.stored) >= wanted)  # noqa: B023  # evaluated within this iteration
        await asyncio.sleep(0.3)
        assert len(rig.stored) == len(sent)
        rows = await store.market.reported_since("BTC", 0)
        assert len(rows) == len(sent)
    finally:
        await rig.stop()
        await rig.server.stop()
        await store.close()


async def test_a_stream_that_hangs_is_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.venues.liquidation_feed.QUIET_MS", 400)
    clock, source, store = ManualClock(NOW), WavySource(), Store(None, SystemClock())
    await store.open()
    rig = Rig(await exchange(clock, source), clock, store, AssetBoard("BTC"), ["okx"])
    try:
        rig.server.fail("okx", "silent stream")
        rig.start()
        await rig.settle()
        await asyncio.sleep(0.6)
        rig.server.recover()
        await until(lambda: bool(rig.server.listeners("okx")))
        await asyncio.sleep(0.1)
        source.orders = burst(clock.at + 1000, 5, "okx")
        clock.at += MINUTE_MS
        await until(lambda: len(rig.stored) == 5)
    finally:
        await rig.stop()
        await rig.server.stop()
        await store.close()


async def test_a_thousand_orders_in_a_second_are_stored_once() -> None:
    clock, source, store = ManualClock(NOW), WavySource(), Store(None, SystemClock())
    await store.open()
    rig = Rig(await exchange(clock, source), clock, store, AssetBoard("BTC"))
    try:
        rig.start()
        await rig.settle()
        await until(lambda: all(rig.server.listeners(name) for name in THREE))
        orders = [order for name in THREE for order in burst(clock.at + 1000, 1000, name)]
        source.orders = sorted(orders, key=lambda order: order.at)
        clock.at += MINUTE_MS
        await until(lambda: len(rig.stored) >= 3000)
        rows = await store.market.reported_since("BTC", 0)
        assert len(rows) == 3000
        assert {venue_of(key) for *_, key in rows} == set(THREE)
        assert sum(usd for _, _, usd, _ in rows) == pytest.approx(
            sum(o.amount_base * o.price for o in orders), rel=1e-3
        )
    finally:
        await rig.stop()
        await rig.server.stop()
        await store.close()
