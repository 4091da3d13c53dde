"""Hourly rows of an asset: price range, USD on the map within it, and reported liquidations."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from engine.liquidation.grid import bin_of, outward
from engine.liquidation.market_map import MarketMap, held_usd
from engine.market import HOUR_MS, SIDES, Bar, Market, Side

COLUMNS = ("at", "before", "high", "low", "stir", "reached_long", "reached_short", "reported_long", "reported_short")


@dataclass
class Hours:
    """Closed hours of one asset as columns.

    Attributes:
        at: (n,) int64, opening time, UTC ms.
        before: (n,) float64, previous close, USD.
        high, low: (n,) float64, USD.
        reached: (n, 2) float64, USD on the map at levels reached by the hour's low (longs) and high (shorts).
        stir: (n,) float64, ln of the range of open interest within the hour over open interest, NaN if unknown.
        reported: (n, 2) float64, reported liquidations, USD, long and short, NaN if incomplete or without a feed.
    """

    at: np.ndarray
    before: np.ndarray
    high: np.ndarray
    low: np.ndarray
    reached: np.ndarray
    stir: np.ndarray
    reported: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    @property
    def swept(self) -> np.ndarray:
        """Log distance from the previous close down to the low and up to the high, (n, 2) float64."""
        down, up = np.log(self.before / self.low), np.log(self.high / self.before)
        swept: np.ndarray = np.maximum(np.stack([down, up], axis=1), 0.0)
        return swept


STIR_FLOOR = 1e-5


@dataclass
class Part:
    """One market within the running hour: its levels at the start of the hour, and its bars since."""

    market: Market
    edges: dict[Side, int]
    contracts: dict[Side, np.ndarray]
    size_usd: float
    high: float
    low: float
    close: float
    most: float = 0.0
    least: float = math.inf
    interest: float = 0.0
    covered_ms: int = 0
    summed: bool = True

    def reached_usd(self, side: Side) -> float:
        """Return the USD on the map, at the start of the hour, at levels the hour has reached."""
        reach = outward(side, bin_of(self.low if side == "long" else self.high))
        return held_usd(self.market, side, self.edges[side], self.contracts[side], reach)


@dataclass
class HourBuilder:
    """Aggregates bars of up to an hour into hours.

    The map is read once, at the start of each hour, because entries made within the hour cannot be predicted. The
    reference market, the largest at the start of the hour, gives its prices. An hour not fully covered by that market's
    bars has no report.
    """

    rows: list[list[float]] = field(default_factory=list)
    _close: float = 0.0
    _at: int = 0
    _parts: dict[str, Part] = field(default_factory=dict)

    @property
    def running_at(self) -> int:
        """Start of the running hour, UTC ms, 0 before the first."""
        return self._at if self._parts else 0

    def begin(self, market_map: MarketMap, bar: Bar) -> None:
        """Record a market and its map before a bar steps it."""
        at = bar.opened_at // HOUR_MS * HOUR_MS
        if at < self._at or not market_map.opened:
            return
        self._at = at
        key = market_map.market.key
        part = self._parts.get(key)
        if part is None:
            windows = market_map.windows
            part = self._parts[key] = Part(
                market_map.market,
                {side: windows[side].edge for side in SIDES},
                {side: windows[side].contracts.copy() for side in SIDES},
                market_map.market.usd(market_map.contracts, market_map.close),
                bar.high,
                bar.low,
                bar.close,
            )
        part.close = bar.close
        part.high, part.low = max(part.high, bar.high), min(part.low, bar.low)
        most, least = bar.contracts_high or bar.contracts, bar.contracts_low or bar.contracts
        if most and least:
            part.most, part.least = max(part.most, most), min(part.least, least)
        part.interest = bar.contracts or part.interest
        part.covered_ms += bar.step_ms
        part.summed = part.summed and bar.long_liquidations_usd is not None and bar.short_liquidations_usd is not None

    def rescale(self, key: str, ratio: float) -> None:
        """Convert a market's open interest in the running hour to a new contract size.

        Its levels at the start of the hour stay in the old contracts, with the market as it was then.
        """
        part = self._parts.get(key)
        if part is not None:
            part.most, part.least, part.interest = part.most * ratio, part.least * ratio, part.interest * ratio

    @property
    def leader(self) -> str:
        """Key of the reference market: the largest at the start of the hour."""
        return max(self._parts, key=lambda key: (self._parts[key].size_usd, key))

    @property
    def whole(self) -> bool:
        """True if the reference market's bars cover the running hour."""
        return bool(self._parts) and self._parts[self.leader].covered_ms >= HOUR_MS

    def summed(self, keys: Collection[str]) -> bool:
        """Return True if every bar of these markets in the running hour has liquidation totals."""
        return all(self._parts[key].summed for key in keys if key in self._parts)

    def finish(self, reported: Mapping[Side, float] | None, weight: float) -> None:
        """Close the running hour and store its row.

        Args:
            reported: USD reported within the hour by side, or None if reports are incomplete.
            weight: factor that scales USD summed over all venues to the amount the coefficients expect (scale_for).
        """
        part = self._parts[self.leader]
        values = {"at": float(self._at), "before": self._close or part.close, "high": part.high, "low": part.low}
        covered = self.whole
        values["stir"] = math.nan
        if covered and part.interest and part.most:
            values["stir"] = math.log((part.most - part.least) / part.interest + STIR_FLOOR)
        for side in SIDES:
            reached = sum(each.reached_usd(side) for each in self._parts.values())
            values[f"reached_{side}"] = reached * weight
            values[f"reported_{side}"] = reported[side] if reported is not None and covered else math.nan
        self.rows.append([values[name] for name in COLUMNS])
        self._close, self._parts = part.close, {}

    @property
    def last_closed_at(self) -> int:
        """End of the last closed hour, UTC ms, 0 before the first."""
        return int(self.rows[-1][0]) + HOUR_MS if self.rows else 0

    def hours(self, count: int | None = None) -> Hours:
        """Return all closed hours, or the last `count`."""
        rows = self.rows if count is None else self.rows[-count:]
        table = np.array(rows, dtype=np.float64).reshape(-1, len(COLUMNS))
        column = {name: table[:, i] for i, name in enumerate(COLUMNS)}
        return Hours(
            column["at"].astype(np.int64),
            column["before"],
            column["high"],
            column["low"],
            np.stack([column["reached_long"], column["reached_short"]], axis=1),
            column["stir"],
            np.stack([column["reported_long"], column["reported_short"]], axis=1),
        )

    def forget_before(self, at: int) -> None:
        """Drop hours that opened before `at`, UTC ms."""
        while self.rows and self.rows[0][0] < at:
            del self.rows[0]

    def snapshot(self) -> dict[str, Any]:
        """Return the state for a checkpoint, rows as an array."""
        return {
            "rows": np.array(self.rows, dtype=np.float64).reshape(-1, len(COLUMNS)),
            "close": self._close,
            "at": self._at,
            "parts": {key: asdict(part) for key, part in self._parts.items()},
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> HourBuilder:
        """Return the builder that snapshot() stored."""
        parts = {key: Part(**{**part, "market": Market(**part["market"])}) for key, part in state["parts"].items()}
        return cls([list(row) for row in state["rows"]], state["close"], state["at"], parts)
