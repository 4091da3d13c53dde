"""Recordings: bars of many markets and liquidation orders as lines of JSON, appended live and read back whole.

Each line is an object with one key. market: a market's fields and its number; a new line with another number follows
when its contract size changes. bar: the market's number and the bar's fields in the order of BAR_FIELDS. forced: the
market's number, time, side, price, contracts, number among identical orders. An interrupted and resumed recording
contains some lines twice, and the first counts. We convert what we read to the contract size that was recorded first.

A market's fields include a unit: 2 since we count Bybit's contracts once. In older recordings we halve its bars.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from engine.errors import HistoryError, ImplausibleError
from engine.history import Gap, History
from engine.liquidation.margin import Tier
from engine.market import Bar, Liquidation, Market, resized
from engine.messages import TickRecord

BAR_FIELDS = tuple(field.name for field in fields(Bar))
SUFFIX = ".jsonl"
UNIT = 2
COUNTED_TWICE = frozenset({"bybit"})
"""Venues whose open interest was recorded two-sided before the current unit."""

KNOWN_ORDERS = 100_000
"""How many liquidation orders we keep so that none is written twice: hours' worth."""


class Recorder:
    """Writes bars and liquidation orders to a file at once."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle
        self._numbers: dict[tuple[str, float], int] = {}
        self.bars = 0
        self.orders = 0

    def add_bars(self, rows: Iterable[tuple[Market, Bar]]) -> None:
        """Write bars in the given order."""
        for market, bar in rows:
            self._write("bar", [self._number(market), *(getattr(bar, name) for name in BAR_FIELDS)])
            self.bars += 1
        self._handle.flush()

    def add_liquidations(self, events: Iterable[Liquidation]) -> None:
        """Write liquidation orders in the given order."""
        for event in events:
            row = [self._number(event.market), event.at, event.side, event.price, event.contracts, event.number]
            self._write("forced", row)
            self.orders += 1
        self._handle.flush()

    def _number(self, market: Market) -> int:
        identity = market.key, market.contract_size
        if identity not in self._numbers:
            self._numbers[identity] = len(self._numbers)
            self._write("market", {"number": self._numbers[identity], "unit": UNIT, **asdict(market)})
        return self._numbers[identity]

    def _write(self, kind: str, value: Any) -> None:
        self._handle.write(json.dumps({kind: value}, separators=(",", ":")) + "\n")


class RecordingStore:
    """An append-only market store: a live feed's bars and liquidation orders go to the recording.

    Args:
        before: the last recorded bar by market key, so that the feed resumes where the recording ended.
    """

    def __init__(self, recorder: Recorder, before: Mapping[str, Bar] | None = None) -> None:
        self.recorder = recorder
        self._last = dict(before or {})
        self._known: dict[Liquidation, None] = {}

    async def add_bars(self, bars: Sequence[tuple[Market, Bar]]) -> None:
        self.recorder.add_bars(bars)

    async def bars_since(self, market: Market, closed_after: int) -> list[Bar]:
        last = self._last.get(market.key)
        return [last] if last is not None and last.closed_at > closed_after else []

    async def add_liquidations(self, events: Sequence[Liquidation]) -> list[Liquidation]:
        new = [event for event in dict.fromkeys(events) if event not in self._known]
        self._known |= dict.fromkeys(new)
        for old in list(self._known)[: max(len(self._known) - KNOWN_ORDERS, 0)]:
            del self._known[old]
        self.recorder.add_liquidations(new)
        return new

    async def save_markets(self, markets: Iterable[Market]) -> None:
        """Do nothing: the recorder writes a market's fields before its first bar."""

    async def save_tiers(self, market: Market, tiers: Sequence[Tier], at: int) -> None:
        """Do nothing: a market's fields include its lowest tier."""

    async def tiers_of(self, market: str) -> tuple[int, list[Tier]]:  # noqa: ARG002  # the protocol
        return 0, []

    async def priced_until(self) -> dict[str, int]:
        return {}

    async def commit(self, record: TickRecord) -> None:
        """Do nothing: there are no rules, so a tick has nothing to record."""


def take_up(path: Path) -> dict[str, Bar]:
    """Prepare a recording for appending. Return the last bar by market key, none without a file.

    We cut off an incomplete last line.

    Raises:
        HistoryError: when the file is not a recording.
    """
    if not path.exists() or not path.stat().st_size:
        return {}
    lines = _Lines(path)
    if not lines.markets:
        raise HistoryError(f"{path.name}: it is not a recording; nothing was changed in it")
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])
    return {key: bars[max(bars)] for key, bars in lines.bars.items()}


