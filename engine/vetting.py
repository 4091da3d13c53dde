"""Vets an asset's bars before they step its maps: data that the other venues do not confirm is left out.

Keeps the state that engine.consensus needs from bar to bar: the last consensus close, the venues' usual spread, each
hour's price range, and contract counts that jumped. It is part of the board and its checkpoint, so that live,
backfilled and replayed bars are vetted alike.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from engine.consensus import (
    FAR_FACTOR,
    JUMP_LOOKS,
    Row,
    Spread,
    continues,
    contracts_doubtful,
    path_of_bars,
    vet_bars,
)
from engine.liquidation.market_map import MarketMap
from engine.market import DAY_MS, HOUR_MS, Bar, Market

HOLD_MS = HOUR_MS
"""How long a contract count that jumped alone must last before we accept it."""

UNDO_MS = DAY_MS
"""If a count goes back within this time, the jump was wrong, and we rebuild the map without it."""

BACK = math.log(1.1)
SAME = math.log(1.3)
RANGES_MS = 40 * DAY_MS
MAX_WICKS = 20


@dataclass
class Jump:
    """A market's contract count that jumped while the others' did not.

    Attributes:
        since: close of the first bar at this level, UTC ms.
        before, level: contracts before it and since, in contracts of that time.
        believed: whether it has lasted an hour and is in the map.
        snapshot: the map before the jump.
        bars: bars since then, without their counts.
    """

    since: int
    before: float
    level: float
    snapshot: dict[str, Any]
    bars: list[Bar] = field(default_factory=list)
    believed: bool = False


class Vetting:
    """Vets one asset's bars.

    Attributes:
        last_close: the last consensus close, USD, 0 before the first.
        doubts: markets whose last bar or contract count is rejected, with the reason.
        wicks: the last few extremes that only one venue showed: bar close in UTC ms, market key, USD.
        refused: number of rejected bars and counts by reason.
    """

    def __init__(self) -> None:
        self.last_close = 0.0
        self.spread = Spread()
        self.doubts: dict[str, str] = {}
        self.wicks: deque[tuple[int, str, float]] = deque(maxlen=MAX_WICKS)
        self.refused: Counter[str] = Counter()
        self._ranges: dict[int, tuple[float, float]] = {}
        self._alone: dict[str, int] = {}
        self._jumps: dict[str, Jump] = {}

    @property
    def jumped(self) -> frozenset[str]:
        """Keys of markets whose contract count jumped alone and is not accepted yet."""
        return frozenset(key for key, jump in self._jumps.items() if not jump.believed)

    def path(self, rows: Sequence[Row]) -> tuple[float, ...]:
        """Return the prices that bars of one closing time confirm, empty if none of them counts."""
        kept = vet_bars(self._not_alone(rows, count=False), self.last_close, self.spread).rows
        return path_of_bars(kept, self.last_close) if kept else ()

    def front(self, rows: Sequence[Row], maps: dict[str, MarketMap]) -> list[Row]:
        """Return the vetted bars of one closing time, to step maps with. Rebuild maps that a wrong jump spoilt.

        Args:
            rows: the asset's bars that closed together, later than all earlier ones.
            maps: by market key; a rebuilt map is replaced in place.
        """
        vetted = vet_bars(self._not_alone(rows, count=True), self.last_close, self.spread)
        self._doubt(rows, vetted.refused)
        if not vetted.rows:
            return []
        closed_at = vetted.rows[0][1].closed_at
        for key, price in vetted.wicks.items():
            self.wicks.append((closed_at, key, price))
        path = path_of_bars(vetted.rows, self.last_close)
        closes: dict[str, float] = {}
        for market, bar in vetted.rows:
            closes.setdefault(market.venue, bar.close)
        self.spread.see(list(closes.values()))
        self.last_close = path[-1]
        self._reach(closed_at, min(path), max(path))
        return self._with_counts(vetted.rows, maps)

    def late(self, market: Market, bar: Bar, maps: dict[str, MarketMap]) -> list[Row]:
        """Return a lagging market's vetted bar from before the last consensus close, none if it is a gap."""
        hour_range = self._ranges.get((bar.closed_at - 1) // HOUR_MS)
        market_map = maps.get(market.key)
        if hour_range is not None:
            low, high = hour_range[0] / FAR_FACTOR, hour_range[1] * FAR_FACTOR
            far = not (low <= bar.low and bar.high <= high)
        else:
            far = market_map is not None and market_map.opened and not continues(bar, market_map.close)
        if far:
            self._doubt([(market, bar)], {market.key: "its price is far from the others'"})
            return []
        return self._with_counts([(market, bar)], maps)

    # -- prices

    def _not_alone(self, rows: Sequence[Row], *, count: bool) -> list[Row]:
        """Return the rows. Drop a single venue's bar off the last price until there are JUMP_LOOKS in a row."""
        rows = list(rows)
        if len({market.venue for market, _ in rows}) != 1:
            if count:
                self._alone.clear()
            return rows
        kept = []
        for market, bar in rows:
            if continues(bar, self.last_close):
                looks = 0
            else:
                looks = self._alone.get(market.key, 0) + 1
            if count:
                self._alone[market.key] = looks
                if 0 < looks < JUMP_LOOKS:
                    self._doubt([(market, bar)], {market.key: "its price is far from the last"})
            if not 0 < looks < JUMP_LOOKS:
                kept.append((market, bar))
        return kept

    def _doubt(self, rows: Sequence[Row], refused: Mapping[str, str]) -> None:
        for market, _ in rows:
            why = refused.get(market.key)
            if why:
                self.doubts[market.key] = why
                self.refused[why] += 1
            elif market.key not in self._jumps:
                self.doubts.pop(market.key, None)

    def _reach(self, closed_at: int, low: float, high: float) -> None:
        hour = (closed_at - 1) // HOUR_MS
        hour_range = self._ranges.get(hour, (low, high))
        self._ranges[hour] = (min(hour_range[0], low), max(hour_range[1], high))
        oldest = hour - RANGES_MS // HOUR_MS
        while self._ranges and (first := next(iter(self._ranges))) < oldest:
            del self._ranges[first]

    # -- contract counts

    def _with_counts(self, rows: Sequence[Row], maps: dict[str, MarketMap]) -> list[Row]:
        """Return the bars with accepted contract counts only. Other counts become None."""
        changes = {
            market.key: (market.venue, math.log(bar.contracts / before))
            for market, bar in rows
            if bar.contracts and (before := _contracts_before(market, maps))
        }
        kept = []
        for market, bar in rows:
            venue_change = changes.get(market.key)
            if venue_change is None:
                kept.append((market, bar))
                self._note(market, bar)
                continue
            by_venue: dict[str, list[float]] = {}
            for key, (venue, change) in changes.items():
                if venue != market.venue and key not in self._jumps:
                    by_venue.setdefault(venue, []).append(change)
            others = [median(values) for values in by_venue.values()]
            kept.append((market, self._counted(market, bar, venue_change[1], others, maps)))
        return kept

    def _counted(
        self, market: Market, bar: Bar, change: float, others: Sequence[float], maps: dict[str, MarketMap]
    ) -> Bar:
        """Return the bar, without its count if that jumped while the others' did not and has not lasted."""
        key, market_map, jump = market.key, maps[market.key], self._jumps.get(market.key)
        contracts, unknown = bar.contracts or 0.0, _without_count(bar)
        if jump is None:
            moved = math.log(bar.close / market_map.close)
            if not contracts_doubtful(change, others, price_change=moved):
                return bar
            before = _contracts_before(market, maps)
            self._jumps[key] = jump = Jump(bar.closed_at, before, contracts, market_map.snapshot())
            self.doubts[key] = "its open interest jumped alone"
            self.refused["its open interest jumped alone"] += 1
            jump.bars.append(unknown)
            return unknown
        went_back = abs(math.log(contracts / jump.before)) <= BACK
        if went_back:
            del self._jumps[key]
            self.doubts.pop(key, None)
            if jump.believed:
                maps[key] = _made_again(jump)
            return bar
        if jump.believed:
            if bar.closed_at - jump.since > UNDO_MS:
                del self._jumps[key]
            else:
                jump.bars.append(unknown)
            return bar
        if abs(math.log(contracts / jump.level)) > SAME:
            jump.since, jump.level = bar.closed_at, contracts
        jump.bars.append(unknown)
        if bar.closed_at - jump.since >= HOLD_MS:
            jump.believed = True
            self.doubts.pop(key, None)
            return bar
        return unknown

    def _note(self, market: Market, bar: Bar) -> None:
        jump = self._jumps.get(market.key)
        if jump is not None:
            jump.bars.append(_without_count(bar))

    def rescaled(self, key: str) -> None:
        """Drop a market's jump, because its contract size changed and that explains it."""
        if self._jumps.pop(key, None) is not None:
            self.doubts.pop(key, None)

    # -- checkpoint

    def snapshot(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "last_close": self.last_close,
            "spread": self.spread.usual,
            "ranges": [[hour, *reached] for hour, reached in self._ranges.items()],
            "alone": dict(self._alone),
            "doubts": dict(self.doubts),
            "jumps": {key: {**asdict(jump), "snapshot": jump.snapshot} for key, jump in self._jumps.items()},
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Vetting:
        """Return the vetting that snapshot() stored."""
        vetting = cls()
        vetting.last_close = float(state["last_close"])
        vetting.spread = Spread(float(state["spread"]))
        vetting._ranges = {int(hour): (float(low), float(high)) for hour, low, high in state["ranges"]}
        vetting._alone = dict(state["alone"])
        vetting.doubts = dict(state["doubts"])
        vetting._jumps = {
            key: Jump(**{**row, "bars": [Bar(**bar) for bar in row["bars"]]}) for key, row in state["jumps"].items()
        }
        return vetting


def _contracts_before(market: Market, maps: Mapping[str, MarketMap]) -> float:
    """Return the contracts in a market's map, in the current contract size, or 0 without a map."""
    market_map = maps.get(market.key)
    if market_map is None or not market_map.opened or market_map.market.kind != market.kind:
        return 0.0
    return market_map.contracts * market_map.market.contract_size / market.contract_size


def _without_count(bar: Bar) -> Bar:
    return replace(bar, contracts=None, contracts_high=None, contracts_low=None)


def _made_again(jump: Jump) -> MarketMap:
    """Return the map as it would be without the jump."""
    rebuilt = MarketMap.restore(deepcopy(jump.snapshot))  # stepping a map changes its arrays
    for bar in jump.bars:
        if bar.closed_at > rebuilt.closed_at:
            rebuilt.step(bar)
    return rebuilt
