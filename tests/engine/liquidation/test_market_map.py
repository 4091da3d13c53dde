"""The map accounts for every contract at every step, and agrees with a slow reference model, bin by bin."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.history import History
from engine.liquidation.grid import WINDOW, bin_of, outward
from engine.liquidation.kernel import for_market
from engine.liquidation.market_map import MarketMap, held_usd
from engine.market import SIDES, Bar, Market, Side
from tests.conftest import needs_history

MARKET = Market("binanceusdm", "BTC/USDT:USDT", "BTC")
STEP = 300_000


def bar(
    number: int, low: float, high: float, close: float, contracts: float | None, opened: float | None = None
) -> Bar:
    start = opened if opened is not None else close
    return Bar(number * STEP, STEP, start, max(high, start, close), min(low, start, close), close, contracts)


def walk(prices: list[float], interest: list[float]) -> list[Bar]:
    """Return bars along the prices, each opening at the previous close."""
    bars, before = [], prices[0]
    for number, (price, contracts) in enumerate(zip(prices, interest, strict=True)):
        low, high = min(before, price) * 0.999, max(before, price) * 1.001
        bars.append(bar(number, low, high, price, contracts, before))
        before = price
    return bars


def run(bars: list[Bar], market: Market = MARKET) -> MarketMap:
    made = MarketMap(market)
    made.open(bars[0], bars[0].contracts or 1.0)
    for each in bars[1:]:
        made.step(each)
    return made


def assert_balanced(made: MarketMap) -> None:
    for side in SIDES:
        ledger = made.ledgers[side]
        left = ledger.entered - ledger.swept - ledger.exited - ledger.within - made.held(side)
        assert abs(left) <= 1e-9 * max(ledger.entered, 1)
        # Up to the rounding of all that ever entered, as nearly all of it may have closed.
        assert made.held(side) <= made.contracts * (1 + 1e-9) + 1e-15 * max(ledger.entered, 1)


markets = st.sampled_from(
    [
        MARKET,
        Market("okx", "ETH/USDT:USDT", "ETH", "linear", 0.1, 0.0045, 0.0005, 100),
        Market("b", "BTC/USD:BTC", "BTC", "inverse", 100),
    ]
)
steps = st.lists(st.tuples(st.floats(-0.08, 0.08), st.floats(-0.3, 0.3)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(steps, markets)
def test_contracts_balance_and_never_exceed_open_interest(moves: list[tuple[float, float]], market: Market) -> None:
    prices, interest = [90_000.0], [1000.0]
    for price, contracts in moves:
        prices.append(prices[-1] * math.exp(price))
        interest.append(interest[-1] * math.exp(contracts))
    assert_balanced(run(walk(prices, interest), market))


@needs_history
def test_the_balance_holds_over_the_whole_recorded_history(recorded: History) -> None:
    made = MarketMap(recorded.market)
    made.open(recorded.bars[0], recorded.bars[0].contracts or 1.0)
    for each in recorded.bars[1:]:
        made.step(each)
        assert_balanced(made)


def test_a_level_that_price_passed_is_empty() -> None:
    made = run(walk([90_000, 90_000], [1000, 1000]))
    long = made.windows["long"]
    before = long.held()
    step = made.step(bar(2, 85_000, 90_000, 89_000, 1000, 90_000))
    reached = outward("long", bin_of(85_000))
    assert step.swept["long"] > 0.1 * before
    untouched = long.contracts[: reached - long.edge + 1].sum()
    # Contracts there now were opened in this same bar, after its low.
    assert untouched <= step.opened


def test_no_extreme_older_than_an_entry_sweeps_it() -> None:
    made = run(walk([90_000, 90_000], [1000, 1000]))
    step = made.step(bar(2, 88_000, 92_000, 90_000, 1500, 90_000))
    assert step.opened > 500
    assert made.held("long") > 400
    assert made.held("short") > 400


def test_a_price_move_alone_opens_no_contracts() -> None:
    made = run(walk([90_000, 90_000], [1000, 1000]))
    step = made.step(bar(2, 90_000, 99_000, 99_000, 1000, 90_000))
    assert step.opened == pytest.approx(step.closed)
    assert step.opened <= 0.002 * 1000


def test_a_bar_without_open_interest_closes_nothing() -> None:
    made = run(walk([90_000, 90_000], [1000, 1000]))
    step = made.step(bar(2, 89_990, 90_010, 90_000, None))
    assert made.contracts == 1000
    assert step.closed == pytest.approx(step.opened)


def test_positions_near_liquidation_close_first() -> None:
    made = run(walk([90_000, 90_000], [1000, 1000]))
    before = made.windows["long"].contracts.copy()
    held = made.held("long")
    step = made.step(bar(2, 90_000, 90_000, 90_000, 900))
    left = made.windows["long"].contracts / np.maximum(before, 1e-300)
    assert held - made.held("long") == pytest.approx(held * step.closed / 1000 - step.opened, rel=0.01)
    assert left[10] < left[100] < left[400] < 1


def test_when_all_contracts_close_nothing_is_left() -> None:
    made = run(walk([90_000, 90_000], [1000, 1000]))
    made.step(bar(2, 90_000, 90_000, 90_000, 1e-9))
    assert made.held("long") < 1e-6
    assert made.held("short") < 1e-6
    assert_balanced(made)


def test_the_map_starts_with_all_contracts_on_both_sides() -> None:
    made = MarketMap(MARKET)
    made.open(bar(0, 89_990, 90_010, 90_000, 1000), 1000)
    for side in SIDES:
        assert made.held(side) > 950


def test_the_same_bars_give_the_same_bits() -> None:
    rng = np.random.default_rng(3)
    prices = list(90_000 * np.exp(np.cumsum(rng.normal(0, 0.004, 80))))
    interest = list(1000 * np.exp(np.cumsum(rng.normal(0, 0.01, 80))))
    left, right = run(walk(prices, interest)), run(walk(prices, interest))
    for side in SIDES:
        assert left.windows[side].contracts.tobytes() == right.windows[side].contracts.tobytes()


def test_a_restored_map_continues_as_without_a_restart() -> None:
    rng = np.random.default_rng(4)
    prices = list(90_000 * np.exp(np.cumsum(rng.normal(0, 0.01, 60))))
    bars = walk(prices, [1000.0 + 3 * i for i in range(60)])
    whole = run(bars)
    half = MarketMap.restore(run(bars[:30]).snapshot())
    for each in bars[30:]:
        half.step(each)
    for side in SIDES:
        assert half.windows[side].contracts.tobytes() == whole.windows[side].contracts.tobytes()
        assert half.ledgers[side] == whole.ledgers[side]


def test_bars_must_come_in_order() -> None:
    made = run(walk([90_000, 90_000], [1000, 1000]))
    with pytest.raises(ValueError, match="the map stands at"):
        made.step(bar(1, 89_990, 90_010, 90_000, 1000))


def test_mass_beyond_the_window_is_still_accounted_for() -> None:
    prices = [90_000 * 1.25**i for i in range(12)]
    bars = walk(prices, [1000.0] * 12)
    made = run([replace(each, high=each.close * 1.0001, low=each.open * 0.9999) for each in bars])
    assert made.windows["long"].beyond > 0
    assert_balanced(made)


class SlowMap:
    """Reference model: the same map bin by bin, in plain dictionaries."""

    def __init__(self, market: Market, first: Bar) -> None:
        self.market, self.contracts = market, first.contracts or 1.0
        self.levels: dict[Side, dict[int, float]] = {"long": {}, "short": {}}
        for side in SIDES:
            at = bin_of(first.open)
            self._enter(side, self.contracts, at, at, at)
        self.close = bin_of(first.open)
        self.step(first)

    def step(self, each: Bar) -> None:
        before, after = self.contracts, each.contracts or self.contracts
        turnover = min(0.002 * after * each.step_ms / 3_600_000, before, after)
        opened, closed = max(after - before, 0) + turnover, max(before - after, 0) + turnover
        low, high, close = bin_of(each.low), bin_of(each.high), bin_of(each.close)
        for side in SIDES:
            kept = {}
            for level, amount in self.levels[side].items():
                if (level >= low) if side == "long" else (level <= high):
                    continue
                kept[level] = amount
            self.levels[side] = self._leave(kept, closed / before * sum(kept.values()))
            self._enter(side, opened, low, high, close)
        self.contracts, self.close = after, close

    def _leave(self, levels: dict[int, float], wanted: float) -> dict[int, float]:
        """Return the levels after `wanted` contracts left, from each in proportion to its exit weight.

        A level asked for more than it has is emptied, and the next pass takes the remainder from the others.
        """
        urge = {level: 1 + 10 * math.exp(-(abs(level - self.close) - 1) * 0.0005 / 0.05) for level in levels}
        left, asked = dict(levels), set(levels)
        while asked and wanted > 0:
            rate = wanted / sum(left[level] * urge[level] for level in asked)
            drained = {level for level in asked if rate * urge[level] > 1}
            if not drained:
                for level in asked:
                    left[level] -= rate * urge[level] * left[level]
                break
            for level in drained:
                wanted -= left[level]
                left[level] = 0.0
            asked -= drained
        return left

    def _enter(self, side: Side, amount: float, low: int, high: int, close: int) -> None:
        kernel = for_market(self.market, side)
        for entry in range(low, high + 1):
            for offset, share in enumerate(kernel):
                level = entry - offset if side == "long" else entry + offset
                if share and ((level < close) if side == "long" else (level > close)):
                    before = self.levels[side].get(level, 0.0)
                    self.levels[side][level] = before + amount / (high - low + 1) * share


@pytest.mark.parametrize("restless", [0.02, 0.6])
def test_the_slow_reference_model_agrees(restless: float) -> None:
    rng = np.random.default_rng(5)
    prices = list(90_000 * np.exp(np.cumsum(rng.normal(0, 0.003, 12))))
    bars = walk(prices, list(1000 * np.exp(np.cumsum(rng.normal(0, restless, 12)))))
    fast, slow = run(bars), SlowMap(MARKET, bars[0])
    for each in bars[1:]:
        slow.step(each)
    for side in SIDES:
        window = fast.windows[side]
        for index in range(900):
            level = outward(side, window.edge + index)
            assert window.contracts[index] == pytest.approx(slow.levels[side].get(level, 0.0), abs=1e-9)


def test_an_inverse_map_holds_the_same_usd_whatever_the_price_of_a_level() -> None:
    market = Market("binancecoinm", "BTC/USD:BTC", "BTC", "inverse", 100.0)
    made = run(walk([90_000, 90_000], [1000, 1000]), market)
    for side in SIDES:
        window = made.windows[side]
        levels = window.edge + np.arange(WINDOW)
        assert made.held_usd(side, levels) == pytest.approx(window.contracts * 100.0)
        whole = held_usd(market, side, window.edge, window.contracts, int(levels[-1]))
        assert whole == pytest.approx(made.held(side) * 100.0)


@pytest.mark.parametrize(("before", "after"), [(1000.0, 1000.0), (100.0, 1000.0), (1000.0, 100.0)])
def test_turnover_is_at_most_what_was_open_and_stayed_open(before: float, after: float) -> None:
    made = run(walk([90_000, 90_000], [before, before]))
    restless = Bar(2 * STEP, STEP, 90_000, 90_010, 89_990, 90_000, after, contracts_high=50_000.0, contracts_low=1.0)
    step = made.step(restless)
    assert step.opened - max(after - before, 0.0) == pytest.approx(min(before, after))
    assert step.closed - max(before - after, 0.0) == pytest.approx(min(before, after))
    assert_balanced(made)
