"""Replays of recorded bars are reproducible, use nothing from the future, and report consistent facts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rule_syntax import parse_rule
from engine.board import AssetBoard
from engine.clock import ManualClock
from engine.facts import MEASURED_ENTRY, forced_facts, market_facts
from engine.history import History, parse_time
from engine.market import HOUR_MS, SIDES, AssetUpdate
from engine.messages import TickRecord
from engine.pipeline import AlertPipeline
from engine.replay import ReplayFeed, board_at
from engine.study.entries import entry_figures
from tests.conftest import needs_history

pytestmark = needs_history


class Kept:
    """A store that keeps the records it is given."""

    def __init__(self) -> None:
        self.records: list[TickRecord] = []

    async def commit(self, record: TickRecord) -> None:
        self.records.append(record)


async def replay(history: History, rule: str, until: str = "2026-01-05T00:00:00Z") -> list[dict[str, Any]]:
    book = ActiveRules([replace(parse_rule(rule), id=1, chat_id=1)])
    pipeline = AlertPipeline({"BTC": AssetBoard("BTC")}, book, Kept())
    feed = ReplayFeed(history, ManualClock(), until=parse_time(until))
    return [
        alert.facts
        for [*alerts] in [(await pipeline.process(d)).alerts async for d in feed.ticks()]
        for alert in alerts
    ]


async def test_the_same_history_gives_the_same_bytes(recorded: History) -> None:
    one, two = [json.dumps(await replay(recorded, "near 1% normal")) for _ in range(2)]
    assert one == two
    assert len(json.loads(one)) > 10


async def test_a_later_bar_changes_no_earlier_alert(recorded: History) -> None:
    whole = await replay(recorded, "near 1% busy", "2025-12-20T00:00:00Z")
    cut = replace(
        recorded, bars=tuple(bar for bar in recorded.bars if bar.closed_at <= parse_time("2025-12-15T00:00:00Z"))
    )
    short = await replay(cut, "near 1% busy", "2025-12-20T00:00:00Z")
    assert short == whole[: len(short)]
    assert short


async def test_busier_tiers_fire_more(recorded: History) -> None:
    counts = [len(await replay(recorded, f"near 1% {tier}")) for tier in ("calm", "normal", "busy")]
    assert 0 < counts[0] < counts[1] < counts[2]


async def test_near_precedes_its_sweep_and_sweeps_once(recorded: History) -> None:
    alerts = await replay(recorded, "near 1% normal")
    first_near: dict[str, int] = {}
    for facts in alerts:
        if facts["kind"] == "near":
            first_near.setdefault(facts["cluster"]["id"], facts["at"])
    followed = [facts for facts in alerts if facts["kind"] == "swept" and facts["cluster"]["id"] in first_near]
    assert followed
    assert all(first_near[facts["cluster"]["id"]] <= facts["at"] for facts in followed)
    swept = [facts["cluster"]["id"] for facts in alerts if facts["kind"] == "swept"]
    assert len(swept) == len(set(swept))


@pytest.mark.parametrize("moment", ["2025-12-14T00:00:00Z", "2026-01-20T12:00:00Z", "2026-02-10T07:00:00Z"])
def test_answers_add_up_to_the_map(recorded: History, moment: str) -> None:
    board = board_at(recorded, parse_time(moment))
    view = board.view
    for side in SIDES:
        direction = -1 if side == "long" else 1
        prices = [view.mark * math.exp(direction * d / 1000) for d in range(1, 200, 3)]
        answers = [forced_facts(view, board, price)["forced_usd"] for price in prices]
        assert answers == sorted(answers)
        for price, answer in zip(prices, answers, strict=True):
            passed = [
                c.forced_usd
                for c in board.clusters
                if c.side == side
                and c.distance(view.mark) > 0
                and (price <= c.low if side == "long" else price >= c.high)
            ]
            assert answer >= sum(passed) * (1 - 1e-9)


def test_a_restored_board_continues_as_without_a_restart(recorded: History) -> None:
    from storage.checkpoints import _decode, _encode

    bars = recorded.bars[:600]
    board = AssetBoard("BTC")
    events: list[list[Any]] = [[], []]
    restored: AssetBoard | None = None
    for number, bar in enumerate(bars):
        update = AssetUpdate(path=bar.path, bars=((recorded.market, bar),))
        if number == 400:
            state = json.loads(json.dumps(board.snapshot(), default=_encode), object_hook=_decode)
            restored = AssetBoard.restore("BTC", ["binanceusdm"], state)
        for index, each in enumerate((board, restored)):
            if each is not None and number >= 400:
                tick = each.advance(update, bar.closed_at)
                assert tick is not None
                events[index] += tick.events
        if number < 400:
            board.advance(update, bar.closed_at)
    assert restored is not None
    assert events[0] == events[1]
    assert restored.clusters == board.clusters
    assert restored.usual.forced_usd("long", 0.02) == board.usual.forced_usd("long", 0.02)
    for tier in ("calm", "normal"):
        now = bars[-1].closed_at
        assert restored.candidates.threshold_usd(tier, "long", 0.01, now) == board.candidates.threshold_usd(
            tier, "long", 0.01, now
        )


def test_facts_cover_the_last_day(recorded: History) -> None:
    at = parse_time("2026-01-20T12:00:00Z")
    board = board_at(recorded, at)
    facts = market_facts(board, at)
    bars = {bar.closed_at: bar for bar in recorded.bars}
    now, before = bars[at], bars[at - 24 * HOUR_MS]
    assert now.contracts is not None
    assert before.contracts is not None
    assert facts.interest_change_24h == pytest.approx(now.contracts / before.contracts - 1, abs=1e-6)
    assert facts.funding_rate == now.funding_rate
    assert facts.liquidated_24h_usd is not None
    day = [bar for bar in recorded.bars if at - 24 * HOUR_MS < bar.closed_at <= at]
    assert facts.liquidated_24h_usd["long"] == pytest.approx(sum(bar.long_liquidations_usd or 0 for bar in day))


async def test_nothing_fires_before_the_requested_start(recorded: History) -> None:
    start = parse_time("2025-12-20T00:00:00Z")
    book = ActiveRules([replace(parse_rule("near 1% busy"), id=1, chat_id=1)])
    pipeline = AlertPipeline({"BTC": AssetBoard("BTC")}, book, Kept())
    feed = ReplayFeed(recorded, ManualClock(), since=start, until=start + 48 * HOUR_MS)
    times = [
        alert.at for [*alerts] in [(await pipeline.process(d)).alerts async for d in feed.ticks()] for alert in alerts
    ]
    assert times
    assert min(times) > start


@needs_history
def test_near_messages_use_the_measured_entry_rate(recorded: History) -> None:
    figures = entry_figures(recorded, 0.01)
    near, placebo, any_time = (figures[name] for name in ("near_clusters", "placebo_levels", "any_time"))
    hours = MEASURED_ENTRY.within_hours
    assert placebo[f"within_{hours}h"] == pytest.approx(MEASURED_ENTRY.share, abs=0.005)
    # No skill at whether price gets there: the clusters' share is within the placebo's interval.
    low, high = placebo[f"within_{hours}h_90"]
    assert low <= near[f"within_{hours}h"] <= high
    assert any_time["within_1h"] < placebo["within_1h"]
    assert near["count"] > 200
