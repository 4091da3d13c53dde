"""Sources replay a recording faithfully, or simulate a reproducible market."""

from __future__ import annotations

import pytest

from engine.history import History
from engine.loopback.recorded import RecordedSource
from engine.loopback.simulated import SimulatedSource
from engine.loopback.tape import VENUE_SHARE, Tape
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS
from tests.conftest import needs_history
from tests.engine.loopback.markets import START, WavySource

NOW = 1_795_320_000_000


@needs_history
def test_recorded_bars_come_out_unchanged(recorded: History) -> None:
    tape = Tape(RecordedSource(recorded))
    first, last = recorded.bars[0], recorded.bars[200]
    candles = {c.at: c for c in tape.candles(HOUR_MS, first.opened_at, last.opened_at, last.closed_at)}
    for bar in recorded.bars[:200]:
        candle = candles[bar.opened_at]
        prices = (candle.open, candle.high, candle.low, candle.close)
        assert prices == pytest.approx((bar.open, bar.high, bar.low, bar.close))
        assert bar.contracts is not None
        assert tape.interest_base("binanceusdm", bar.closed_at) == pytest.approx(bar.contracts, rel=1e-6)


@needs_history
def test_recorded_liquidations_add_up_to_the_bars(recorded: History) -> None:
    tape = Tape(RecordedSource(recorded))
    end = recorded.bars[100].closed_at
    from_tape = sum(e.price * e.amount_base for venue in VENUE_SHARE for e in tape.forced(venue, 0, end))
    reported = sum((b.long_liquidations_usd or 0) + (b.short_liquidations_usd or 0) for b in recorded.bars[:101])
    assert from_tape == pytest.approx(reported, rel=0.01)


def test_the_seed_alone_determines_the_market() -> None:
    tapes = [Tape(SimulatedSource(seed, NOW, 2)) for seed in (1, 1, 2)]
    rows = [tape.candles(HOUR_MS, tape.start, NOW, NOW) for tape in tapes]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]
    assert tapes[0].mark(NOW) == pytest.approx(90_400, rel=0.001)


def test_positions_are_liquidated_only_where_price_went() -> None:
    tape = Tape(SimulatedSource(1, NOW, 4))
    events = [event for venue in VENUE_SHARE for event in tape.forced(venue, tape.start, NOW)]
    assert len(events) > 50
    for event in events:
        minute = event.at // MINUTE_MS * MINUTE_MS
        for candle in tape.candles(5 * MINUTE_MS, event.at // 300_000 * 300_000, minute, NOW)[:1]:
            reached = candle.low <= event.price if event.side == "long" else candle.high >= event.price
            assert reached


def test_a_running_candle_shows_only_the_past() -> None:
    tape = Tape(WavySource())
    at = START + DAY_MS
    for second in (0, 20, 40, 59):
        (candle,) = tape.candles(MINUTE_MS, at, at, at + second * 1000)
        assert candle.low <= tape.mark(at + second * 1000) <= candle.high
    (whole,) = tape.candles(MINUTE_MS, at, at, at + DAY_MS)
    assert whole.low <= candle.low
    assert candle.high <= whole.high
