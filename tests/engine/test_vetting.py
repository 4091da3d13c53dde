"""Vetting of bars: a figure that only one venue reports stays out of the maps, or is undone later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.board import AssetBoard
from engine.facts import market_facts
from engine.market import HOUR_MS, MINUTE_MS, AssetUpdate, Bar, Market
from engine.vetting import HOLD_MS, Vetting

STEP = 5 * MINUTE_MS
START = 1_764_000_000_000 // HOUR_MS * HOUR_MS
VENUES = ("binanceusdm", "bybit", "okx")
MARKETS = tuple(Market(venue, "BTC/USDT:USDT", "BTC") for venue in VENUES)


def bar(number: int, contracts: float = 1000.0, price: float = 90_000.0) -> Bar:
    wave = 1 + 0.002 * np.sin(number / 7)
    close = price * wave
    return Bar(START + number * STEP, STEP, close, close * 1.001, close * 0.999, close, contracts)


def fed(board: AssetBoard, first: int, count: int, *, liar: Market | None = None, factor: float = 1.0) -> None:
    """Feed bars of three venues to the board. The liar's contracts are multiplied by `factor`."""
    for number in range(first, first + count):
        rows = tuple((m, bar(number, 1000.0 * (factor if m == liar else 1.0))) for m in MARKETS)
        board.advance(AssetUpdate(bars=rows, by_bars=True), START + (number + 1) * STEP)


def mass(board: AssetBoard) -> bytes:
    return b"".join(board.maps.markets[m.key].windows["long"].contracts.tobytes() for m in MARKETS)


@pytest.mark.parametrize("factor", [10.0, 0.1, 1.5, 1000.0])
def test_a_wrong_unit_for_twenty_minutes_leaves_no_trace(factor: float) -> None:
    liar, board, honest = MARKETS[2], AssetBoard("BTC"), AssetBoard("BTC")
    fed(board, 0, 300)
    fed(honest, 0, 300)
    before = market_facts(board, START + 300 * STEP).interest_usd
    fed(board, 300, 4, liar=liar, factor=factor)
    fed(honest, 300, 4)
    now = START + 304 * STEP
    assert board.vetting.doubts == {liar.key: "its open interest jumped alone"}
    assert market_facts(board, now).interest_usd == pytest.approx(before, rel=0.01)
    assert abs(market_facts(board, now).interest_change_24h or 0.0) < 0.01
    fed(board, 304, 20)
    fed(honest, 304, 20)
    assert not board.vetting.doubts
    assert mass(board) == mass(honest)


def test_a_count_that_lasts_an_hour_is_accepted_and_undone_when_it_reverts() -> None:
    liar, board, honest = MARKETS[2], AssetBoard("BTC"), AssetBoard("BTC")
    lasting = HOLD_MS // STEP + 6
    fed(board, 0, 300)
    fed(board, 300, lasting, liar=liar, factor=3.0)
    assert board.maps.markets[liar.key].contracts == 3000.0
    again = AssetBoard.restore("BTC", VENUES, board.snapshot())
    for each in (board, again):
        fed(each, 300 + lasting, 20)
        assert each.maps.markets[liar.key].contracts == 1000.0
    fed(honest, 0, 320 + lasting)
    assert mass(board) == mass(again)
    ours, theirs = (np.frombuffer(mass(each)) for each in (board, honest))
    assert np.abs(ours - theirs).sum() < 0.002 * theirs.sum(), "except for the turnover of the false count"


def test_contracts_that_fall_everywhere_count_at_once() -> None:
    board = AssetBoard("BTC")
    fed(board, 0, 50)
    rows = tuple((m, bar(50, 400.0, 85_000.0)) for m in MARKETS)
    board.advance(AssetUpdate(bars=rows, by_bars=True), START + 51 * STEP)
    assert {m.contracts for m in board.maps.markets.values()} == {400.0}


@pytest.mark.parametrize("factor", [0.8, 0.97, 10.0, 1e6])
def test_one_wrong_bar_sweeps_nothing(factor: float) -> None:
    """In the low or the high of the reference market."""
    board, honest = AssetBoard("BTC"), AssetBoard("BTC")
    for each in (board, honest):
        fed(each, 0, 300)
    rows = [(m, bar(300)) for m in MARKETS]
    wrong = rows[0][1]
    extreme = wrong.close * factor
    wrong = replace(wrong, low=min(wrong.low, extreme), high=max(wrong.high, extreme))
    tick = board.advance(AssetUpdate(bars=((MARKETS[0], wrong), *rows[1:]), by_bars=True), START + 301 * STEP)
    assert tick is not None
    assert min(tick.path) == pytest.approx(min(rows[0][1].path), rel=0.003)
    assert max(tick.path) == pytest.approx(max(rows[0][1].path), rel=0.003)
    honest.advance(AssetUpdate(bars=tuple(rows), by_bars=True), START + 301 * STEP)
    assert mass(board) == mass(honest)
    assert board.vetting.wicks[0][1] == MARKETS[0].key


def test_late_bars_are_compared_with_their_own_hour() -> None:
    vetting, board = Vetting(), AssetBoard("BTC")
    fed(board, 0, 100)
    late = Market("gate", "BTC/USDT:USDT", "BTC")
    honest, wrong = bar(20), bar(21, price=900_000.0)
    board.advance(AssetUpdate(backfill=((late, honest), (late, wrong))), START + 100 * STEP)
    assert board.maps.markets[late.key].closed_at == honest.closed_at
    assert board.vetting.refused["its price is far from the others'"] == 1
    assert vetting.late(late, wrong, {}) == [(late, wrong)], "there is nothing to compare it with"


def test_a_lone_markets_new_price_must_last_to_be_accepted() -> None:
    board = AssetBoard("BTC")
    only = MARKETS[0]
    for number, price in enumerate([90_000.0, 90_000.0, 9_000.0, 90_000.0]):
        board.advance(AssetUpdate(bars=((only, bar(number, price=price)),), by_bars=True), START + (number + 1) * STEP)
    assert board.vetting.refused == {"its price is far from the last": 1}
    for number in range(4, 7):
        board.advance(AssetUpdate(bars=((only, bar(number, price=9_000.0)),), by_bars=True), START + number * STEP)
    assert board.vetting.last_close == pytest.approx(9_000, rel=0.01)


def test_a_new_contract_size_converts_old_contracts() -> None:
    """A venue splits its contract into ten, while no position opens or closes."""
    board, honest = AssetBoard("BTC"), AssetBoard("BTC")
    new = replace(MARKETS[1], contract_size=0.1)
    for each in (board, honest):
        fed(each, 0, 300)
    for number in range(300, 320):
        rows = [(m, bar(number)) for m in MARKETS]
        honest.advance(AssetUpdate(bars=tuple(rows), by_bars=True), START + (number + 1) * STEP)
        rows[1] = (new, replace(bar(number), contracts=10_000.0))
        board.advance(AssetUpdate(bars=tuple(rows), by_bars=True), START + (number + 1) * STEP)
    now = START + 320 * STEP
    assert market_facts(board, now).interest_usd == pytest.approx(market_facts(honest, now).interest_usd)
    assert market_facts(board, now).interest_change_24h == pytest.approx(
        market_facts(honest, now).interest_change_24h, abs=1e-9
    )
    ours, theirs = (each.maps.markets[MARKETS[1].key] for each in (board, honest))
    assert ours.windows["long"].contracts == pytest.approx(10 * theirs.windows["long"].contracts)
    assert ours.ledgers["long"].entered == pytest.approx(10 * theirs.ledgers["long"].entered)
