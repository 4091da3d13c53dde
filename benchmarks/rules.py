"""Cost of rules: a tick over 500 assets with a million rules, and one in which ten thousand fire and are stored.

Of the million, 400,000 are in range and have already fired, and 100 fire in the tick. The same tick with a tenth of the
rules shows how the cost scales. Markets are synthetic; deciding and storing use the program's own code.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.alerts.active_rules import ActiveRules
from engine.alerts.cluster_rules import AssetTick, SizeFilter, decide
from engine.alerts.near import armed_distance
from engine.alerts.rules import Rule
from engine.alerts.state import RuleState, StateKey
from engine.alerts.suppression import suppress_incidents
from engine.alerts.tiers import Candidates
from engine.board import AssetBoard
from engine.clock import SystemClock
from engine.liquidation.clusters import Cluster
from engine.liquidation.grid import WINDOW, bin_of, outward
from engine.liquidation.view import MapView
from engine.loopback.simulated import SimulatedSource
from engine.loopback.tape import Tape
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, AssetUpdate, Bar, Market, MarketTick, Sample
from engine.pipeline import AlertPipeline
from storage.store import Store

ASSETS, RULES = 500, 1_000_000
FIRED, FIRES = 400_000, 100
STORED = 10_000
NOW = 1_795_320_000_000
PRICE = 90_000.0
TIMES = 5


def run() -> Iterator[tuple[str, float, str]]:
    """Yield the time of a tick with all rules and with a tenth of them, and of storing ten thousand alerts."""
    whole, fired = tick_seconds(RULES, FIRED, FIRES)
    tenth, _ = tick_seconds(RULES // 10, FIRED // 10, FIRES)
    yield "rules.tick_ms", whole * 1e3, "ms for 500 assets, 1,000,000 rules"
    yield "rules.fired", float(fired), "of them fired, 100 is right"
    yield "rules.over_a_tenth", whole / tenth, "times the same tick with a tenth of the rules"
    firing, stored, messages = asyncio.run(stored_seconds(STORED))
    yield "rules.firing_seconds", firing, "s for 10,000 that fire in one tick, stored"
    yield "rules.alerts_stored", float(stored), "alerts, 10,000 is right"
    yield "rules.messages_stored", float(messages), "messages"


def world(count: int, fired: int, fires: int) -> tuple[ActiveRules, list[AssetTick]]:
    """Return rules over all assets, with one cluster each, and ticks in which price approaches it."""
    first = outward("long", bin_of(PRICE * math.exp(-0.012)))
    rules: list[Rule] = []
    states: dict[StateKey, RuleState] = {}
    per_asset, fired_per_asset = count // ASSETS, fired // ASSETS
    mass = np.full(WINDOW, 2e6)
    ticks = []
    for number in range(ASSETS):
        asset, cluster_id = f"A{number}", f"c{number}"
        cluster = Cluster(cluster_id, "long", first, first + 3, first + 8, 0, 0, 0.05, 0.05, 1.0, size_usd=1e7)
        for i in range(per_asset):
            rule_id = number * per_asset + i
            # In range and already fired, about to fire in this tick, or out of range.
            if i < fired_per_asset:
                distance = 0.015 + 0.0001 * (i % 100)
                states[rule_id, cluster_id] = RuleState(armed=False, since=NOW - HOUR_MS, awaiting_followup=True)
            elif i == fired_per_asset and number < fires:
                distance = 0.0115
            else:
                distance = 0.001 + 0.00005 * (i % 100)
            rules.append(Rule(rule_id, rule_id, "near", asset, distance, "busy"))
        path = tuple(cluster.near_price * math.exp(d) for d in (0.012, 0.0118, 0.011))
        view = MapView(asset, NOW, path[0], {"long": {"v": mass}, "short": {"v": mass}}, {"v": 8e9})
        ticks.append(AssetTick(asset, NOW, path, (cluster,), (), view, Candidates()))
    return ActiveRules(rules, states), ticks


def tick_seconds(count: int, fired: int, fires: int) -> tuple[float, int]:
    """Return median seconds to decide a tick of all assets, and the number of rules fired in it."""
    book, ticks = world(count, fired, fires)
    seconds, decided = [], 0
    for tick in ticks:  # builds the indexes, once per asset
        book.pairs(tick, SizeFilter(tick))
    for _ in range(TIMES):
        started = time.perf_counter()
        decided = 0
        for tick in ticks:
            sizes = SizeFilter(tick)
            decisions = decide(book.pairs(tick, sizes), book.states, tick, (), sizes)
            suppress_incidents(decisions, tick.asset, lambda _: False, lambda rule: book.cooldown_until(rule) > NOW)
            decided += len(decisions.fired)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), decided


async def stored_seconds(count: int) -> tuple[float, int, int]:
    """Return seconds to process and store a tick in which `count` chats' rules fire, alerts and messages stored."""
    board, market, at = simulated()
    mark = board.mark
    cluster = ahead(board, at)[0]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "bench.sqlite", SystemClock())
        await store.open()
        near = cluster.distance(mark) / 2
        rules = []
        for number in range(count):
            chat = await store.chats.upsert("telegram", str(number), "private", "")
            added, _ = await store.rules.replace(chat.id, [Rule(0, chat.id, "near", "BTC", near, "busy")], ["near"])
            rules += added
        pipeline = AlertPipeline({"BTC": board}, ActiveRules(rules), store)
        await pipeline.process(MarketTick(at, {"BTC": sampled(market, at, (mark,))}))  # rules see their first price
        price = cluster.near_price * math.exp(outward(cluster.side, -1) * near * 0.9)
        started = time.perf_counter()
        record = await pipeline.process(MarketTick(at + MINUTE_MS, {"BTC": sampled(market, at + MINUTE_MS, (price,))}))
        seconds = time.perf_counter() - started
        messages = sum((await store.outbox.counts()).values())
        await store.close()
    return seconds, len(record.alerts), messages


def simulated() -> tuple[AssetBoard, Market, int]:
    """Return the board of a simulated market with a mature cluster ahead, its market, and the time reached."""
    market = Market("binanceusdm", "BTC/USDT:USDT", "BTC")
    tape = Tape(SimulatedSource(7, NOW, 10))
    board, step = AssetBoard("BTC"), 5 * MINUTE_MS
    at = tape.start
    for candle in tape.candles(step, tape.start, NOW - step, NOW):
        at = candle.at + step
        prices = (candle.open, candle.high, candle.low, candle.close)
        bar = Bar(candle.at, step, *prices, tape.interest_base(market.venue, at))
        board.advance(AssetUpdate(path=bar.path, bars=((market, bar),)), at)
        if at > tape.start + 7 * DAY_MS and ahead(board, at):
            break
    return board, market, at


def ahead(board: AssetBoard, at: int) -> list[Cluster]:
    """Return mature clusters for which a rule at half their distance is armed."""
    mark = board.mark
    mature = [c for c in board.clusters if c.distance(mark) > 0.004 and c.mature(at)]
    return [c for c in mature if armed_distance(None, c, c.distance(mark) / 2) == c.distance(mark) / 2]


def sampled(market: Market, at: int, path: tuple[float, ...]) -> AssetUpdate:
    """Return an update with a path and one sample."""
    price = path[-1]
    return AssetUpdate(path=path, samples=(Sample(market, at, at, price, price, price, price, price, 80_000.0),))
