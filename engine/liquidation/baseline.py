"""Baseline of an asset: medians of F and density by distance over the last 30 days, sampled on the hour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from engine.liquidation.curve import LiquidationCurve
from engine.liquidation.grid import WINDOW, bin_of, outward
from engine.liquidation.prior import ForcedPrior, scale_for
from engine.liquidation.view import MapView
from engine.market import DAY_MS, HOUR_MS, SIDES, Side

DAYS = 30
DISTANCES = np.geomspace(0.001, 0.3, 48)
"""Log distances at which F is sampled."""

DENSITY_LEVELS = 700
"""Levels outward from the close whose density is stored: to 35 %."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An asset's map at a close.

    Attributes:
        weight: factor that scales USD summed over all venues to the amount F's coefficients expect (scale_for).
        density: per side, (DENSITY_LEVELS,) float32, USD by level outward from the mark.
    """

    at: int
    mark: float
    interest_usd: float
    weight: float
    density: dict[Side, np.ndarray]


class Baseline:
    """Rolling medians of F and of density, per side, from hourly snapshots.

    Medians are refreshed once a day: they move slowly, and a figure shown in two answers must not jump.
    """

    def __init__(self) -> None:
        self._at: list[int] = []
        self._marks: list[float] = []
        self._interest: list[float] = []
        self._weights: list[float] = []
        self._forced: dict[Side, list[np.ndarray]] = {side: [] for side in SIDES}
        self._density: dict[Side, list[np.ndarray]] = {side: [] for side in SIDES}
        self._refreshed_at = 0
        self._forced_median: dict[Side, np.ndarray] = {}
        self._density_median: dict[Side, np.ndarray] = {}

    @property
    def since(self) -> int | None:
        """Time of the oldest snapshot, UTC ms, or None."""
        return self._at[0] if self._at else None

    def add(self, view: MapView) -> None:
        """Add a snapshot and drop those older than 30 days."""
        self._at.append(view.at)
        self._marks.append(view.mark)
        self._interest.append(sum(view.interest_usd.values()))
        self._weights.append(scale_for(view.interest_usd, 1.0))
        for side in SIDES:
            self._forced[side].append(view.curves[side].at_distances(DISTANCES))
            self._density[side].append(view.open_usd[side][:DENSITY_LEVELS].astype(np.float32))
        while self._at[0] < view.at - DAYS * DAY_MS:
            del self._at[0], self._marks[0], self._interest[0], self._weights[0]
            for side in SIDES:
                del self._forced[side][0]
                del self._density[side][0]
        if view.at - self._refreshed_at >= DAY_MS or len(self._at) < 24:
            self._refresh(view.at)

    def forced_usd(self, side: Side, distance: float) -> float | None:
        """Return the 30-day median of F at a log distance, USD, or None before the first snapshot."""
        if side not in self._forced_median:
            return None
        clipped = min(max(distance, DISTANCES[0]), DISTANCES[-1])
        logs = np.interp(np.log(clipped), np.log(DISTANCES), np.log(np.maximum(self._forced_median[side], 1.0)))
        return float(np.exp(logs))

    def interest_rank(self, usd: float) -> float | None:
        """Return the share of hours in the last 30 days with less open interest, or None before 24 hours."""
        if len(self._interest) < 24:
            return None
        return sum(before < usd for before in self._interest) / len(self._interest)

    def recompute(self, coefficients: ForcedPrior) -> dict[Side, Callable[[float], float]]:
        """Recompute past F with new coefficients. Return new over old median as a function of log distance, by side."""
        before = dict(self._forced_median)
        for side in SIDES:
            self._forced[side] = [self._remeasured(i, side, coefficients) for i in range(len(self._at))]
            if side in self._forced_median and self._forced[side]:
                self._forced_median[side] = np.median(np.stack(self._forced[side]), axis=0)
        return {side: partial(self._ratio, before.get(side), self._forced_median.get(side)) for side in SIDES}

    def _remeasured(self, i: int, side: Side, coefficients: ForcedPrior) -> np.ndarray:
        if not self._weights[i]:
            return self._forced[side][i]  # from before weights were stored
        density = np.zeros(WINDOW)
        density[:DENSITY_LEVELS] = self._density[side][i]
        scale = self._weights[i] * coefficients.scale
        curve = LiquidationCurve(side, self._marks[i], density, self._interest[i], scale, coefficients)
        return curve.at_distances(DISTANCES)

    @staticmethod
    def _ratio(before: np.ndarray | None, after: np.ndarray | None, distance: float) -> float:
        if before is None or after is None:
            return 1.0
        ratios = np.maximum(after, 1.0) / np.maximum(before, 1.0)
        return float(np.interp(np.log(distance), np.log(DISTANCES), ratios))

    def density(self, side: Side) -> np.ndarray | None:
        """Return median USD by level outward from the close, (DENSITY_LEVELS,) float64, or None before any snapshot."""
        return self._density_median.get(side)

    def growth(self, side: Side, first: int, last: int, hours: int) -> float | None:
        """Return the change of USD open on levels first..last (outward coordinates) over some hours, as a fraction.

        None if there is no snapshot of exactly then, or nothing was open there.
        """
        if len(self._at) <= hours or self._at[-1] - self._at[-1 - hours] != hours * HOUR_MS:
            return None  # an hour in between is missing
        then, now = (self._lying(i, side, first, last) for i in (len(self._at) - 1 - hours, len(self._at) - 1))
        return now / then - 1 if then > 0 else None

    def _lying(self, number: int, side: Side, first: int, last: int) -> float:
        start = outward(side, bin_of(self._marks[number])) + 1
        return float(self._density[side][number][max(first - start, 0) : max(last + 1 - start, 0)].sum())

    def past(self, count: int) -> list[Snapshot]:
        """Return up to `count` of the latest snapshots, oldest first."""
        first = max(len(self._at) - count, 0)
        return [
            Snapshot(
                self._at[i],
                self._marks[i],
                self._interest[i],
                self._weights[i],
                {side: self._density[side][i] for side in SIDES},
            )
            for i in range(first, len(self._at))
        ]

    def _refresh(self, at: int) -> None:
        self._refreshed_at = at
        for side in SIDES:
            self._forced_median[side] = np.median(np.stack(self._forced[side]), axis=0)
            self._density_median[side] = np.median(np.stack(self._density[side]), axis=0).astype(np.float64)

    def snapshot(self) -> dict[str, Any]:
        """Return the state for a checkpoint, arrays as arrays."""
        return {
            "at": np.array(self._at, dtype=np.int64),
            "marks": np.array(self._marks),
            "interest": np.array(self._interest),
            "weights": np.array(self._weights),
            "refreshed_at": self._refreshed_at,
            "forced": {side: np.array(self._forced[side]) for side in SIDES},
            "density": {side: np.array(self._density[side]) for side in SIDES},
            "forced_median": dict(self._forced_median),
            "density_median": dict(self._density_median),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Baseline:
        """Return the baseline that snapshot() stored."""
        baseline = cls()
        baseline._at = [int(at) for at in state["at"]]
        baseline._marks = [float(mark) for mark in state["marks"]]
        baseline._interest = [float(usd) for usd in state.get("interest", np.zeros(len(baseline._at)))]
        baseline._weights = [float(weight) for weight in state.get("weights", np.zeros(len(baseline._at)))]
        baseline._refreshed_at = state["refreshed_at"]
        for side in SIDES:
            baseline._forced[side] = list(state["forced"][side])
            baseline._density[side] = list(state["density"][side])
            if side in state["forced_median"]:
                baseline._forced_median[side] = state["forced_median"][side]
                baseline._density_median[side] = state["density_median"][side]
        return baseline
