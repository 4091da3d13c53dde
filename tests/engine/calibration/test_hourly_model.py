"""The hourly model uses nothing from the future, and recovers the signal in synthetic hours."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from engine.board import AssetBoard
from engine.calibration.hourly_model import (
    MIN_HOURS,
    PRIOR_HOURS,
    beyond,
    fit_prior,
    online_level,
    past_mean,
    predict_from_prior,
    walk_forward,
)
from engine.calibration.hours import COLUMNS, HourBuilder, Hours
from engine.calibration.tweedie import deviance, fit
from engine.history import History
from engine.liquidation.market_map import MarketMap
from engine.liquidation.prior import TIE
from engine.market import HOUR_MS, Bar, Market, Side
from engine.replay import update_of
from engine.study.skill import walk_history
from tests.conftest import needs_history

MARKET = Market("binanceusdm", "BTC/USDT:USDT", "BTC")
START = 1_765_000_000_000 // HOUR_MS * HOUR_MS
COUNT = MIN_HOURS + 24 * 8


@cache
def made_up(seed: int = 3, count: int = COUNT) -> Hours:
    """Return synthetic hours whose reports are a share of the reached mass plus a multiple of the range, with noise."""
    rng = np.random.default_rng(seed)
    close = 90_000 * np.exp(np.cumsum(0.004 * rng.standard_normal(count + 1)))
    before, after = close[:-1], close[1:]
    high = np.maximum(before, after) * np.exp(0.002 * rng.exponential(size=count))
    low = np.minimum(before, after) * np.exp(-0.002 * rng.exponential(size=count))
    swept = np.stack([np.log(before / low), np.log(high / before)], axis=1)
    reached = 1e7 * rng.gamma(0.5, 2.0, (count, 2)) * (swept > 0.001)
    reported = (0.05 * reached + 3e7 * swept) * rng.gamma(4.0, 0.25, (count, 2))
    at = START + HOUR_MS * np.arange(count)
    return Hours(at, before, high, low, reached, np.log(0.01 + 0.005 * rng.random(count)), reported)


def test_a_later_hour_changes_no_earlier_prediction() -> None:
    hours = made_up()
    expected = walk_forward(hours).expected
    cut = MIN_HOURS + 24 * 5 + 7
    changed = Hours(*(getattr(hours, name).copy() for name in hours.__dataclass_fields__))
    for name in ("high", "reached", "stir", "reported"):
        getattr(changed, name)[cut:] *= 1.7
    changed.low[cut:] /= 1.7
    again = walk_forward(changed).expected
    assert np.array_equal(expected[:cut], again[:cut], equal_nan=True)
    assert not np.array_equal(expected[cut:], again[cut:])


def test_an_hours_own_reports_and_interest_do_not_change_its_own_prediction() -> None:
    hours = made_up()
    expected = walk_forward(hours).expected
    for hour in (MIN_HOURS + 1, MIN_HOURS + 60, COUNT - 1):
        changed = Hours(*(getattr(hours, name).copy() for name in hours.__dataclass_fields__))
        changed.reported[hour] *= 50
        changed.stir[hour] += 3
        again = walk_forward(changed).expected
        assert np.array_equal(expected[: hour + 1], again[: hour + 1], equal_nan=True)


@needs_history
def test_a_bars_own_open_close_interest_and_liquidations_do_not_change_its_own_prediction(recorded: History) -> None:
    bars = recorded.bars[: MIN_HOURS + 24 * 4]
    expected = predicted(replace(recorded, bars=bars))
    last = bars[-1]
    assert last.contracts is not None
    middle = (last.high + last.low) / 2
    odd = replace(
        last,
        open=middle,
        close=middle * 1.00001,
        contracts=last.contracts * 1.4,
        contracts_high=last.contracts * 2,
        long_liquidations_usd=9e8,
        short_liquidations_usd=0.0,
    )
    again = predicted(replace(recorded, bars=(*bars[:-1], odd)))
    assert np.array_equal(expected, again, equal_nan=True)
    other = predicted(replace(recorded, bars=(*bars[:-1], replace(last, low=last.low * 0.98))))
    assert other[-1, 0] > expected[-1, 0]


def predicted(history: History) -> np.ndarray:
    board = AssetBoard("BTC")
    for step in history.steps():
        board.advance(update_of(step), step.bar.closed_at, silent=True)
    return walk_forward(board.hours.hours()).expected


def test_it_uses_the_maps_signal() -> None:
    hours = made_up(count=MIN_HOURS + 24 * 20)
    informed = walk_forward(hours).expected
    shuffled = Hours(*(getattr(hours, name).copy() for name in hours.__dataclass_fields__))
    np.random.default_rng(1).shuffle(shuffled.reached)
    blind = walk_forward(shuffled).expected
    late = slice(MIN_HOURS + 48, None)
    seen = hours.reported[late]
    assert deviance(informed[late], seen) < 0.75 * deviance(blind[late], seen)


def test_no_prediction_before_enough_hours_to_fit_on() -> None:
    hours = made_up()
    expected = walk_forward(hours).expected
    assert np.isnan(expected[:MIN_HOURS]).all()
    assert not np.isnan(expected[MIN_HOURS:]).any()
    silent = replace(hours, reported=np.full_like(hours.reported, np.nan))
    assert np.isnan(walk_forward(silent).expected).all()
    nothing = replace(hours, reported=np.zeros_like(hours.reported))
    assert np.isnan(walk_forward(nothing).expected).all()


def test_hours_without_a_feed_are_left_out_of_the_fit() -> None:
    hours = made_up()
    gappy = replace(hours, reported=hours.reported.copy())
    gappy.reported[200:260] = np.nan
    expected = walk_forward(gappy).expected
    assert not np.isnan(expected[MIN_HOURS:]).any()


def test_the_level_rises_with_excess_reports() -> None:
    hours = made_up()
    expected = np.full_like(hours.reported, 1e6)
    doubled = replace(hours, reported=np.full_like(hours.reported, 2e6))
    level = online_level(doubled, expected)
    assert level[0] == 0
    assert 0.2 < level[100] < np.log(2)
    assert (np.diff(level[:30]) >= 0).all()


def test_past_means_and_extremes_use_only_the_past() -> None:
    values = np.array([1.0, np.nan, 3.0, 100.0])
    assert past_mean(values, 1.0).tolist() == pytest.approx([0.0, 1.0, 1.0, (1 / 4 + 3) / (1 + 1 / 4)], rel=0.2)
    hours = made_up()
    gone = beyond(hours, 3)
    for t in (5, 50, 300):
        assert gone[t, 0] == pytest.approx(max(np.log(hours.low[t - 3 : t].min() / hours.low[t]), 0))
        assert gone[t, 1] == pytest.approx(max(np.log(hours.high[t] / hours.high[t - 3 : t].max()), 0))


def test_a_fit_finds_coefficients_in_natural_units() -> None:
    rng = np.random.default_rng(5)
    features = np.stack([np.ones(4000), 5 + 3 * rng.standard_normal(4000), rng.standard_normal(4000)], axis=1)
    true = np.array([12.0, 0.3, -0.5])
    seen = np.exp(features @ true) * rng.gamma(2.0, 0.5, 4000)
    made = fit(features, seen, np.ones(4000), 0.0)
    assert made.coefficients == pytest.approx(true, abs=0.05)
    again = fit(features, seen, np.ones(4000), 0.0, made)
    assert again.coefficients == pytest.approx(made.coefficients, abs=1e-6)
    with pytest.raises(ValueError, match="nothing was liquidated"):
        fit(features, np.zeros(4000), np.ones(4000), 0.0)


def hour_of_parts(opened: int, price: float, interest: float) -> list[Bar]:
    """Return an hour of five-minute bars."""
    bars = []
    for part in range(12):
        after = price * (1 + 0.004 * np.sin(part + opened / HOUR_MS))
        high, low = max(price, after) * 1.0005, min(price, after) * 0.9995
        interest *= 1 + 0.002 * np.cos(part)
        bars.append(Bar(opened + part * 300_000, 300_000, price, high, low, after, interest))
        price = after
    return bars


def joined(parts: list[Bar]) -> Bar:
    """Return the same hour as a single bar."""
    interest = [bar.contracts or 0.0 for bar in parts]
    high, low = max(bar.high for bar in parts), min(bar.low for bar in parts)
    first, last = parts[0], parts[-1]
    return Bar(first.opened_at, HOUR_MS, first.open, high, low, last.close, interest[-1], max(interest), min(interest))


def test_five_minute_and_hourly_bars_give_the_same_hours() -> None:
    market_map = MarketMap(MARKET)
    market_map.open(Bar(START - HOUR_MS, HOUR_MS, 90_000, 90_100, 89_900, 90_000, 80_000.0), 80_000.0)
    long, short = HourBuilder(), HourBuilder()
    reported: dict[Side, float] = {"long": 2e5, "short": 1e5}
    for hour in range(6):
        parts = hour_of_parts(START + hour * HOUR_MS, market_map.close, market_map.contracts)
        finer = deepcopy(market_map)
        for bar in parts:
            short.begin(finer, bar)
            finer.step(bar)
        short.finish(reported, 1.0)
        long.begin(market_map, joined(parts))
        market_map.step(joined(parts))
        long.finish(reported, 1.0)
    rows = np.array(long.rows)
    assert np.isfinite(rows).all()
    assert (rows[:, COLUMNS.index("reached_long")] > 0).any()
    assert np.array(short.rows) == pytest.approx(rows)
    again = HourBuilder.restore(short.snapshot())
    assert again.rows == short.rows
    short.forget_before(START + 2 * HOUR_MS)
    assert short.rows[0][0] == START + 2 * HOUR_MS
    assert short.last_closed_at == START + 6 * HOUR_MS


def test_contracts_opened_within_an_hour_are_not_reached() -> None:
    reached = []
    for growth in (1.0, 3.0):
        market_map = MarketMap(MARKET)
        market_map.open(Bar(START - HOUR_MS, HOUR_MS, 90_000, 90_100, 89_900, 90_000, 80_000.0), 80_000.0)
        hours = HourBuilder()
        for bar in hour_of_parts(START, 90_000.0, 80_000.0):
            grown = replace(bar, contracts=(bar.contracts or 0.0) * growth)
            hours.begin(market_map, grown)
            market_map.step(grown)
        hours.finish(None, 1.0)
        reached.append(hours.hours().reached[0])
    assert reached[0] == pytest.approx(reached[1], rel=1e-12)
    assert reached[0].sum() > 0


def test_an_hour_with_missing_bars_has_no_report() -> None:
    market_map = MarketMap(MARKET)
    market_map.open(Bar(START - HOUR_MS, HOUR_MS, 90_000, 90_100, 89_900, 90_000, 80_000.0), 80_000.0)
    hours = HourBuilder()
    for bar in hour_of_parts(START, 90_000.0, 80_000.0)[3:]:
        hours.begin(market_map, bar)
        market_map.step(bar)
    assert not hours.whole
    hours.finish({"long": 1.0, "short": 1.0}, 1.0)
    assert np.isnan(hours.hours().reported).all()
    assert np.isnan(hours.hours().stir).all()


def later(hours: Hours) -> Hours:
    """Return the same hours, moved to after those that the shipped coefficients were fitted on."""
    return replace(hours, at=hours.at + TIE.until)


def test_the_prior_is_used_until_a_fit_and_never_for_hours_it_was_fitted_on() -> None:
    hours = made_up()
    assert np.isnan(walk_forward(hours).expected[:MIN_HOURS]).all()
    expected = walk_forward(later(hours)).expected
    assert np.isnan(expected[:PRIOR_HOURS]).all()
    assert not np.isnan(expected[PRIOR_HOURS:]).any()
    assert np.array_equal(expected[PRIOR_HOURS:MIN_HOURS], predict_from_prior(later(hours))[PRIOR_HOURS:MIN_HOURS])


def test_the_prior_stays_in_use_without_reports_or_with_zeros() -> None:
    hours = later(made_up())
    deaf = replace(hours, reported=np.full_like(hours.reported, np.nan))
    quiet = replace(hours, reported=np.zeros_like(hours.reported))
    for each in (deaf, quiet):
        expected = walk_forward(each).expected
        assert np.isfinite(expected[PRIOR_HOURS:]).all()
    assert np.array_equal(walk_forward(deaf).expected[PRIOR_HOURS:], predict_from_prior(hours)[PRIOR_HOURS:])


def test_the_prior_scales_with_the_map() -> None:
    hours = later(made_up())
    tenfold = replace(hours, reached=hours.reached * 10)
    assert predict_from_prior(tenfold)[PRIOR_HOURS:] == pytest.approx(10 * predict_from_prior(hours)[PRIOR_HOURS:])


@needs_history
def test_the_shipped_coefficients_match_the_recorded_months(recorded: History) -> None:
    made = fit_prior(walk_history(recorded).hours)
    assert made.until == TIE.until
    assert made.mean_log_held == pytest.approx(TIE.mean_log_held, abs=1e-3)
    assert made.coefficients == pytest.approx(TIE.coefficients, abs=1e-3)
