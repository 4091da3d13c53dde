"""Cost of a bar: one market's map, and an asset of three markets with clusters, rules and candidates."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from engine.alerts.cluster_rules import decide, every_pair
from engine.alerts.rules import Rule
from engine.board import AssetBoard
from engine.liquidation.grid import WINDOW
from engine.liquidation.market_map import MarketMap
from engine.market import AssetUpdate, Bar, Market

STEP_MS = 300_000
BARS = 3000
VENUES = ("binanceusdm", "bybit", "okx")


def bars(seed: int = 1) -> list[Bar]:
    """Return a random walk of five-minute bars."""
    rng = np.random.default_rng(seed)
    closes = 90_000 * np.exp(np.cumsum(rng.normal(0, 0.0012, BARS)))
    interest = 80_000 * np.exp(np.cumsum(rng.normal(0, 0.001, BARS)))
    series, before = [], float(closes[0])
    for number, (close, contracts) in enumerate(zip(closes, interest, strict=True)):
        wiggle = 1 + abs(float(rng.normal(0, 0.0005)))
        high, low = max(before, close) * wiggle, min(before, close) / wiggle
        series.append(Bar(number * STEP_MS, STEP_MS, before, high, low, float(close), float(contracts)))
        before = float(close)
    return series


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run() -> Iterator[tuple[str, float, str]]:
    """Yield the cost of a map step relative to copying its levels, and of an asset's tick relative to a step."""
    series = bars()
    market_map = MarketMap(Market("binanceusdm", "BTC/USDT:USDT", "BTC"))
    market_map.open(series[0], series[0].contracts or 1.0)
    step = statistics.median(seconds(lambda b=bar: market_map.step(b)) for bar in series[1:])  # type: ignore[misc]
    held = np.zeros((2, WINDOW))
    copy = statistics.median(seconds(held.copy) for _ in range(2000))
    yield "tick.map_step_us", step * 1e6, "us"
    yield "tick.map_step_copies", step / copy, "times copying both sides"
    board = AssetBoard("BTC")
    markets = [Market(venue, "BTC/USDT:USDT", "BTC") for venue in VENUES]
    rules = [Rule(number, number, "near", None, 0.01, "normal") for number in range(100)]
    ticks, fired = [], []
    for bar in series:
        update = AssetUpdate(bar.path, tuple((market, bar) for market in markets))
        started = time.perf_counter()
        tick = board.advance(update, bar.closed_at)
        ticks.append(time.perf_counter() - started)
        if tick is not None:
            fired.append(seconds(lambda t=tick: decide(every_pair(rules, t), {}, t)))  # type: ignore[misc]
    tick_seconds = statistics.median(ticks)
    yield "tick.asset_ms", tick_seconds * 1e3, "ms"
    yield "tick.asset_steps", tick_seconds / step, "times one map step"
    yield "tick.hourly_ms", statistics.fmean(sorted(ticks)[-len(ticks) // 12 :]) * 1e3, "ms"
    yield "tick.rules_us", statistics.fmean(fired) / len(rules) * 1e6, "us a rule"
    yield "tick.live_clusters", float(len(board.clusters)), "clusters"
    yield "tick.finite", float(math.isfinite(board.view.forced_usd(board.mark * 0.97))), "1 is right"
