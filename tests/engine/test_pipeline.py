"""A tick: one asset's failure stops no other, nothing is stored before it is told, a restart loses no story."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rules import Rule
from engine.alerts.state import RuleState
from engine.board import AssetBoard
from engine.calibration.coefficients import Calibration
from engine.liquidation.prior import FORCED
from engine.market import HOUR_MS, AssetUpdate, Bar, MarketTick
from engine.messages import TickRecord
from engine.pipeline import AlertPipeline
from tests.handlers.kit import filled_board

RULE = Rule(1, 1, "near", None, 0.002, "busy")


class Kept:
    """A store that remembers what it was handed."""

    def __init__(self) -> None:
        self.records: list[TickRecord] = []

    async def commit(self, record: TickRecord) -> None:
        self.records.append(record)


def falling(board: AssetBoard) -> tuple[float, ...]:
    """A path through the nearest mature long cluster."""
    long = min((c for c in board.clusters if c.side == "long" and c.distance(board.mark) > 0), key=lambda c: -c.high)
    return (board.mark, long.low * 0.995)


def delivered(board: AssetBoard, path: tuple[float, ...], *, seconds: int = 60, late: bool = False) -> MarketTick:
    return MarketTick(board.view.at + seconds * 1000, {board.asset: AssetUpdate(path)}, late=late)


def kinds(record: TickRecord) -> list[str]:
    return [alert.kind for alert in record.alerts]


@pytest.fixture
def board() -> AssetBoard:
    return filled_board()


async def settled(board: AssetBoard, book: ActiveRules | None = None) -> tuple[AlertPipeline, Kept]:
    """A watch whose rules have had their baseline, far from any cluster."""
    store = Kept()
    pipeline = AlertPipeline({board.asset: board}, book or ActiveRules([RULE]), store)
    await pipeline.process(delivered(board, (board.mark,)))
    return pipeline, store


async def test_a_fall_through_a_cluster_is_told_from_beginning_to_end(board: AssetBoard) -> None:
    pipeline, store = await settled(board)
    record = await pipeline.process(delivered(board, falling(board), seconds=120))
    assert "near" in kinds(record)
    assert "swept" in kinds(record)
    assert kinds(record).index("near") < kinds(record).index("swept")
    assert store.records[-1] is record


async def test_one_assets_failure_is_set_aside_and_the_others_go_on(
    board: AssetBoard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = filled_board("ETH", 3000)
    store = Kept()
    pipeline = AlertPipeline({"ETH": other, "BTC": board}, ActiveRules([RULE]), store)

    def broken(*given: Any, **named: Any) -> None:
        raise KeyError("odd")

    monkeypatch.setattr(other, "advance", broken)
    now = board.view.at + 60_000
    await pipeline.process(MarketTick(now, {"ETH": AssetUpdate((3000.0,)), "BTC": AssetUpdate((board.mark,))}))
    assert set(pipeline.set_aside) == {"ETH"}
    assert "set aside" in caplog.text
    record = await pipeline.process(MarketTick(now + 60_000, {"BTC": AssetUpdate(falling(board))}))
    assert "near" in kinds(record)


async def test_a_restart_in_the_middle_of_a_story_still_tells_its_end(board: AssetBoard) -> None:
    path = falling(board)
    target = next(c for c in board.clusters if c.low * 0.995 == path[1])
    state = RuleState(armed=False, since=board.view.at, awaiting_followup=True, value_low=1.0, value_high=2.0)
    pipeline = AlertPipeline({"BTC": board}, ActiveRules([RULE], {(1, target.id): state}), Kept())
    record = await pipeline.process(delivered(board, path))
    assert [alert.kind for alert in record.alerts if alert.facts["cluster"]["id"] == target.id] == ["swept"]
    assert record.states[1, target.id] is None


async def test_what_was_missed_is_stored_only_with_the_message_that_tells_it(board: AssetBoard) -> None:
    pipeline, store = await settled(board)
    stored = len(store.records)
    await pipeline.process(delivered(board, falling(board), seconds=600, late=True))
    assert len(store.records) == stored
    assert pipeline.downtime.pending
    record = await pipeline.process(delivered(board, (board.mark,), seconds=700))
    assert kinds(record) == ["offline"]
    missed = record.alerts[0].facts["missed"]
    assert {item["kind"] for item in missed} >= {"near", "swept"}
    assert record.states
    assert record.alerts[0].counts_for == (RULE.id,), "the rule has spoken by it"
    assert not pipeline.downtime.pending


async def test_after_a_start_what_is_in_range_is_shown_once(board: AssetBoard) -> None:
    long = max((c for c in board.clusters if c.side == "long"), key=lambda c: c.high)
    inside = long.high * 1.001
    store = Kept()
    pipeline = AlertPipeline({"BTC": board}, ActiveRules([RULE]), store)
    pipeline.downtime.begin({"BTC": board.view.at - 3_600_000})
    await pipeline.process(MarketTick(board.view.at + 1000, {"BTC": AssetUpdate((inside,))}, silent=True))
    record = await pipeline.process(delivered(board, (inside,), seconds=120))
    shown = [c["id"] for alert in record.alerts for c in alert.facts["in_range"]]
    assert long.id in shown
    assert kinds(await pipeline.process(delivered(board, (inside,), seconds=180))) == []


async def test_states_of_clusters_that_are_no_more_are_forgotten(board: AssetBoard) -> None:
    pipeline, _ = await settled(board)
    await pipeline.process(delivered(board, falling(board), seconds=120))
    alive = {c.id for c in board.clusters}
    clusters = {place for _, place in pipeline.rules.states if not place.startswith("@")}  # the others are no clusters'
    assert clusters <= alive


async def test_a_paused_chats_rules_rest_and_remember(board: AssetBoard) -> None:
    book = ActiveRules([RULE, replace(RULE, id=2, chat_id=2)])
    pipeline, _ = await settled(board, book)
    book.deactivate_chat(1)
    record = await pipeline.process(delivered(board, falling(board), seconds=120))
    assert {alert.chat_id for alert in record.alerts} == {2}
    book.add(RULE)
    assert {rule.id for rule in book.rules} == {1, 2}


async def test_a_refit_swaps_in_at_a_bars_close_and_fires_nothing(board: AssetBoard) -> None:
    pipeline, _ = await settled(board)
    before = {cluster.id: cluster.forced_usd for cluster in board.clusters}
    usual = board.usual.forced_usd("long", 0.02)
    twice = replace(FORCED, scale=2 * FORCED.scale)
    board.calibrate(Calibration(twice, fitted=True, why="fitted to reports", start=1, end=2))
    now = board.closed_at
    record = await pipeline.process(delivered(board, (board.mark,), seconds=60))
    assert kinds(record) == []
    assert {cluster.id: cluster.forced_usd for cluster in board.clusters} == before  # not before a bar has closed
    close = board.mark
    bars = tuple(
        (m.market, Bar(now, HOUR_MS, close, close * 1.0001, close * 0.9999, close, m.contracts))
        for m in board.maps.markets.values()
    )
    # The candidates are measured anew with the numbers: what was dense stays as dense, and nothing is told.
    assert kinds(await pipeline.process(MarketTick(now + HOUR_MS, {"BTC": AssetUpdate((close,), bars)}))) == []
    after = {cluster.id: cluster.forced_usd for cluster in board.clusters}
    same = set(before) & set(after)
    assert same
    for cluster in same:
        assert after[cluster] / before[cluster] == pytest.approx(2, rel=0.2)
    assert usual is not None
    assert board.usual.forced_usd("long", 0.02) == pytest.approx(2 * usual, rel=0.05)
    again = AssetBoard.restore("BTC", ["binanceusdm", "bybit"], board.snapshot())
    assert again.calibration == board.calibration
    assert again.view.coefficients.scale == twice.scale
