"""Agreement of the map with a simulated market whose true liquidation prices come from separate code.

The truth is the crowd's positions by true liquidation price, cross margin included. The map gets five-minute bars with
open interest, as do maps that assume one leverage for everyone. Rank correlations are within 10 % of the mark, both
sides, in levels of 0.1 %. Liquidations by hour are compared with the predictions of the hourly model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.calibration.skill import ranks
from engine.history import History
from engine.liquidation.grid import bin_of
from engine.liquidation.margin import isolated_price
from engine.liquidation.market_map import MarketMap
from engine.liquidation.prior import MAP, MapPrior
from engine.liquidation.view import combine
from engine.loopback.simulated import SimulatedSource
from engine.loopback.tape import Tape
from engine.loopback.traders import VENUES, Crowd
from engine.market import MINUTE_MS, SIDES, Bar, Market, Side, sign
from engine.study.skill import skill_figures, walk_history

NOW = 1_795_320_000_000
STEP_MS = 5 * MINUTE_MS
MARKET = Market("binanceusdm", "BTC/USDT:USDT", "BTC")
LEVERAGES = (10, 25, 50, 100)
REACH, LEVEL = 0.1, 0.001
HOURLY_TURNOVER = 0.002
SPAN = 8192
"""Levels in a one-leverage map, far more than price moves in a month."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rank correlations with the truth.

    Attributes:
        of_map: that of the map.
        of_leverage: that of a map that assumes one leverage, by leverage.
        hourly: d2 and the other scores of hourly predictions, as engine.calibration.skill defines them.
    """

    of_map: float
    of_leverage: dict[int, float]
    hourly: dict[str, float]


def bars_of(tape: Tape, now: int) -> list[Bar]:
    """Return all closed five-minute bars with their liquidations."""
    bars = []
    for candle in tape.candles(STEP_MS, tape.start, now - STEP_MS, now):
        closed = candle.at + STEP_MS
        interest = sum(tape.interest_base(venue, closed) for venue in VENUES)
        usd = dict.fromkeys(SIDES, 0.0)
        for venue in VENUES:
            for order in tape.forced(venue, candle.at, closed):
                usd[order.side] += order.price * order.amount_base
        prices = (candle.open, candle.high, candle.low, candle.close)
        bars.append(
            Bar(
                candle.at,
                STEP_MS,
                *prices,
                interest,
                long_liquidations_usd=usd["long"],
                short_liquidations_usd=usd["short"],
            )
        )
    return bars


def held_by(crowd: Crowd, mark: float) -> dict[Side, np.ndarray]:
    """Return base units by distance of the true liquidation price from the mark, (100,) float64 per side."""
    edges = np.arange(0, REACH + LEVEL / 2, LEVEL)
    held: dict[Side, np.ndarray] = {}
    for side in SIDES:
        which = (crowd.side == sign(side)) & np.isfinite(crowd.forced) & (crowd.forced > 0)
        distance = sign(side) * np.log(mark / crowd.forced[which])
        held[side] = np.histogram(distance, edges, weights=crowd.amount[which])[0]
    return held


def with_one_leverage(bars: Sequence[Bar], mark: float, leverage: float) -> dict[Side, np.ndarray]:
    """Return contracts by distance, (100,) float64 per side, of a map that assumes one leverage.

    Flows of contracts are a simplified form of the map's.
    """
    base = bin_of(mark) - SPAN // 2
    levels = {side: np.zeros(SPAN) for side in SIDES}
    before = bars[0].contracts or 0.0
    for bar in bars:
        levels["long"][bin_of(bar.low) - base :] = 0
        levels["short"][: bin_of(bar.high) - base + 1] = 0
        after = bar.contracts or before
        turnover = HOURLY_TURNOVER * after / 12
        for side in SIDES:
            levels[side] *= 1 - (max(before - after, 0.0) + turnover) / before
            price = isolated_price((bar.high + bar.low) / 2, leverage, side, MARKET.maintenance_rate)
            levels[side][bin_of(price) - base] += max(after - before, 0.0) + turnover
        before = after
    per, count = round(LEVEL / 0.0005), round(REACH / 0.0005)
    at = bin_of(mark) - base
    outwards = {"long": levels["long"][at - count : at][::-1], "short": levels["short"][at + 1 : at + 1 + count]}
    return {side: outwards[side].reshape(-1, per).sum(axis=1) for side in SIDES}


@dataclass(frozen=True)
class World:
    """A completed simulation: its bars, its last mark, and its traders' true positions at the end."""

    bars: list[Bar]
    mark: float
    truth: dict[Side, np.ndarray]


def world(seed: int, days: int) -> World:
    """Run a simulated market. Return its bars, mark and truth."""
    source = SimulatedSource(seed, NOW, days)
    tape = Tape(source)
    mark = tape.mark(NOW)
    return World(bars_of(tape, NOW), mark, held_by(source.crowd, mark))


def of_map(of: World, prior: MapPrior = MAP) -> float:
    """Return the rank correlation of the map with the truth."""
    market_map = MarketMap(MARKET, prior)
    market_map.open(of.bars[0], of.bars[0].contracts or 0.0)
    for bar in of.bars[1:]:
        market_map.step(bar)
    view = combine(MARKET.asset, NOW, of.mark, [market_map])
    per, count = round(LEVEL / 0.0005), round(REACH / 0.0005)
    return _alike(of.truth, {side: view.open_usd[side][:count].reshape(-1, per).sum(axis=1) for side in SIDES})


def agreement(seed: int, days: int) -> Agreement:
    """Run a simulated market. Return the agreement of the maps and predictions with it."""
    simulation = world(seed, days)
    bars, mark, truth = simulation.bars, simulation.mark, simulation.truth
    hourly = skill_figures(walk_history(History(MARKET, tuple(bars), ())), bars[len(bars) // 2].opened_at, None)
    by_leverage = {number: _alike(truth, with_one_leverage(bars, mark, number)) for number in LEVERAGES}
    return Agreement(of_map(simulation), by_leverage, hourly)


def _alike(truth: dict[Side, np.ndarray], other: dict[Side, np.ndarray]) -> float:
    one, two = (ranks(np.concatenate([of[side] for side in SIDES])) for of in (truth, other))
    return float(np.corrcoef(one, two)[0, 1])


def run(seeds: Sequence[int] = (1, 2, 3), days: int = 30) -> Iterator[tuple[str, float, str]]:
    """Yield rank correlations and skill for each seed."""
    for seed in seeds:
        scores = agreement(seed, days)
        yield f"truth.map_seed_{seed}", scores.of_map, "rank correlation with true forced levels"
        for leverage, value in scores.of_leverage.items():
            yield f"truth.all_{leverage}x_seed_{seed}", value, "the same, had everyone that leverage"
        for name in ("d2", "d2_path", "spearman", "bias"):
            yield f"truth.hourly_{name}_seed_{seed}", scores.hourly[name], "of hourly predictions, later half"
