"""History files are read whole, or refused with the number of the bad line."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import HistoryError
from engine.history import History, iso, parse_time, read_history
from tests.conftest import needs_history

HEAD = "time,open,high,low,close,open_interest_usd"
ROWS = [
    "2025-12-04T06:00:00Z,100,101,99,100.5,1005",
    "2025-12-04T07:00:00Z,100.5,102,100,101,1010",
    "2025-12-04T08:00:00Z,101,101.5,100,100,1000",
]


def write(path: Path, *rows: str, head: str = HEAD) -> Path:
    file = path / "btc_test.csv"
    file.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return file


def test_interest_becomes_contracts_at_the_close(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, *ROWS))
    assert [bar.contracts for bar in history.bars] == [10.0, 10.0, 10.0]
    assert history.market.asset == "BTC"
    assert history.step_ms == 3_600_000


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        (ROWS, HEAD.replace("close", "klose"), "no column close"),
        ([ROWS[0]], HEAD, "at least two"),
        ([ROWS[1], ROWS[0]], HEAD, "line 3: 2025-12-04T06:00:00Z does not come after"),
        ([ROWS[0], ROWS[0]], HEAD, "line 3: .* does not come after"),
        ([ROWS[0], ROWS[1].replace("100.5", "nan", 1)], HEAD, "line 3: open is nan"),
        ([ROWS[0], ROWS[1].replace("1010", "0")], HEAD, "line 3: contracts is 0"),
        ([ROWS[0], ROWS[1].replace(",101,", ",0,")], HEAD, "line 3"),
        ([ROWS[0], ROWS[1].replace("102", "1o2")], HEAD, "line 3: high is '1o2'"),
        ([ROWS[0], ROWS[1].replace("102", "100.6")], HEAD, "line 3: .* do not enclose"),
        (["yesterday,1,1,1,1,1", ROWS[1]], HEAD, "line 2: 'yesterday' is not a time"),
        ([ROWS[0], ROWS[1].replace("07:00:00", "06:00:07")], HEAD, "minutes apart"),
    ],
)
def test_errors_name_the_bad_line(tmp_path: Path, rows: list[str], head: str, message: str) -> None:
    with pytest.raises(HistoryError, match=message):
        read_history(write(tmp_path, *rows, head=head))


def test_a_missing_hour_is_a_named_gap(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, ROWS[0], ROWS[1], "2025-12-04T10:00:00Z,101,102,100,101,1010"))
    assert [(iso(gap.start), iso(gap.end)) for gap in history.gaps] == [
        ("2025-12-04T08:00:00Z", "2025-12-04T10:00:00Z")
    ]


def test_interest_may_be_missing(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, ROWS[0], ROWS[1].removesuffix("1010")))
    assert history.bars[1].contracts is None


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot be read"):
        read_history(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(HistoryError):
        read_history(tmp_path / "binary.csv")


def test_times_without_a_zone_are_utc() -> None:
    assert parse_time("2025-12-14T00:00:00") == parse_time("2025-12-14T00:00:00Z") == 1_765_670_400_000


@needs_history
def test_the_recorded_history_has_five_gaps(recorded: History) -> None:
    assert len(recorded.bars) == 2821
    assert len(recorded.gaps) == 5
