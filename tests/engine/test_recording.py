"""Recordings are read back as written, even if they were interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.board import AssetBoard
from engine.errors import HistoryError
from engine.history import History
from engine.market import HOUR_MS, Bar, Liquidation, Market
from engine.recording import Recorder, RecordingStore, read_recording, take_up
from engine.replay import board_at, update_of
from tests.handlers.kit import MARKETS, START, lived_board

COIN_MARGINED = Market("bybit", "BTC/USD:BTC", "BTC", "inverse", 100.0)
ETHER = Market("okx", "ETH/USDT:USDT", "ETH", "linear", 0.1)


def bars(market: Market, count: int = 30, size: float = 80_000.0) -> list[tuple[Market, Bar]]:
    rows = []
    for hour in range(count):
        low, high = 89_000.0 - hour, 90_000.0 + hour
        contracts = (size + hour) / market.contract_size
        rows.append((market, Bar(START + hour * HOUR_MS, HOUR_MS, low, high, low, high, contracts, funding_rate=1e-4)))
    return rows


def forced(at: int, number: int = 0, market: Market = MARKETS[0]) -> Liquidation:
    return Liquidation(market, at, "long", 88_000.0, 0.5, number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "market.jsonl"


def write(path: Path, *rows: list[tuple[Market, Bar]], events: tuple[Liquidation, ...] = ()) -> None:
    with path.open("a", encoding="utf-8") as handle:
        recorder = Recorder(handle)
        for run in rows:
            recorder.add_bars(run)
        recorder.add_liquidations(events)


def test_all_markets_are_read_and_the_largest_is_reference(path: Path) -> None:
    events = (forced(START + 90_000), forced(START + 90_000, 1), forced(START + 2 * HOUR_MS, market=COIN_MARGINED))
    write(path, bars(COIN_MARGINED), bars(MARKETS[0]), bars(ETHER), events=events)
    history = read_recording(path)
    assert history.market == MARKETS[0]
    assert history.bars == tuple(bar for _, bar in bars(MARKETS[0]))
    assert [(market, bar.opened_at) for market, bar in history.others] == [
        (COIN_MARGINED, START + hour * HOUR_MS) for hour in range(30)
    ]
    assert history.events == tuple(sorted(events, key=lambda event: event.at))
    assert history.gaps == ()
    assert read_recording(path, "eth").market == ETHER


def test_a_step_has_all_markets_bars_and_the_orders_since(path: Path) -> None:
    write(path, bars(MARKETS[0]), bars(MARKETS[1]), events=(forced(START + 5), forced(START + HOUR_MS + 5)))
    steps = list(read_recording(path).steps(START + 3 * HOUR_MS))
    assert [len(step.rows) for step in steps] == [2, 2, 2]
    assert [len(step.events) for step in steps] == [1, 1, 0]
    assert update_of(steps[0]).reported == ((START + 5, "long", 44_000.0, MARKETS[0].key),)


def test_a_recording_and_a_direct_feed_make_the_same_board(path: Path) -> None:
    direct = lived_board()
    captured: list[list[tuple[Market, Bar]]] = []

    class Listening(AssetBoard):
        def _step(self, market: Market, bar: Bar) -> None:
            captured.append([(market, bar)])
            super()._step(market, bar)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.handlers.kit.AssetBoard", Listening)
        lived_board()
    write(path, *captured)
    again = board_at(read_recording(path), None)
    assert again.closed_at == direct.closed_at
    assert [c.id for c in again.clusters] == [c.id for c in direct.clusters]
    assert again.view.forced_usd(80_000) == pytest.approx(direct.view.forced_usd(80_000))


async def test_an_interrupted_recording_continues(path: Path) -> None:
    write(path, bars(MARKETS[0], 10), events=(forced(START + 5),))
    with path.open("a", encoding="utf-8") as handle:
        handle.write('{"bar":[0,1765')  # the plug was pulled here
    assert len(read_recording(path).bars) == 10
    before = take_up(path)
    assert before[MARKETS[0].key].opened_at == START + 9 * HOUR_MS
    with path.open("a", encoding="utf-8") as handle:
        store = RecordingStore(Recorder(handle), before)
        assert await store.bars_since(MARKETS[0], 0) == [before[MARKETS[0].key]]
        assert await store.bars_since(MARKETS[0], before[MARKETS[0].key].closed_at) == []
        await store.add_bars(bars(MARKETS[0], 12)[9:])
        assert await store.add_liquidations([forced(START + 5), forced(START + 6), forced(START + 6)]) == [
            forced(START + 5),
            forced(START + 6),
        ]
        assert await store.add_liquidations([forced(START + 6)]) == []
    history = read_recording(path)
    assert [bar.opened_at for bar in history.bars] == [START + hour * HOUR_MS for hour in range(12)]
    assert len(history.events) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "line 2: "),
        ('{"bar":[7,1,2]}', "line 2: "),
        ('{"bar":[0,1,3600000,-1,1,1,1]}', "line 2: "),
        ('{"other":1}', "line 2: "),
        ("[]", "line 2: "),
    ],
)
def test_bad_lines_are_named_by_number(path: Path, line: str, says: str) -> None:
    write(path, bars(MARKETS[0], 2))
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n", encoding="utf-8")
    with pytest.raises(HistoryError, match=says):
        read_recording(path)


def test_a_missing_asset_lists_the_recorded_ones(path: Path) -> None:
    write(path, bars(ETHER))
    with pytest.raises(HistoryError, match="no bar of BTC in it; it holds ETH"):
        read_recording(path, "BTC")
    assert read_recording(path).market == ETHER
    path.write_text("", encoding="utf-8")
    assert take_up(path) == {}
    with pytest.raises(HistoryError, match="no bar in it"):
        read_recording(path)


def test_a_missing_bar_is_a_gap(path: Path) -> None:
    rows = bars(MARKETS[0], 5)
    write(path, rows[:2] + rows[3:])
    history: History = read_recording(path)
    assert [(gap.start, gap.end) for gap in history.gaps] == [(START + 2 * HOUR_MS, START + 3 * HOUR_MS)]


def test_bars_of_two_steps_are_refused(path: Path) -> None:
    rows = bars(MARKETS[0], 3)
    odd = (rows[0][0], replace(rows[2][1], opened_at=START + 9 * HOUR_MS, step_ms=300_000))
    write(path, [*rows, odd])
    with pytest.raises(HistoryError, match="2 different steps"):
        read_recording(path)


def test_other_files_are_left_unchanged(path: Path) -> None:
    for text in ("one line without an end", "a\nb\n", '{"x":1}\nhalf'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(HistoryError):
            take_up(path)
        assert path.read_text(encoding="utf-8") == text


def test_resized_contracts_are_converted_to_the_first_size(path: Path) -> None:
    """A venue split its contract into ten during the recording."""
    small = replace(MARKETS[0], contract_size=MARKETS[0].contract_size / 10)
    late = [(small, replace(bar, opened_at=bar.opened_at + 30 * HOUR_MS)) for _, bar in bars(small)]
    event = forced(START + 40 * HOUR_MS, market=small)
    write(path, bars(MARKETS[0]), late, events=(event,))
    history = read_recording(path)
    assert history.market == MARKETS[0]
    sizes = [history.market.usd(bar.contracts or 0, 1.0) for bar in history.bars]
    assert max(sizes) / min(sizes) < 1.001
    assert history.events[0].notional_usd == pytest.approx(event.notional_usd)


def test_old_recordings_count_bybits_contracts_twice(path: Path) -> None:
    """Reading halves their contracts, but not the reported liquidations."""
    linear = replace(MARKETS[1], venue="bybit")
    write(path, bars(linear), bars(MARKETS[0]), events=(forced(START + 90_000, market=linear),))
    text = path.read_text().replace('"unit":2,', "")
    path.write_text(text)
    history = read_recording(path)
    halved = {market.venue: bar.contracts for market, bar in history.others if bar.opened_at == START}
    assert halved["bybit"] == pytest.approx(80_000 / linear.contract_size / 2)
    assert history.bars[0].contracts == pytest.approx(80_000 / MARKETS[0].contract_size)
    assert history.events[0].contracts == 0.5
