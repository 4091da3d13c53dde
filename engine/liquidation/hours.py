"""A market hour by hour: what its prices reached, what the map held there, and what feeds reported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.market import HOUR_MS, SIDES, Bar, Side

COLUMNS = ("at", "before", "high", "low", "stir", "reached_long", "reached_short", "reported_long", "reported_short")


@dataclass
class Hours:
    """Closed hours of one asset as columns.

    Attributes:
        at: (n,) int64, opening time, UTC ms.
        before: (n,) float64, the close before the hour, USD.
        high, low: (n,) float64, USD.
        reached: (n, 2) float64, USD that the map held, long and short, at levels the hour's own low and high reached.
        stir: (n,) float64, ln of the range of open interest within the hour over open interest; NaN where unknown.
        reported: (n, 2) float64, USD that feeds reported as forced out; NaN where there was no feed.
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
        """(n, 2) float64, log distance from the close before down to the low and up to the high."""
        down, up = np.log(self.before / self.low), np.log(self.high / self.before)
        swept: np.ndarray = np.maximum(np.stack([down, up], axis=1), 0.0)
        return swept


STIR_FLOOR = 1e-5


@dataclass
class HourBuilder:
    """Puts bars of up to an hour together into hours; kept small enough to be stored with a checkpoint.

    An hour is closed by the first bar of the next one, or by its own last bar.
    """

    rows: list[list[float]] = field(default_factory=list)
    _close: float = 0.0
    _open_at: int = 0
    _part: dict[str, float] = field(default_factory=dict)

    def add(
        self, bar: Bar, reached: Mapping[Side, float], reported: Mapping[Side, float] | None, interest: float
    ) -> None:
        """Take in one closed bar.

        Args:
            reached: USD that the map held at what the bar reached, before the bar stepped it.
            reported: USD reported within the bar, None where there is no feed.
            interest: open interest at the bar's close, in contracts; 0 where unknown.
        """
        at = bar.opened_at // HOUR_MS * HOUR_MS
        if self._part and at != self._open_at:
            self._finish()
        if not self._part:
            self._open_at = at
            self._part = {"before": self._close or bar.open, "high": bar.high, "low": bar.low, "reported": 0.0}
            self._part |= {f"{name}_{side}": 0.0 for name in ("reached", "reported") for side in SIDES}
            self._part |= {"most": 0.0, "least": math.inf}
        part = self._part
        part["high"], part["low"] = max(part["high"], bar.high), min(part["low"], bar.low)
        for side in SIDES:
            part[f"reached_{side}"] += reached[side]
            part[f"reported_{side}"] += reported[side] if reported is not None else math.nan
        most, least = bar.contracts_high or interest, bar.contracts_low or interest
        if most and least:
            part["most"], part["least"] = max(part["most"], most), min(part["least"], least)
        part["interest"] = interest
        self._close = bar.close
        if bar.closed_at % HOUR_MS == 0:
            self._finish()

    def _finish(self) -> None:
        part, interest = self._part, self._part.get("interest", 0.0)
        stir = math.nan
        if interest and part["most"]:
            stir = math.log((part["most"] - part["least"]) / interest + STIR_FLOOR)
        values = {"at": float(self._open_at), "stir": stir, **part}
        self.rows.append([values[name] for name in COLUMNS])
        self._part = {}

    @property
    def last_closed_at(self) -> int:
        """End of the last closed hour, UTC ms; 0 before the first."""
        return int(self.rows[-1][0]) + HOUR_MS if self.rows else 0

    def hours(self) -> Hours:
        """All closed hours."""
        table = np.array(self.rows, dtype=np.float64).reshape(-1, len(COLUMNS))
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
        """Drop hours that opened before then."""
        while self.rows and self.rows[0][0] < at:
            del self.rows[0]

    def snapshot(self) -> dict[str, Any]:
        """State for a checkpoint; arrays stay arrays."""
        rows = np.array(self.rows, dtype=np.float64).reshape(-1, len(COLUMNS))
        return {"rows": rows, "close": self._close, "open_at": self._open_at, "part": dict(self._part)}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> HourBuilder:
        """The same again."""
        return cls([list(row) for row in state["rows"]], state["close"], state["open_at"], dict(state["part"]))
