"""Recorded history from a file: bars of one market, 1 minute to 4 hours each, checked line by line."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from engine.errors import HistoryError, ImplausibleError
from engine.market import HOUR_MS, MINUTE_MS, Bar, Liquidation, Market, Side

REQUIRED = ("time", "open", "high", "low", "close", "open_interest_usd")
MAX_ODD_SHARE = 0.05
"""Maximum share of implausible bars in a file."""

STEPS_MS = tuple(m * MINUTE_MS for m in (1, 5, 15, 30, 60, 240))


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without bars, from the first missing opening time to that of the next bar, UTC ms."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Step:
    """A bar of the reference market, with all bars and liquidation orders since the previous step."""

    bar: Bar
    rows: tuple[tuple[Market, Bar], ...]
    events: tuple[Liquidation, ...]


@dataclass(frozen=True, slots=True)
class History:
    """Recorded history of one asset.

    Attributes:
        odd: implausible bars, which are gaps: line and problem.
        market: the reference market.
        bars: its bars in order of time, all of one step.
        gaps: gaps between them.
        others: bars of the asset's other markets, in order of time.
        events: single liquidation orders, in order of time.
    """

    market: Market
    bars: tuple[Bar, ...]
    gaps: tuple[Gap, ...]
    others: tuple[tuple[Market, Bar], ...] = ()
    events: tuple[Liquidation, ...] = ()
    odd: tuple[str, ...] = ()

    @property
    def step_ms(self) -> int:
        return self.bars[0].step_ms

    @property
    def end(self) -> int:
        return self.bars[-1].closed_at

    def steps(self, until: int | None = None) -> Iterator[Step]:
        """Yield a step for each bar of the reference market that closes by `until`.

        Bars of other markets and liquidation orders come with the first reference bar that closes as late or later.
        """
        others, events = deque(self.others), deque(self.events)
        for bar in self.bars:
            if until is not None and bar.closed_at > until:
                return
            rows = [(self.market, bar)]
            while others and others[0][1].closed_at <= bar.closed_at:
                rows.append(others.popleft())
            orders = []
            while events and events[0].at <= bar.closed_at:
                orders.append(events.popleft())
            yield Step(bar, tuple(rows), tuple(orders))


def parse_time(text: str) -> int:
    """Return the UTC ms of an ISO 8601 time. Without a zone it is UTC.

    Raises:
        ValueError: when it is not a time.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def iso(at: int) -> str:
    """Format UTC ms as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_history(path: Path, asset: str | None = None) -> History:
    """Read a history file: comma-separated (or as saved by spreadsheets), one row per bar, in order of time.

    Columns: time (opening time), open, high, low, close in USD, open_interest_usd at the close; optional
    open_interest_high_usd, open_interest_low_usd, funding_rate (per 8 hours), long_liquidations_usd and
    short_liquidations_usd. The asset is the file name's first word, without a quote currency, unless given. We
    convert open interest and its range to contracts (base units) at the bar's close. An implausible bar is a gap, as
    long as there are few.

    Raises:
        HistoryError: naming the file, the line and what is wrong with it.
    """
    try:
        timed = [(line, *_timed(path, line, row)) for line, row in _rows(path)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file with commas"
        raise HistoryError(f"{path.name}: cannot be read: {reason}") from None
    if len(timed) < 2:
        raise HistoryError(f"{path.name}: {len(timed)} rows; a history needs at least two")
    step = _step(path, timed)
    bars, odd = [], []
    for line, at, row in timed:
        try:
            bars.append(_bar(path, line, at, step, row))
        except (ImplausibleError, ZeroDivisionError) as error:
            odd.append(f"line {line}: {error}")
    if len(bars) < 2 or len(odd) > MAX_ODD_SHARE * len(timed):
        raise HistoryError(f"{path.name}, {odd[0]}")
    gaps = tuple(
        Gap(left.closed_at, right.opened_at) for left, right in pairwise(bars) if right.opened_at > left.closed_at
    )
    return History(recorded_market(asset.upper() if asset else asset_of(path)), tuple(bars), gaps, odd=tuple(odd))


def asset_of(path: Path) -> str:
    """Return the coin that a file is named after: BTC for btc_1h.csv and BTCUSDT-1h.csv."""
    name = re.split(r"[_\-. ]", path.name)[0].upper()
    return re.sub(r"(?<=[A-Z0-9]{2})(USDT|USDC|USD|BUSD|PERP)$", "", name) or name


def _rows(path: Path) -> list[tuple[int, dict[str, str | None]]]:
    """Return a file's rows by column, with their line numbers.

    Spreadsheets put a byte order mark first, and in many countries semicolons between columns and commas in numbers.
    """
    raw = path.read_bytes()
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    lines = io.StringIO(text, newline="")
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    rows = csv.DictReader(lines, delimiter=separator)
    names = [str(name).strip().lower() for name in rows.fieldnames or []]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise HistoryError(f"{path.name}: no column {', '.join(missing)}")
    rows.fieldnames = names
    numbered_rows = []
    for row in rows:
        if separator != ",":
            row = {name: value.replace(",", ".") if isinstance(value, str) else value for name, value in row.items()}
        numbered_rows.append((rows.line_num, row))
    return numbered_rows


def recorded_market(asset: str) -> Market:
    """Return the market assumed for a history file: Binance's linear perpetual, counted in base units."""
    return Market("binanceusdm", f"{asset}/USDT:USDT", asset)


