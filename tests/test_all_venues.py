"""The whole program on all venues at once: with faults and without, recorded and read back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.board import AssetBoard
from engine.clock import ScaledClock, SystemClock
from engine.loopback.faults import FAULTS
from engine.loopback.server import FORMATS, LoopbackExchange
from engine.loopback.tape import Tape
from engine.market import DAY_MS, MINUTE_MS, SIDES, AssetUpdate, Bar, Market
from engine.recording import read_recording
from engine.venues.registry import VENUES
from engine.venues.venue import STEP_MS
from storage.store import Store
from tests.conftest import until
from tests.engine.loopback.markets import WavySource, burst
from tests.process import Process

SPEED = 40.0
SECONDS = float(os.environ.get("SOAK_SECONDS", "12"))
"""Duration of the random faults, seconds. Set SOAK_SECONDS to make it minutes."""

FAULTY = ("bybit", "okx", "bitget", "gate", "htx", "hyperliquid")
UP = tuple(name for name in VENUES if name not in FAULTY)
START = 1_765_000_000_000 // DAY_MS * DAY_MS


@pytest.fixture
async def twins(tmp_path: Path) -> AsyncIterator[tuple[ScaledClock, LoopbackExchange, LoopbackExchange]]:
    clock = ScaledClock(START + 2 * DAY_MS, SystemClock().now(), SPEED)
    exchanges = [LoopbackExchange({"BTC": Tape(WavySource(start=START))}, clock, inverse=True) for _ in range(2)]
    for server in exchanges:
        await server.start()
    yield clock, exchanges[0], exchanges[1]
    for server in exchanges:
        await server.stop()


def program(folder: Path, name: str, clock: ScaledClock, server: LoopbackExchange) -> Process:
    return Process(
        folder,
        DATABASE=str(folder / f"{name}.sqlite"),
        VENUE_GATEWAY=server.url,
        ASSETS="BTC",
        CLOCK=clock.text,
        ACCESS="open",
        HISTORY_DAYS="1",
        POLL_SECONDS="40",
        LOG_LEVEL="WARNING",
    )


async def stored(path: Path) -> dict[Market, list[Bar]]:
    store = Store(path, SystemClock(), reading=True)
    await store.open()
    bars = {market: await store.market.bars_since(market, 0) for market in await store.market.markets()}
    await store.close()
    return bars


async def checkpoint(path: Path) -> AssetBoard:
    store = Store(path, SystemClock(), reading=True)
    await store.open()
    state = await store.checkpoints.load("BTC")
    await store.close()
    assert state is not None
    return AssetBoard.restore("BTC", list(VENUES), state)


def stepped(market: Market, bars: list[Bar], until_at: int) -> AssetBoard:
    board = AssetBoard("BTC")
    for bar in bars:
        if bar.closed_at <= until_at:
            board.advance(AssetUpdate(bars=((market, bar),)), bar.closed_at)
    return board


@pytest.mark.timeout(600)
async def test_faults_of_some_venues_do_not_change_the_others_maps(
    twins: tuple[ScaledClock, LoopbackExchange, LoopbackExchange], tmp_path: Path
) -> None:
    clock, well, faulty = twins
    assert len(FORMATS) == len(VENUES) == 11
    seed = random.randrange(10**6)  # chooses faults, guards nothing
    print(f"seed {seed}")  # noqa: T201  # to reproduce a failure
    choose = random.Random(seed)
    programs = [program(tmp_path, "well", clock, well), program(tmp_path, "faulty", clock, faulty)]
    for each in programs:
        await each.start()
    await until(lambda: all(count > 50 for count in well.requests.values()), 60)
    end = asyncio.get_running_loop().time() + SECONDS
    while asyncio.get_running_loop().time() < end:
        faulty.fail(choose.choice(FAULTY), choose.choice(FAULTS))
        if choose.random() < 0.3:
            faulty.recover()
        await asyncio.sleep(0.7)
    faulty.recover()
    await asyncio.sleep(10)
    for each in programs:
        assert await each.terminate(signal.SIGTERM) == 0, each.errors
        assert "Traceback" not in each.errors, each.errors
    without, with_faults = await stored(tmp_path / "well.sqlite"), await stored(tmp_path / "faulty.sqlite")
    board = await checkpoint(tmp_path / "faulty.sqlite")
    for market, bars in without.items():
        assert len(bars) > 270
        again = with_faults[market]
        if market.venue not in UP:
            nothing_was_made_up(bars, again)
            continue
        assert min(bars[-1].closed_at, again[-1].closed_at) >= clock.now() - 60 * MINUTE_MS
        the_same_bars(market, bars, again)
        if keeps_interest(market):
            the_same_map(market, bars, again, board)
    assert sum(market.venue in UP and keeps_interest(market) for market in without) == 4


def keeps_interest(market: Market) -> bool:
    """Return True if a venue's history has open interest for each bar, so that bars do not depend on poll times."""
    return VENUES[market.venue].interest_step_ms == STEP_MS


