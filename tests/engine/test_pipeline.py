"""Ticks: a failing asset stops no other, missed events wait for their message, a restart loses no follow-up."""

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
    """A store that keeps the records it is given."""

    def __init__(self) -> None:
        self.records: list[TickRecord] = []

    async def commit(self, record: TickRecord) -> None:
        self.records.append(record)


def falling(board: AssetBoard) -> tuple[float, ...]:
    """Return a path from the mark through the nearest long cluster."""
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
    """Return a pipeline whose rules have had their baseline, far from any cluster, and its store."""
    store = Kept()
    pipeline = AlertPipeline({board.asset: board}, book or ActiveRules([RULE]), store)
    await pipeline.process(delivered(board, (board.mark,)))
    return pipeline, store


async def test_a_fall_through_a_cluster_fires_near_then_swept(board: AssetBoard) -> None:
    pipeline, store = await settled(board)
    record = await pipeline.process(delivered(board, falling(board), seconds=120))
    assert "near" in kinds(record)
    assert "swept" in kinds(record)
    assert kinds(record).index("near") < kinds(record).index("swept")
    assert store.records[-1] is record


async def test_a_failing_asset_is_set_aside_and_the_others_go_on(
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


async def test_a_follow_up_survives_a_restart(board: AssetBoard) -> None:
    path = falling(board)
    target = next(c for c in board.clusters if c.low * 0.995 == path[1])
    state = RuleState(armed=False, since=board.view.at, awaiting_followup=True, value_low=1.0, value_high=2.0)
    pipeline = AlertPipeline({"BTC": board}, ActiveRules([RULE], {(1, target.id): state}), Kept())
    record = await pipeline.process(delivered(board, path))
    assert [alert.kind for alert in record.alerts if alert.facts["cluster"]["id"] == target.id] == ["swept"]
    assert record.states[1, target.id] is None


async def test_missed_events_are_stored_only_with_their_message(board: AssetBoard) -> None:
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
    assert record.alerts[0].counts_for == (RULE.id,), "it counts as an alert of the rule"
    assert not pipeline.downtime.pending


async def test_a_start_shows_clusters_in_range_once(board: AssetBoard) -> None:
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


async def test_states_of_gone_clusters_are_dropped(board: AssetBoard) -> None:
    pipeline, _ = await settled(board)
    await pipeline.process(delivered(board, falling(board), seconds=120))
    alive = {c.id for c in board.clusters}
    clusters = {place for _, place in pipeline.rules.states if not place.startswith("@")}  # "@" marks other slots
    assert clusters <= alive


async def test_a_paused_chats_rules_do_not_fire(board: AssetBoard) -> None:
    book = ActiveRules([RULE, replace(RULE, id=2, chat_id=2)])
    pipeline, _ = await settled(board, book)
    book.deactivate_chat(1)
    record = await pipeline.process(delivered(board, falling(board), seconds=120))
    assert {alert.chat_id for alert in record.alerts} == {2}
    book.add(RULE)
    assert {rule.id for rule in book.rules} == {1, 2}


async def test_a_refit_applies_at_a_bars_close_and_fires_nothing(board: AssetBoard) -> None:
    pipeline, _ = await settled(board)
    before = {cluster.id: cluster.forced_usd for cluster in board.clusters}
    usual = board.usual.forced_usd("long", 0.02)
    twice = replace(FORCED, scale=2 * FORCED.scale)
    board.calibrate(Calibration(twice, fitted=True, why="fitted to reports", start=1, end=2))
    now = board.closed_at
    record = await pipeline.process(delivered(board, (board.mark,), seconds=60))
    assert kinds(record) == []
    assert {cluster.id: cluster.forced_usd for cluster in board.clusters} == before  # unchanged until a bar closes
    close = board.mark
    bars = tuple(
        (m.market, Bar(now, HOUR_MS, close, close * 1.0001, close * 0.9999, close, m.contracts))
        for m in board.maps.markets.values()
    )
    # Candidates are rescaled with the coefficients: relative density stays the same, so nothing fires.
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