def read_recording(path: Path, asset: str | None = None) -> History:
    """Return one asset of a recording: the named one, else BTC, else that of the market with the most bars.

    The reference market is the one with the largest median open interest in USD.

    Raises:
        HistoryError: naming the file, the line and what is wrong with it.
    """
    lines = _Lines(path)
    if not lines.bars:
        raise HistoryError(f"{path.name}: no bar in it")
    assets = {market.asset for market in lines.markets.values()}
    wanted = (asset or ("BTC" if "BTC" in assets else _most_bars(lines))).upper()
    markets = {key: market for key, market in lines.markets.items() if market.asset == wanted and lines.bars.get(key)}
    if not markets:
        raise HistoryError(f"{path.name}: no bar of {wanted} in it; it holds {', '.join(sorted(assets))}")
    steps = {bar.step_ms for key in markets for bar in lines.bars[key].values()}
    if len(steps) > 1:
        raise HistoryError(f"{path.name}: bars of {len(steps)} different steps")
    rows = {key: [bars[at] for at in sorted(bars)] for key, bars in lines.bars.items() if key in markets}
    leader = max(markets, key=lambda key: (_size(markets[key], rows[key]), key))
    if len(rows[leader]) < 2:
        raise HistoryError(f"{path.name}: {len(rows[leader])} bars of {wanted}; a history needs at least two")
    others = sorted(
        ((markets[key], bar) for key in markets if key != leader for bar in rows[key]),
        key=lambda row: (row[1].opened_at, row[0].key),
    )
    gaps = tuple(Gap(a.closed_at, b.opened_at) for a, b in pairwise(rows[leader]) if b.opened_at > a.closed_at)
    events = sorted((e for e in lines.events if e.market.asset == wanted), key=lambda e: (e.at, e.market.key, e.number))
    return History(markets[leader], tuple(rows[leader]), gaps, tuple(others), tuple(events))


@dataclass(frozen=True, slots=True)
class _Counted:
    """A numbered market: factors that convert its contracts to the first size, and its open interest to UNIT."""

    market: Market
    ratio: float
    interest: float


class _Lines:
    """A recording's parsed lines: markets and bars by market key, and liquidation orders, each once."""

    def __init__(self, path: Path) -> None:
        self.markets: dict[str, Market] = {}
        self.bars: dict[str, dict[int, Bar]] = {}
        self._events: dict[Liquidation, None] = {}
        self._numbers: dict[int, _Counted] = {}
        read: Mapping[str, Callable[[Any], None]] = {"market": self._market, "bar": self._bar, "forced": self._forced}
        try:
            with path.open(encoding="utf-8") as handle:
                rows = handle.readlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
            raise HistoryError(f"{path.name}: cannot be read: {reason}") from None
        for number, line in enumerate(rows, start=1):
            try:
                ((kind, value),) = json.loads(line).items()
                read[kind](value)
            except (ValueError, TypeError, KeyError, AttributeError, ImplausibleError) as error:
                if number == len(rows) and not line.endswith("\n"):
                    break  # an incomplete last line
                raise HistoryError(
                    f"{path.name}, line {number}: {str(error)[:80] or 'not a line of a recording'}"
                ) from None

    @property
    def events(self) -> Sequence[Liquidation]:
        return list(self._events)

    def _market(self, value: dict[str, Any]) -> None:
        number, unit = value.pop("number"), value.pop("unit", 1)
        market = Market(**value)
        first = self.markets.setdefault(market.key, market)
        twice = 0.5 if unit < UNIT and market.venue in COUNTED_TWICE else 1.0
        self._numbers[number] = _Counted(first, market.contract_size / first.contract_size, twice)

    def _bar(self, value: list[Any]) -> None:
        counted, bar = self._numbers[value[0]], Bar(*value[1:])
        ratio = counted.ratio * counted.interest
        bar = bar if ratio == 1.0 else resized(bar, ratio)
        self.bars.setdefault(counted.market.key, {}).setdefault(bar.opened_at, bar)

    def _forced(self, value: list[Any]) -> None:
        number, at, side, price, contracts, alike = value
        counted = self._numbers[number]
        self._events[Liquidation(counted.market, at, side, price, contracts * counted.ratio, alike)] = None


def _most_bars(lines: _Lines) -> str:
    return max(lines.markets.values(), key=lambda market: (len(lines.bars.get(market.key, ())), market.key)).asset


def _size(market: Market, bars: Sequence[Bar]) -> float:
    """Return the median open interest of a market, USD."""
    values = sorted(market.usd(bar.contracts, bar.close) for bar in bars if bar.contracts is not None)
    return values[len(values) // 2] if values else 0.0
