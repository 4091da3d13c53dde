"""How well the map knows the simulated market's traders, whose forced prices are known there and share no code with it.

Truth is what the crowd holds by true forced price, cross margin included. The map sees bars of five minutes with open
interest, as do maps in which everyone has one and the same leverage. They are compared by rank correlation within 10 %
of the mark, both sides, in levels of 0.1 %. What was forced out hour by hour is held against what the tie predicted.
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
"""Bins of a map of one leverage, far more than price moves in a month."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rank correlations with the truth.

    Attributes:
        of_map: of the map.
        of_leverage: of a map in which everyone has that leverage.
        hourly: score.d2 and the like of hourly predictions, as engine.calibration.skill defines them.
    """

    of_map: float
    of_leverage: dict[int, float]
    hourly: dict[str, float]


def bars_of(tape: Tape, now: int) -> list[Bar]:
    """All closed bars of five minutes with what was forced out within them."""
    found = []
    for candle in tape.candles(STEP_MS, tape.start, now - STEP_MS, now):
        closed = candle.at + STEP_MS
        interest = sum(tape.interest_base(venue, closed) for venue in VENUES)
        usd = dict.fromkeys(SIDES, 0.0)
        for venue in VENUES:
            for order in tape.forced(venue, candle.at, closed):
                usd[order.side] += order.price * order.amount_base
        prices = (candle.open, candle.high, candle.low, candle.close)
        found.append(
            Bar(
                candle.at,
                STEP_MS,
                *prices,
                interest,
                long_liquidations_usd=usd["long"],
                short_liquidations_usd=usd["short"],
            )
        )
    return found


def held_by(crowd: Crowd, mark: float) -> dict[Side, np.ndarray]:
    """Per side (100,) float64: base units by distance of the true forced price from the mark."""
    edges = np.arange(0, REACH + LEVEL / 2, LEVEL)
    found: dict[Side, np.ndarray] = {}
    for side in SIDES:
        which = (crowd.side == sign(side)) & np.isfinite(crowd.forced) & (crowd.forced > 0)
        distance = sign(side) * np.log(mark / crowd.forced[which])
        found[side] = np.histogram(distance, edges, weights=crowd.amount[which])[0]
    return found


def with_one_leverage(bars: Sequence[Bar], mark: float, leverage: float) -> dict[Side, np.ndarray]:
    """The same for a map in which everyone has that leverage; flows as the map takes them."""
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
    """A simulated market that has run: its bars, its last mark, and what its traders truly hold then."""

    bars: list[Bar]
    mark: float
    truth: dict[Side, np.ndarray]


def world(seed: int, days: int) -> World:
    """Let a simulated market run."""
    source = SimulatedSource(seed, NOW, days)
    tape = Tape(source)
    mark = tape.mark(NOW)
    return World(bars_of(tape, NOW), mark, held_by(source.crowd, mark))


def of_map(of: World, prior: MapPrior = MAP) -> float:
    """Rank correlation of the map with the truth."""
    market_map = MarketMap(MARKET, prior)
    market_map.open(of.bars[0], of.bars[0].contracts or 0.0)
    for bar in of.bars[1:]:
        market_map.step(bar)
    view = combine(MARKET.asset, NOW, of.mark, [market_map])
    per, count = round(LEVEL / 0.0005), round(REACH / 0.0005)
    return _alike(of.truth, {side: view.open_usd[side][:count].reshape(-1, per).sum(axis=1) for side in SIDES})


def agreement(seed: int, days: int) -> Agreement:
    """Let a simulated market run and compare."""
    made = world(seed, days)
    bars, mark, truth = made.bars, made.mark, made.truth
    hourly = skill_figures(walk_history(History(MARKET, tuple(bars), ())), bars[len(bars) // 2].opened_at, None)
    by_leverage = {number: _alike(truth, with_one_leverage(bars, mark, number)) for number in LEVERAGES}
    return Agreement(of_map(made), by_leverage, hourly)


def _alike(truth: dict[Side, np.ndarray], other: dict[Side, np.ndarray]) -> float:
    one, two = (ranks(np.concatenate([of[side] for side in SIDES])) for of in (truth, other))
    return float(np.corrcoef(one, two)[0, 1])


def run(seeds: Sequence[int] = (1, 2, 3), days: int = 30) -> Iterator[tuple[str, float, str]]:
    """Rank correlations for each seed."""
    for seed in seeds:
        found = agreement(seed, days)
        yield f"truth.map_seed_{seed}", found.of_map, "rank correlation with true forced levels"
        for leverage, value in found.of_leverage.items():
            yield f"truth.all_{leverage}x_seed_{seed}", value, "the same, had everyone that leverage"
        for name in ("d2", "d2_path", "spearman", "bias"):
            yield f"truth.hourly_{name}_seed_{seed}", found.hourly[name], "of hourly predictions, later half"
