"""With no data from any venue, chats that expect alerts get one message, and another when data is back."""

from __future__ import annotations

import pytest

from engine.alerts.active_rules import ActiveRules
from engine.board import AssetBoard
from engine.market import MINUTE_MS, AssetUpdate, MarketTick, Sample
from engine.messages import TickRecord
from engine.pipeline import AlertPipeline
from tests.engine.test_pipeline import RULE, Kept, falling, kinds
from tests.handlers.kit import MARKETS, filled_board

GONE = {"binanceusdm": "not available", "bybit": "network error"}


@pytest.fixture
def board() -> AssetBoard:
    return filled_board()


def present(board: AssetBoard, at: int, *path: float) -> MarketTick:
    price = path[-1] if path else board.mark
    sample = Sample(MARKETS[0], at, at, price, price, price, price, price, 80_000.0)
    return MarketTick(at, {"BTC": AssetUpdate(path or (price,), samples=(sample,))}, present=True)


def nothing(at: int) -> MarketTick:
    return MarketTick(at, {"BTC": AssetUpdate(missing=GONE, excluded=frozenset(m.key for m in MARKETS))}, present=True)


async def settled(board: AssetBoard) -> tuple[AlertPipeline, Kept, int]:
    store = Kept()
    pipeline = AlertPipeline({"BTC": board}, ActiveRules([RULE]), store)
    now = board.closed_at + MINUTE_MS
    await pipeline.process(present(board, now))
    return pipeline, store, now


async def test_five_minutes_without_data_notify_once(board: AssetBoard) -> None:
    pipeline, _, now = await settled(board)
    records: list[TickRecord] = [await pipeline.process(nothing(now + minute * MINUTE_MS)) for minute in range(1, 30)]
    assert [i for i, record in enumerate(records, start=1) if record.alerts] == [5]
    (alert,) = records[4].alerts
    assert alert.kind == "stale"
    assert alert.facts["since"] == now
    assert alert.facts["missing"] == GONE
    assert records[4].stale == {"BTC": now}


async def test_the_back_message_lists_missed_sweeps(board: AssetBoard) -> None:
    pipeline, _, now = await settled(board)
    path = falling(board)
    for minute in (5, 6, 7):
        await pipeline.process(nothing(now + minute * MINUTE_MS))
    late = MarketTick(now + 8 * MINUTE_MS, {"BTC": AssetUpdate(path)}, late=True)
    assert (await pipeline.process(late)).alerts == []
    record = await pipeline.process(present(board, now + 20 * MINUTE_MS, path[-1]))
    back = [alert for alert in record.alerts if alert.kind == "back"]
    assert len(back) == 1
    assert back[0].facts["offline_from"] == now
    assert "swept" in {missed["kind"] for missed in back[0].facts["missed"]}
    assert record.stale == {"BTC": None}
    again = await pipeline.process(present(board, now + 21 * MINUTE_MS, path[-1]))
    assert "back" not in kinds(again)


async def test_back_is_sent_even_if_nothing_happened(board: AssetBoard) -> None:
    pipeline, _, now = await settled(board)
    await pipeline.process(nothing(now + 6 * MINUTE_MS))
    record = await pipeline.process(present(board, now + 9 * MINUTE_MS))
    assert kinds(record) == ["back"]


async def test_a_short_gap_sends_nothing(board: AssetBoard) -> None:
    pipeline, _, now = await settled(board)
    assert (await pipeline.process(nothing(now + 4 * MINUTE_MS))).alerts == []
    assert kinds(await pipeline.process(present(board, now + 4 * MINUTE_MS + 1))) == []


async def test_a_restart_does_not_repeat_the_stale_notice(board: AssetBoard) -> None:
    _, _, now = await settled(board)
    again = AlertPipeline({"BTC": board}, ActiveRules([RULE]), Kept())
    again.downtime.begin({"BTC": now}, {"BTC": now})
    assert (await again.process(nothing(now + 9 * MINUTE_MS))).alerts == []
    assert kinds(await again.process(present(board, now + 20 * MINUTE_MS))) == ["back"]


async def test_a_muted_coin_sends_no_notice(board: AssetBoard) -> None:
    pipeline, _, now = await settled(board)
    pipeline.rules.mute(RULE.chat_id, "BTC", now + 60 * MINUTE_MS)
    assert (await pipeline.process(nothing(now + 6 * MINUTE_MS))).alerts == []


async def test_bars_alone_do_not_end_an_outage(board: AssetBoard) -> None:
    pipeline, _, now = await settled(board)
    notices: list[str] = []
    for minute in range(1, 40):
        update = nothing(now + minute * MINUTE_MS)
        if minute % 5 == 0:
            update = MarketTick(update.now, {"BTC": AssetUpdate((board.mark, board.mark), missing=GONE)})
        notices += kinds(await pipeline.process(update))
    assert notices == ["stale"]
    assert kinds(await pipeline.process(present(board, now + 60 * MINUTE_MS))) == ["back"]


async def test_a_coin_back_in_the_ranking_starts_afresh(board: AssetBoard) -> None:
    pipeline, _, now = await settled(board)
    pipeline.downtime.drop("BTC")
    day = now + 5 * 24 * 60 * MINUTE_MS
    assert (await pipeline.process(nothing(day))).alerts == []
    assert kinds(await pipeline.process(present(board, day + MINUTE_MS))) == []
