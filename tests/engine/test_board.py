"""The board counts reported liquidations once per market, and rescales a map when its contract size changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.board import AssetBoard
from engine.market import HOUR_MS, MINUTE_MS, AssetUpdate, Bar, Market, ReportedLiquidation
from tests.handlers.kit import START

LINEAR = Market("gate", "BTC/USDT:USDT", "BTC", "linear", 1.0)
INVERSE = Market("gate", "BTC/USD:BTC", "BTC", "inverse", 1.0)
STEP = 5 * MINUTE_MS


def bar(number: int, longs: float | None = None, contracts: float = 1000.0) -> Bar:
    opened = START + number * STEP
    liquidations = {"long_liquidations_usd": longs, "short_liquidations_usd": None if longs is None else 0.0}
    return Bar(opened, STEP, 90_000.0, 90_100.0, 89_900.0, 90_000.0, contracts, **liquidations)


def advance(
    board: AssetBoard, number: int, *rows: tuple[Market, Bar], orders: tuple[tuple[int, float], ...] = ()
) -> None:
    reported = tuple(ReportedLiquidation(at, "long", usd, LINEAR.key) for at, usd in orders)
    board.advance(AssetUpdate(bars=rows, reported=reported), START + (number + 1) * STEP)


@pytest.fixture
def board() -> AssetBoard:
    made = AssetBoard("BTC")
    advance(made, 0, (LINEAR, bar(0, 0.0)), (INVERSE, bar(0, 0.0)))
    return made


def test_two_markets_of_a_venue_do_not_erase_each_others_sums(board: AssetBoard) -> None:
    advance(board, 1, (LINEAR, bar(1, 5e6)), (INVERSE, bar(1, 1e3)))
    assert board.reported.by_venue(0) == {"gate": {"long": 5.001e6, "short": 0.0}}


def test_a_bars_total_replaces_its_orders_and_late_ones(board: AssetBoard) -> None:
    within = START + STEP + 60_000
    advance(board, 1, orders=((within, 3e6),))
    assert board.reported.usd("long", 0) == 3e6
    advance(board, 1, (LINEAR, bar(1, 5e6)))
    assert board.reported.usd("long", 0) == 5e6
    advance(board, 1, orders=((within, 3e6), (START + 2 * STEP + 1, 1e6)))
    assert board.reported.usd("long", 0) == 6e6


def test_a_restart_keeps_totals_and_adds_only_later_orders(board: AssetBoard) -> None:
    advance(board, 1, (LINEAR, bar(1, 5e6)))
    again = AssetBoard.restore("BTC", ["gate"], board.snapshot())
    rows = [(START + STEP + 5, 3e6), (START + 2 * STEP + 5, 1e6)]
    again.reported.restore_orders([ReportedLiquidation(at, "long", usd, LINEAR.key) for at, usd in rows])
    assert again.reported.usd("long", 0) == 6e6
    assert again.reported.known_since() == board.reported.known_since()


def test_a_map_is_rescaled_to_a_new_contract_size(board: AssetBoard) -> None:
    split = replace(LINEAR, contract_size=0.1)
    advance(board, 1, (split, bar(1, contracts=10_000.0)))
    market_map = board.maps.markets[LINEAR.key]
    assert market_map.market == split
    assert market_map.held("long") == pytest.approx(10_000, rel=0.05)
    assert market_map.ledgers["long"].entered == pytest.approx(10_000, rel=0.05)
    entered = market_map.ledgers["long"].entered
    advance(board, 2, (split, bar(2, contracts=10_000.0)))
    assert board.maps.markets[LINEAR.key].ledgers["long"].entered - entered < 100


def test_new_margin_rules_apply_to_new_contracts_only(board: AssetBoard) -> None:
    before = board.maps.markets[LINEAR.key]
    advance(board, 1, (replace(LINEAR, maintenance_rate=0.05, max_leverage=10.0), bar(1)))
    assert board.maps.markets[LINEAR.key] is before
    assert before.market.maintenance_rate == 0.05


def test_hours_record_reached_and_reported_amounts() -> None:
    board = AssetBoard("BTC")
    market = replace(LINEAR, venue="binanceusdm")
    for number in range(36):
        price = 90_000.0 - 100 * number
        made = replace(bar(number, 1e5 * number), open=price + 100, high=price + 150, low=price - 50, close=price)
        board.advance(AssetUpdate(bars=((market, made),)), made.closed_at)
    hours = board.hours.hours()
    assert len(hours) == 3
    first = START // HOUR_MS * HOUR_MS
    assert list(hours.at) == [first, first + HOUR_MS, first + 2 * HOUR_MS]
    assert hours.reported[1, 0] == pytest.approx(sum(1e5 * n for n in range(12, 24)))
    assert hours.before[1] == 90_000.0 - 100 * 11
    assert hours.low[1] == 90_000.0 - 100 * 23 - 50
    assert hours.reached[2, 0] > 0


def test_an_hour_that_began_with_a_removed_venue_has_no_report() -> None:
    leader, other = replace(LINEAR, venue="binanceusdm"), replace(LINEAR, venue="bybit")
    made = AssetBoard("BTC")
    for number in range(4):
        advance(made, number, (leader, bar(number, 1e5, 5000.0)), (other, bar(number, 1e4)))
    assert made.hours.leader == leader.key
    again = AssetBoard.restore("BTC", ["bybit"], made.snapshot())
    for number in range(4, 20):
        advance(again, number, (other, bar(number, 1e4)))
    hours = again.hours.hours()
    assert len(hours) == 1
    assert np.isnan(hours.reported).all()
