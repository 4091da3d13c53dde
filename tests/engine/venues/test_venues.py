"""Each venue through unmodified ccxt over real sockets: units, bars, liquidation orders, margin, books."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.clock import ManualClock
from engine.errors import VenueError
from engine.loopback.server import LoopbackExchange
from engine.loopback.tape import Forced
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, Liquidation, Market
from engine.venues.ccxt_client import Access
from engine.venues.extremes import Extremes
from engine.venues.registry import VENUES
from engine.venues.venue import STEP_MS, Venue
from tests.engine.loopback.markets import INTEREST, SHARES, START, WavySource, burst, cheap, exchange

NOW = START + 3 * DAY_MS + 17_000
IDS = tuple(VENUES)
STREAMS = tuple(name for name, venue in VENUES.items() if venue.feed == "stream")
LISTS = tuple(name for name, venue in VENUES.items() if venue.feed == "poll")
ONLY_INVERSE = ("binancecoinm",)


@asynccontextmanager
async def opened(
    name: str, *sources: WavySource, clock: ManualClock | None = None
) -> AsyncIterator[tuple[Venue, LoopbackExchange]]:
    clock = clock or ManualClock(NOW)
    server = await exchange(clock, *sources, inverse=True)
    venue = VENUES[name](Access(server.url, None, clock.now))
    try:
        await venue.load()
        venue.follow(["BTC", "PEPE"])
        yield venue, server
    finally:
        await venue.close()
        await server.stop()


def expected_usd(market: Market) -> float:
    """Return the approximate open interest, USD, of a market of the test's coin at its venue."""
    share = 0.1 if market.kind == "inverse" and market.venue not in ONLY_INVERSE else 1.0
    return INTEREST * 90_000 * SHARES[market.venue] * share


@pytest.mark.parametrize("name", IDS)
async def test_bars_have_open_interest_and_no_gap(name: str) -> None:
    async with opened(name) as (venue, _):
        for market in venue.markets:
            bars = await venue.bars(market, NOW - 2 * DAY_MS, NOW, NOW)
            assert len(bars) >= 2 * 288 - 2
            assert all(right.opened_at == left.closed_at for left, right in itertools.pairwise(bars))
            with_interest = [bar for bar in bars if bar.contracts is not None]
            step = venue.interest_step_ms
            assert len(with_interest) == (0 if step is None else len(bars) if step == STEP_MS else 48)
            for bar in with_interest[::50]:
                assert bar.contracts is not None
                assert market.usd(bar.contracts, bar.close) == pytest.approx(expected_usd(market), rel=0.08)


@pytest.mark.parametrize("name", IDS)
async def test_polled_open_interest_fills_in_for_history(name: str) -> None:
    async with opened(name) as (venue, _):
        market = venue.markets[0]
        bars = await venue.bars(market, NOW - HOUR_MS, NOW, NOW, lambda at: 1000.0 + at % 7)
        assert len(bars) in (11, 12)
        assert NOW - bars[-1].closed_at < STEP_MS
        own = [bar for bar in bars if bar.contracts == 1000.0 + bar.closed_at % 7]
        assert len(own) >= (11 if venue.interest_step_ms != STEP_MS else 0) - 1
        if venue.interest_step_ms == STEP_MS:
            assert not own


async def test_bars_without_open_interest_are_kept_but_for_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened("bybit") as (venue, _):
        market = venue.markets[0]

        async def nothing(*given: object, **named: object) -> list[object]:
            return []

        monkeypatch.setattr(venue._exchange, "fetch_open_interest_history", nothing)
        old = await venue.bars(market, NOW - 2 * DAY_MS, NOW - DAY_MS, NOW)
        assert len(old) in (287, 288)
        assert all(bar.contracts is None for bar in old)
        recent = await venue.bars(market, NOW - DAY_MS, NOW, NOW)
        assert NOW - recent[-1].closed_at >= 10 * MINUTE_MS


