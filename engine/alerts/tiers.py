"""Size thresholds of the tiers calm, normal and busy, from an asset's own last 30 days."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from engine.alerts.near import crossing, rearm
from engine.alerts.rules import Tier
from engine.alerts.state import RuleState, from_row, to_row
from engine.liquidation.clusters import Cluster, alert_size_usd
from engine.liquidation.view import MapView
from engine.market import DAY_MS, SIDES, Side

DAYS = 30
RANK = {"calm": 8, "normal": 22}
"""Rank by size among a side's candidates of 30 days that a cluster must reach: about 0.5 and 1.5 alerts a day."""

LADDER = (0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.035, 0.06)
"""Distances for which candidates are kept; thresholds between them are interpolated in logs."""


class Candidates:
    """The alerts that a busy rule would have made in the last 30 days, for each distance of the ladder and side."""

    def __init__(self) -> None:
        self.since: int | None = None
        self._sizes: dict[tuple[float, Side], list[tuple[int, float]]] = {
            (d, side): [] for d in LADDER for side in SIDES
        }
        self._states: dict[float, dict[str, RuleState]] = {d: {} for d in LADDER}

    def follow(self, path: Sequence[float], clusters: Sequence[Cluster], view: MapView, now: int) -> None:
        """Run a busy rule of each distance of the ladder over a path of prices, oldest first."""
        if self.since is None:
            self.since = now
        closest = {cluster.id: min(cluster.distance(price) for price in path) for cluster in clusters}
        for distance, states in self._states.items():
            for cluster in clusters:
                if cluster.id in states or closest[cluster.id] <= distance:
                    self._walk(path, cluster, distance, states, view, now)
            cluster_ids = {cluster.id for cluster in clusters}
            for gone in [key for key in states if key not in cluster_ids]:
                del states[gone]

    def _walk(
        self,
        path: Sequence[float],
        cluster: Cluster,
        distance: float,
        states: dict[str, RuleState],
        view: MapView,
        now: int,
    ) -> None:
        for before, price in pairwise(path):
            state = states.get(cluster.id)
            if state is not None:
                state = states[cluster.id] = rearm(state, cluster, price, distance, now)
            if not cluster.mature(now) or crossing(state, cluster, before, price, distance) is None:
                continue
            states[cluster.id] = RuleState(armed=False, since=now, arm_count=state.arm_count if state else 0)
            sizes = self._sizes[distance, cluster.side]
            sizes.append((now, alert_size_usd(view, cluster, distance)))
            while sizes[0][0] < now - DAYS * DAY_MS:
                del sizes[0]

    def rescale(self, ratios: Mapping[Side, Callable[[float], float]]) -> None:
        """Scale past candidates to new coefficients. ratios: by side, by how much F changes at a log distance."""
        for (distance, side), rows in self._sizes.items():
            factor = ratios[side](distance)
            self._sizes[distance, side] = [(at, size * factor) for at, size in rows]

    def threshold_usd(self, tier: Tier, side: Side, distance: float, now: int) -> float:
        """Return the minimum size of a tier at a distance, USD; 0 for busy.

        With less than 30 days of data the rank shrinks in proportion.
        """
        if tier == "busy" or self.since is None:
            return 0.0
        days = min(max((now - self.since) / DAY_MS, 1.0), DAYS)
        rank = max(round(RANK[tier] * days / DAYS), 1)
        upper = next((i for i, d in enumerate(LADDER) if d >= distance), len(LADDER) - 1)
        lower = max(upper - 1, 0) if LADDER[upper] > distance else upper
        below, above = (self._ranked(LADDER[i], side, rank, now) for i in (lower, upper))
        if lower == upper or not below or not above:
            return above or below
        share = math.log(distance / LADDER[lower]) / math.log(LADDER[upper] / LADDER[lower])
        return math.exp((1 - min(share, 1.0)) * math.log(below) + min(share, 1.0) * math.log(above))

    def count(self, side: Side, distance: float, least_usd: float, now: int) -> int:
        """Return how many candidates of 30 days reached a size, at the ladder's nearest distance."""
        nearest = min(LADDER, key=lambda d: abs(math.log(d / distance)))
        return sum(size >= least_usd for at, size in self._sizes[nearest, side] if at >= now - DAYS * DAY_MS)

    def size_for(self, distance: float, alerts: int, now: int) -> float | None:
        """Return the size that this many candidates of both sides reached in 30 days, USD, or None if fewer did."""
        nearest = min(LADDER, key=lambda d: abs(math.log(d / distance)))
        since = now - DAYS * DAY_MS
        sizes = sorted((size for side in SIDES for at, size in self._sizes[nearest, side] if at >= since), reverse=True)
        return sizes[alerts - 1] if len(sizes) >= alerts else None

    def _ranked(self, distance: float, side: Side, rank: int, now: int) -> float:
        sizes = sorted((size for at, size in self._sizes[distance, side] if at >= now - DAYS * DAY_MS), reverse=True)
        return sizes[rank - 1] if len(sizes) >= rank else 0.0

    def snapshot(self) -> dict[str, Any]:
        return {
            "since": self.since,
            "sizes": [[d, side, list(rows)] for (d, side), rows in self._sizes.items()],
            "states": [[d, {key: to_row(state) for key, state in rows.items()}] for d, rows in self._states.items()],
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Candidates:
        candidates = cls()
        candidates.since = state["since"]
        for distance, side, rows in state["sizes"]:
            candidates._sizes[distance, side] = [(int(at), float(size)) for at, size in rows]
        for distance, rows in state["states"]:
            candidates._states[distance] = {key: from_row(row) for key, row in rows.items()}
        return candidates