def the_same_bars(market: Market, bars: list[Bar], again: list[Bar]) -> None:
    others = {bar.opened_at: bar for bar in again}
    assert abs(bars[0].opened_at - again[0].opened_at) <= 60 * MINUTE_MS  # history reaches back from each one's start
    for bar in bars:
        if bar.opened_at < again[0].opened_at or bar.closed_at > again[-1].closed_at:
            continue
        other = others[bar.opened_at]
        assert other.path == bar.path
        if keeps_interest(market):
            assert other == bar
        elif bar.contracts and other.contracts:
            assert other.contracts == pytest.approx(bar.contracts, rel=0.01)


def the_same_map(market: Market, bars: list[Bar], again: list[Bar], board: AssetBoard) -> None:
    first, last = max(bars[0].opened_at, again[0].opened_at), min(bars[-1].closed_at, again[-1].closed_at)
    one, two = (stepped(market, [bar for bar in each if bar.opened_at >= first], last) for each in (bars, again))
    own = stepped(market, again, board.maps.closed_at_of(market))
    for side in SIDES:
        left, right = (rebuilt.maps.markets[market.key].windows[side].contracts for rebuilt in (one, two))
        assert left.tobytes() == right.tobytes()
        # And the program's own map equals the map made from its bars.
        kept = board.maps.markets[market.key].windows[side].contracts
        assert kept.tobytes() == own.maps.markets[market.key].windows[side].contracts.tobytes()


def nothing_was_made_up(bars: list[Bar], again: list[Bar]) -> None:
    originals = {bar.opened_at: bar for bar in bars}
    for bar in again:
        if bar.opened_at in originals:
            assert bar.close == pytest.approx(originals[bar.opened_at].close, rel=1e-6)


@pytest.mark.timeout(300)
async def test_a_recording_of_all_venues_is_read_back_by_replay_and_ask(tmp_path: Path) -> None:
    clock = ScaledClock(START + 2 * DAY_MS, SystemClock().now(), 120.0)
    source = WavySource(start=START)
    server = LoopbackExchange({"BTC": Tape(source)}, clock, inverse=True)
    await server.start()
    out = tmp_path / "market.jsonl"
    recording = Process(
        tmp_path,
        DATABASE=str(tmp_path / "a.sqlite"),
        VENUE_GATEWAY=server.url,
        ASSETS="BTC",
        CLOCK=clock.text,
        HISTORY_DAYS="1",
        POLL_SECONDS="60",
        LOG_LEVEL="WARNING",
    )
    try:
        await recording.start("record", "--out", str(out))
        await until(lambda: server.listeners("okx") and server.listeners("bybit"), 60)
        await asyncio.sleep(2)
        source.orders = burst(clock.now() + 60_000, 200, "okx")
        await until(lambda: out.exists() and out.read_text(encoding="utf-8").count('{"forced"') >= 200, 30)
        await asyncio.sleep(3)
        assert await recording.terminate(signal.SIGINT) == 0, recording.errors
        assert "liquidation orders written" in recording.errors
        history = read_recording(out)
        markets = {history.market, *(market for market, _ in history.others)}
        assert {market.venue for market in markets} == set(VENUES)
        assert {market.kind for market in markets} == {"linear", "inverse"}
        assert len(history.events) == 200
        assert len(history.bars) > 270
        # A second run continues the recording where the first ended.
        await recording.start("record", "--out", str(out))
        await until(lambda: len(out.read_bytes()) > 0 and read_recording(out).end > history.end, 60)
        assert await recording.terminate() == 0, recording.errors
        again = read_recording(out)
        assert again.bars[: len(history.bars)] == history.bars
        assert again.gaps == ()
        assert again.events[:200] == history.events
        await _read_back(tmp_path, out)
    finally:
        await recording.close()
        await server.stop()


async def _read_back(folder: Path, out: Path) -> None:
    process = Process(folder)
    for command in (("ask", "/rekt 4h", "--json"), ("replay", "--json"), ("clusters", "--json")):
        words = [command[0], *command[1:-1], "--history", str(out), "--json"]
        await process.start(*words)
        async with asyncio.timeout(60):
            assert await process.ended() == 0, process.errors
        assert not process.errors.count("Traceback")
        if command[0] == "ask":
            answer = json.loads(process.output)
            assert answer["by_venue"]["okx"]["long"] > 0
            assert "Largest of 200" in answer["text"]