def _timed(path: Path, line: int, row: dict[str, str | None]) -> tuple[int, dict[str, str | None]]:
    try:
        return parse_time(row["time"] or ""), row
    except ValueError:
        raise HistoryError(
            f"{path.name}, line {line}: {row['time']!r} is not a time such as 2025-12-04T06:00:00Z"
        ) from None


def _step(path: Path, timed: list[tuple[int, int, dict[str, str | None]]]) -> int:
    """Return the bars' step, ms: the smallest distance between rows, which must be in order and on it."""
    for (_, left, _), (line, right, _) in pairwise(timed):
        if right <= left:
            raise HistoryError(f"{path.name}, line {line}: {iso(right)} does not come after {iso(left)}")
    step = min(right[1] - left[1] for left, right in pairwise(timed))
    if step not in STEPS_MS:
        raise HistoryError(f"{path.name}: rows are {step / MINUTE_MS:g} minutes apart; known are 1, 5, 15, 30, 60, 240")
    for line, at, _ in timed:
        if at % min(step, HOUR_MS):
            raise HistoryError(f"{path.name}, line {line}: {iso(at)} is not on the step of {step // MINUTE_MS} minutes")
    return step


def _bar(path: Path, line: int, at: int, step: int, row: dict[str, str | None]) -> Bar:
    where = f"{path.name}, line {line}"

    def number(name: str) -> float | None:
        text = (row.get(name) or "").strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise HistoryError(f"{where}: {name} is {text!r}, expected a number") from None
        if not math.isfinite(value):
            raise HistoryError(f"{where}: {name} is {text}, expected a finite number")
        return value

    def required(name: str) -> float:
        value = number(name)
        if value is None:
            raise HistoryError(f"{where}: {name} is missing")
        return value

    close = required("close")
    interest, high, low = (number(f"open_interest_{part}usd") for part in ("", "high_", "low_"))
    return Bar(
        opened_at=at,
        step_ms=step,
        open=required("open"),
        high=required("high"),
        low=required("low"),
        close=close,
        contracts=interest / close if interest is not None else None,
        contracts_high=high / close if high is not None else None,
        contracts_low=low / close if low is not None else None,
        funding_rate=number("funding_rate"),
        long_liquidations_usd=number("long_liquidations_usd"),
        short_liquidations_usd=number("short_liquidations_usd"),
    )


@dataclass(frozen=True, slots=True)
class ForcedOrder:
    """One liquidation order of a file: time (UTC ms), position's side, price (USD) and size (USD)."""

    at: int
    side: Side
    price: float
    usd: float


def read_orders(path: Path, asset: str) -> list[ForcedOrder]:
    """Read an asset's single liquidation orders from a file, in order of time.

    Columns: time, symbol, side (long or short: the position that was liquidated), price, notional_usd.

    Raises:
        HistoryError: naming the file, the line and what is wrong with it.
    """
    orders = []
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = csv.DictReader(handle)
            for row in rows:
                if str(row.get("symbol", "")).split("/")[0] != asset:
                    continue
                side: Side = "long" if row["side"] == "long" else "short"
                orders.append(
                    ForcedOrder(parse_time(row["time"]), side, float(row["price"]), float(row["notional_usd"]))
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HistoryError(f"{path.name}: cannot be read: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise HistoryError(f"{path.name}, line {rows.line_num}: {error} is missing or no such value") from None
    if not orders:
        raise HistoryError(f"{path.name}: no liquidation order of {asset} in it")
    return sorted(orders, key=lambda order: order.at)
