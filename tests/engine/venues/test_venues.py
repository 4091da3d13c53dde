"""Each venue through unmodified ccxt over real sockets: units, bars, streams, failures."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from engine.clock import ManualClock
from engine.errors import VenueError
from engine.loopback.tape import VENUE_SHARE
from engine.market import DAY_MS, MINUTE_MS, Liquidation
from engine.venues.registry import VENUES
from engine.venues.venue import STEP_MS, Minute, per_eight_hours
from tests.engine.loopback.markets import START, WavySource, burst, exchange

NOW = START + 3 * DAY_MS + 17_000
IDS = tuple(VENUES)


@pytest.mark.parametrize("name", IDS)
async def test_bars_have_no_gap_and_contracts_are_the_venues_own(name: str) -> None:
    server = await exchange(ManualClock(NOW))
    venue = VENUES[name](server.url)
    try:
        await venue.open(["BTC", "NOPE"])
        (market,) = venue.markets
        bars = await venue.bars(market, NOW - 2 * DAY_MS, NOW, NOW)
        assert len(bars) == 2 * 288 - 1 or len(bars) == 2 * 288
        assert all(right.opened_at == left.closed_at for left, right in itertools.pairwise(bars))
        assert all(bar.contracts is not None for bar in bars)
        last = bars[-1]
        assert NOW - STEP_MS < last.closed_at <= NOW
        assert last.contracts is not None
        base = last.contracts * market.contract_size
        assert base == pytest.approx(80_000 * VENUE_SHARE[name], rel=0.06)
    finally:
        await venue.close()
        await server.stop()


async def test_bars_without_open_interest_are_kept_but_for_the_newest() -> None:
    server = await exchange(ManualClock(NOW))
    venue = VENUES["bybit"](server.url)
    try:
        await venue.open(["BTC"])
        (market,) = venue.markets

        async def nothing(*given: object, **named: object) -> list[object]:
            return []

        venue._exchange.fetch_open_interest_history = nothing
        old = await venue.bars(market, NOW - 2 * DAY_MS, NOW - DAY_MS, NOW)
        assert len(old) in (287, 288)
        assert all(bar.contracts is None for bar in old)
        recent = await venue.bars(market, NOW - DAY_MS, NOW, NOW)
        assert NOW - recent[-1].closed_at >= 10 * MINUTE_MS
    finally:
        await venue.close()
        await server.stop()


@pytest.mark.parametrize("name", IDS)
async def test_a_sample_holds_mark_extremes_contracts_and_funding(name: str) -> None:
    clock = ManualClock(NOW)
    server = await exchange(clock)
    venue = VENUES[name](server.url)
    try:
        await venue.open(["BTC"])
        (market,) = venue.markets
        since = NOW // STEP_MS * STEP_MS - STEP_MS
        first, minute = await venue.sample(market, since, None, NOW)
        assert first.low == first.mark == first.high
        sample, _ = await venue.sample(market, since, Minute(NOW - 80_000, 0.0, 1e9, NOW - 80_000), NOW)
        assert minute.at == NOW // MINUTE_MS * MINUTE_MS
        assert sample.bar_low <= sample.low <= sample.mark <= sample.high <= sample.bar_high
        assert market.usd(sample.contracts, sample.mark) == pytest.approx(7.2e9 * VENUE_SHARE[name], rel=0.08)
        assert sample.funding_rate == pytest.approx(1e-4)
        assert sample.at == NOW
    finally:
        await venue.close()
        await server.stop()


@pytest.mark.parametrize("name", IDS)
async def test_a_burst_of_liquidations_is_caught_whole(name: str) -> None:
    clock, source = ManualClock(NOW), WavySource()
    server = await exchange(clock, source)
    venue = VENUES[name](server.url)
    found: list[Liquidation] = []

    async def watch() -> None:
        while True:
            found.extend(await venue.watch())

    try:
        await venue.open(["BTC"])
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.3)
        source.orders = burst(NOW + MINUTE_MS, 300, name)
        clock.at = NOW + 2 * MINUTE_MS
        for _ in range(300):
            await asyncio.sleep(0.01)
            if len(found) >= 300:
                break
        watching.cancel()
        assert len(found) == 300
        assert {event.side for event in found} == {"long", "short"}
        sizes = sorted(event.contracts * event.market.contract_size for event in found)
        assert sizes == pytest.approx([0.1 + i for i in range(300)], abs=0.006)
        longs = [event for event in found if event.side == "long"]
        assert {round(event.price) % 2 for event in longs} == {1}
    finally:
        await venue.close()
        await server.stop()


@pytest.mark.parametrize("name", IDS)
async def test_a_venue_that_fails_says_so_in_a_few_words(name: str) -> None:
    server = await exchange(ManualClock(NOW))
    server.failing.add(name)
    venue = VENUES[name](server.url)
    try:
        with pytest.raises(VenueError) as caught:
            await venue.open(["BTC"])
        assert "127.0.0.1" not in str(caught.value)
        assert len(str(caught.value)) < 100
    finally:
        await venue.close()
        await server.stop()


async def test_a_venue_that_lists_none_of_the_coins_says_so() -> None:
    server = await exchange(ManualClock(NOW))
    venue = VENUES["bybit"](server.url)
    try:
        with pytest.raises(VenueError, match="none of the coins"):
            await venue.open(["NOPE"])
    finally:
        await venue.close()
        await server.stop()


def test_funding_is_compared_per_eight_hours() -> None:
    assert per_eight_hours(1e-4, "4h") == pytest.approx(2e-4)
    assert per_eight_hours(1e-4, None) == 1e-4
    assert per_eight_hours(None, "8h") is None