@pytest.mark.parametrize("name", IDS)
async def test_a_poll_gives_mark_contracts_funding_and_time(name: str) -> None:
    async with opened(name) as (venue, server):
        requests = server.requests[name]
        readings = await venue.readings(NOW)
        assert server.requests[name] - requests <= 4
        assert [reading.market for reading in readings] == list(venue.markets)
        for reading in readings:
            market = reading.market
            assert reading.mark == pytest.approx(90_000, rel=0.02)
            assert market.usd(reading.contracts, reading.mark) == pytest.approx(expected_usd(market), rel=0.08)
            assert reading.at == NOW
            if reading.funding_rate is not None:
                assert reading.funding_rate == pytest.approx(1e-4, rel=1e-4)
        assert venue.refused == {}


@pytest.mark.parametrize("name", IDS)
async def test_minutes_give_the_extremes_since_the_last_poll(name: str) -> None:
    clock = ManualClock(NOW)
    async with opened(name, clock=clock) as (venue, _):
        market, extremes = venue.markets[0], Extremes()
        closed_at = NOW // STEP_MS * STEP_MS - 2 * STEP_MS
        for _ in range(3):
            reading = (await venue.readings(clock.at))[0]
            rows = await venue.minutes(market, extremes.wanted_since(closed_at, clock.at))
            sample = extremes.take(reading, closed_at, clock.at, rows)
            assert sample.bar_low <= sample.low <= sample.mark <= sample.high <= sample.bar_high
            clock.at += 130_000
        assert rows[-1][0] <= clock.at - 130_000
        assert sample.high > sample.low
        assert sample.watched_from <= clock.at - 260_000


@pytest.mark.parametrize("name", [name for name in IDS if name not in ONLY_INVERSE])
async def test_a_coin_quoted_per_thousand_has_one_price(name: str) -> None:
    async with opened(name, cheap()) as (venue, server):
        (market,) = venue.markets
        assert market.asset == "PEPE"
        (reading,) = await venue.readings(NOW)
        assert reading.mark == pytest.approx(1.2e-5, rel=0.02)
        assert market.usd(reading.contracts, reading.mark) == pytest.approx(6e7 * SHARES[name], rel=0.08)
        bar = (await venue.bars(market, NOW - HOUR_MS, NOW - 20 * MINUTE_MS, NOW))[-1]
        assert bar.close == pytest.approx(1.2e-5, rel=0.02)
        depth = await venue.depth(market, NOW)
        assert depth.middle == pytest.approx(1.2e-5, rel=0.02)
        assert server.requests[name] > 0


@pytest.mark.parametrize("name", IDS)
async def test_order_books_are_usd_by_distance(name: str) -> None:
    async with opened(name) as (venue, _):
        for market in venue.markets:
            depth = await venue.depth(market, NOW)
            (mark,) = {round(r.mark) for r in await venue.readings(NOW) if r.market == market}
            assert depth.middle == pytest.approx(mark, rel=1e-3)
            # The loopback book has a row every 2 bp, the first with a ten-thousandth of the open interest.
            nearest = depth.within("long", 0.0005)
            assert nearest == pytest.approx(expected_usd(market) * 1e-4 * 2, rel=0.8)
            assert depth.within("short", 0.002) > depth.within("short", 0.001) > 0
            assert depth.at == NOW


@pytest.mark.parametrize("name", [name for name in IDS if VENUES[name].tiers_public])
async def test_margin_tiers_start_at_zero_and_rise(name: str) -> None:
    async with opened(name) as (venue, _):
        await venue.readings(NOW)
        for market in venue.markets:
            tiers = await venue.tiers(market)
            if name == "htx" and market.kind == "inverse":
                assert tiers == []
                continue
            assert tiers[0].floor == 0
            assert 0.002 < tiers[0].maintenance_rate < 0.03
            assert all(a.maintenance_rate < b.maintenance_rate for a, b in itertools.pairwise(tiers))
            assert all(a.floor < b.floor for a, b in itertools.pairwise(tiers))


@pytest.mark.parametrize("name", STREAMS)
async def test_a_burst_of_a_thousand_in_a_second_is_complete(name: str) -> None:
    clock, source = ManualClock(NOW), WavySource()
    async with opened(name, source, clock=clock) as (venue, _):
        received: list[Liquidation] = []

        async def watch() -> None:
            while True:
                received.extend(await venue.watch())

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.3)
        source.orders = burst(NOW + MINUTE_MS, 1000, name)
        clock.at = NOW + 2 * MINUTE_MS
        for _ in range(500):
            await asyncio.sleep(0.01)
            if len(received) >= 1000:
                break
        watching.cancel()
        assert len(received) == 1000
        assert venue.frames_dropped == 0
        for event in received:
            assert event.side == ("long" if round(event.price) % 2 else "short")
        size = sum(event.notional_usd for event in received)
        assert size == pytest.approx(sum(e.amount_base * e.price for e in burst(NOW, 1000, name)), rel=1e-4)


@pytest.mark.parametrize("name", LISTS)
async def test_polled_liquidation_orders_have_side_price_and_size(name: str) -> None:
    clock, source = ManualClock(NOW), WavySource()
    async with opened(name, source, clock=clock) as (venue, _):
        (market,) = (m for m in venue.markets if m.kind == "linear")
        at = NOW + MINUTE_MS
        source.orders = [
            Forced(at, name, "long", 88_000.0, 0.5),
            Forced(at, name, "long", 88_000.0, 0.5),
            Forced(at + 1000, name, "short", 91_000.0, 2.0),
        ]
        clock.at = NOW + 3 * MINUTE_MS
        events = await venue.recent_liquidations(market, NOW)
        assert [(event.side, event.price, event.number) for event in events] == [
            ("long", 88_000.0, 0),
            ("long", 88_000.0, 1),
            ("short", 91_000.0, 0),
        ]
        assert [event.notional_usd for event in events] == pytest.approx([44_000, 44_000, 182_000], rel=1e-3)
        assert await venue.recent_liquidations(market, at + 1000) == []


async def test_gates_bars_have_liquidation_totals() -> None:
    clock, source = ManualClock(NOW), WavySource()
    async with opened("gate", source, clock=clock) as (venue, _):
        (market,) = (m for m in venue.markets if m.kind == "linear")
        at = NOW // STEP_MS * STEP_MS + STEP_MS
        source.orders = [Forced(at + 60_000, "gate", "long", 88_000.0, 0.5)]
        clock.at = at + 3 * STEP_MS
        bars = {bar.opened_at: bar for bar in await venue.bars(market, NOW - HOUR_MS, clock.at, clock.at)}
        assert bars[at].long_liquidations_usd == pytest.approx(44_000)
        assert bars[at].short_liquidations_usd == 0
        assert bars[at - STEP_MS].long_liquidations_usd == 0


@pytest.mark.parametrize("name", IDS)
async def test_a_survey_ranks_coins_by_open_interest(name: str) -> None:
    async with opened(name, WavySource(), cheap()) as (venue, _):
        usd = await venue.open_interest_by_coin()
        assert usd["BTC"] == pytest.approx(sum(expected_usd(m) for m in venue.markets if m.asset == "BTC"), rel=0.08)
        if name not in ONLY_INVERSE:
            assert usd["PEPE"] == pytest.approx(6e7 * SHARES[name], rel=0.08)


async def test_a_venue_without_any_of_the_coins_fails() -> None:
    async with opened("bybit") as (venue, _):
        with pytest.raises(VenueError, match="none of the coins"):
            venue.follow(["NOPE"])


@pytest.mark.parametrize("name", IDS)
async def test_every_request_is_counted_with_its_cost(name: str) -> None:
    async with opened(name) as (venue, server):
        await venue.readings(NOW)
        assert venue.meter.requests == server.requests[name]
        assert venue.meter.cost > 0
        count, cost = venue.meter.last_minute()
        assert count == venue.meter.requests
        assert math.isclose(cost, venue.meter.cost)
