"""Tracks clusters over time, from birth until they fade or are swept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from engine.liquidation.grid import BIN, bin_of, distance_outward, outward, price_of
from engine.liquidation.peaks import BIRTH_PROMINENCE, REACH, Peak, find_peaks
from engine.liquidation.view import MapView
from engine.market import HOUR_MS, SIDES, Side

MATURE_MS = 2 * HOUR_MS
"""Age at which a cluster counts as near: new high-leverage positions trail the price, so younger ones do not."""

FADE_MS = 6 * HOUR_MS
FOLLOWED_MS = 25 * HOUR_MS
"""How long a faded cluster is still tracked, so that chats notified about it get a follow-up within a day."""

MIN_OVERLAP = 0.30
SWEPT_SHARE = 0.80
FORGET_DISTANCE = 0.01
LABEL_MOVE = 10
"""Levels (0.5 %). An integer count, because comparing log distances at the limit would depend on rounding."""


DETECT_LEVELS = 400
"""Levels outward from the close searched for clusters: to 20 %."""

MarkKind = Literal["entered", "swept", "wick"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A run of dense levels with an identity. first, peak and last are outward coordinates, first nearest to price.

    Attributes:
        id: built from asset, side, time and place of birth, so the same bars always give the same id.
        born_distance: log distance from the close to the near edge at birth.
        farthest: largest such distance since.
        label_price: price shown as its name, USD, fixed until the peak moves by over 0.5 % or out of the cluster.
        forced_usd: F over its levels from the last closed bar's close: the number people see.
        open_usd: USD open on its levels.
        size_usd: F from the asset's usual alert distance before the near edge to the far edge: compared with tiers.
        entry_usd: USD open on its levels when price first entered, 0 before.
        swept_usd: how much of entry_usd has been swept.
        reached: outward coordinate up to which swept_usd is counted.
        entry_forced_usd: F over its levels when price first entered; low and high are its band.
        faded_at: when it was declared faded, UTC ms, 0 while it is live.
    """

    id: str
    side: Side
    first: int
    peak: int
    last: int
    born_at: int
    seen_at: int
    born_distance: float
    farthest: float
    label_price: float
    forced_usd: float = 0.0
    forced_low_usd: float = 0.0
    forced_high_usd: float = 0.0
    open_usd: float = 0.0
    size_usd: float = 0.0
    entry_usd: float = 0.0
    swept_usd: float = 0.0
    reached: int = -(2**31)
    entry_forced_usd: float = 0.0
    entry_forced_low_usd: float = 0.0
    entry_forced_high_usd: float = 0.0
    faded_at: int = 0

    @property
    def near_price(self) -> float:
        """Near edge: the one price reaches first, USD."""
        return self._inner(self.first)

    @property
    def far_price(self) -> float:
        return self._inner(self.last + 1)

    @property
    def peak_price(self) -> float:
        return price_of(outward(self.side, self.peak)) * math.exp(BIN / 2)

    @property
    def low(self) -> float:
        return min(self.near_price, self.far_price)

    @property
    def high(self) -> float:
        return max(self.near_price, self.far_price)

    @property
    def entered(self) -> bool:
        return self.entry_usd > 0

    def distance(self, price: float) -> float:
        """Return the log distance from price out to the near edge, negative once price is inside or past it."""
        return distance_outward(self.side, price, self.near_price)

    def mature(self, at: int) -> bool:
        return at - self.born_at >= MATURE_MS

    def _inner(self, coordinate: int) -> float:
        level = outward(self.side, coordinate)
        return price_of(level + 1 if self.side == "long" else level)


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """An event of a cluster on a price path: entered, swept, or wick (entered and left again)."""

    kind: MarkKind
    cluster: Cluster
    price: float


class ClusterTracker:
    """Live clusters of one asset. Call detect() on the hour and follow() on every tick."""

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self._live: dict[str, Cluster] = {}
        self._faded: dict[str, Cluster] = {}
        self._successors: dict[str, str] = {}
        self.born = 0
        self.ended = 0
        self.relabelled = 0

    @property
    def live(self) -> tuple[Cluster, ...]:
        """Clusters seen within the last six hours, by side, nearest first."""
        return tuple(sorted(self._live.values(), key=lambda c: (c.side, c.first)))

    @property
    def faded(self) -> tuple[Cluster, ...]:
        """Clusters that are no longer dense and not swept since. After detect() none overlaps a live one."""
        return tuple(self._faded.values())

    def take_successors(self) -> dict[str, str]:
        """Return and clear the ids of faded clusters that a live cluster replaced, mapped to its id."""
        taken, self._successors = self._successors, {}
        return taken

    def follow(self, path: Sequence[float], view: MapView) -> list[ClusterEvent]:
        """Update entry and sweep of all clusters along a path of prices, oldest first. Return the events.

        view must be the map from before the path, which still contains the positions that the path sweeps.
        """
        marks: list[ClusterEvent] = []
        for price in path:
            for cluster in (*self.live, *self.faded):
                if cluster.distance(price) > cluster.farthest:
                    cluster = self._keep(replace(cluster, farthest=cluster.distance(price)))
                marks += self._follow_one(cluster, price, view)
        return marks

    def _follow_one(self, cluster: Cluster, price: float, view: MapView) -> Iterable[ClusterEvent]:
        reach = outward(cluster.side, bin_of(price))
        if reach >= cluster.first and reach > cluster.reached:
            yield from self._sweep(cluster, reach, price, view)
        elif cluster.entered and cluster.distance(price) >= FORGET_DISTANCE:
            self._keep(replace(cluster, entry_usd=0.0, swept_usd=0.0, reached=-(2**31)))
            yield ClusterEvent("wick", cluster, price)

    def _keep(self, cluster: Cluster) -> Cluster:
        (self._faded if cluster.faded_at else self._live)[cluster.id] = cluster
        return cluster

    def _sweep(self, cluster: Cluster, reach: int, price: float, view: MapView) -> Iterable[ClusterEvent]:
        entry = cluster.entry_usd or view.mass_between(cluster.side, cluster.first, cluster.last)
        swept = view.mass_between(cluster.side, max(cluster.first, cluster.reached + 1), min(cluster.last, reach))
        moved = replace(cluster, entry_usd=max(entry, 1.0), swept_usd=cluster.swept_usd + swept, reached=reach)
        if not cluster.entered:
            moved = replace(
                moved,
                entry_forced_usd=cluster.forced_usd,
                entry_forced_low_usd=cluster.forced_low_usd,
                entry_forced_high_usd=cluster.forced_high_usd,
            )
        self._keep(moved)
        if not cluster.entered:
            yield ClusterEvent("entered", moved, price)
        if reach >= cluster.last or moved.swept_usd >= SWEPT_SHARE * moved.entry_usd:
            if cluster.faded_at:
                del self._faded[cluster.id]
            else:
                del self._live[cluster.id]
                self.ended += 1
            yield ClusterEvent("swept", moved, price)

    def detect(self, view: MapView, usual: dict[Side, Any]) -> None:
        """Match the map's peaks to live clusters, add new clusters and fade those unseen for six hours."""
        for side in SIDES:
            origin = outward(side, bin_of(view.mark)) + 1
            raw_peaks = find_peaks(view.open_usd[side][:DETECT_LEVELS], _near(usual.get(side)))
            peaks = [peak.moved(origin) for peak in raw_peaks]
            self._match(side, peaks, view)
        for cluster in self.live:
            if view.at - cluster.seen_at >= FADE_MS:
                del self._live[cluster.id]
                self.ended += 1
                self._keep(replace(cluster, faded_at=view.at))
        self._succeed(view.at)

    def _succeed(self, now: int) -> None:
        """Replace faded clusters by live ones that overlap them, and drop those that faded long ago."""
        for faded in self.faded:
            heirs = [other for other in self.live if other.side == faded.side and _shared(faded, other) > 0]
            if heirs:
                self._successors[faded.id] = max(heirs, key=lambda other: _shared(faded, other)).id
            if heirs or now - faded.faded_at >= FOLLOWED_MS:
                del self._faded[faded.id]

    def _match(self, side: Side, peaks: list[Peak], view: MapView) -> None:
        live = [cluster for cluster in self.live if cluster.side == side]
        pairs = sorted(
            ((_overlap(peak, cluster), peak.first, peak, cluster) for peak in peaks for cluster in live),
            key=lambda pair: (-pair[0], pair[1], pair[3].id),
        )
        taken: set[int] = set()
        matched: set[str] = set()
        for overlap, first, peak, cluster in pairs:
            if overlap < MIN_OVERLAP or first in taken or cluster.id in matched:
                continue
            taken.add(first)
            matched.add(cluster.id)
            self._live[cluster.id] = self._seen(cluster, peak, view)
        for peak in peaks:
            if peak.first not in taken and peak.prominence >= BIRTH_PROMINENCE:
                self._birth(side, peak, view)

    def _seen(self, cluster: Cluster, peak: Peak, view: MapView) -> Cluster:
        if cluster.entered:  # keep the extent that is being swept
            return replace(cluster, seen_at=view.at)
        moved = replace(cluster, first=peak.first, peak=peak.peak, last=peak.last, seen_at=view.at)
        apart = abs(outward(cluster.side, bin_of(cluster.label_price)) - moved.peak)
        if apart > LABEL_MOVE or not moved.low <= cluster.label_price <= moved.high:
            self.relabelled += 1
            moved = replace(moved, label_price=moved.peak_price)
        return moved

    def _birth(self, side: Side, peak: Peak, view: MapView) -> None:
        if any(_overlap(peak, other) > 0 for other in self.live if other.side == side):
            return
        new = Cluster(
            id=f"{self.asset}-{side}-{view.at // 1000:x}-{abs(peak.peak)}",
            side=side,
            first=peak.first,
            peak=peak.peak,
            last=peak.last,
            born_at=view.at,
            seen_at=view.at,
            born_distance=0.0,
            farthest=0.0,
            label_price=1.0,
        )
        distance = new.distance(view.mark)
        if distance <= REACH:
            self.born += 1
            self._live[new.id] = replace(new, born_distance=distance, farthest=distance, label_price=new.peak_price)

    def measure(self, view: MapView, usual_distance: float) -> None:
        """Recompute each cluster's open USD and F from the view at a bar close.

        Args:
            usual_distance: log distance at which alerts for this asset are usually set, for size_usd.
        """
        for cluster in self.live:
            curve = view.curves[cluster.side]
            low, high = curve.band(cluster.far_price)
            whole = curve.forced_usd(cluster.far_price) or 1.0
            forced = curve.between(cluster.first, cluster.last)
            self._live[cluster.id] = replace(
                cluster,
                forced_usd=forced,
                forced_low_usd=forced * low / whole,
                forced_high_usd=forced * high / whole,
                open_usd=view.mass_between(cluster.side, cluster.first, cluster.last),
                size_usd=alert_size_usd(view, cluster, usual_distance),
            )

    def snapshot(self) -> dict[str, Any]:
        return {
            "live": [asdict(cluster) for cluster in self.live],
            "faded": [asdict(cluster) for cluster in self.faded],
            "successors": dict(self._successors),
            "counts": [self.born, self.ended, self.relabelled],
        }

    @classmethod
    def restore(cls, asset: str, state: dict[str, Any]) -> ClusterTracker:
        tracker = cls(asset)
        tracker._live = {row["id"]: Cluster(**row) for row in state["live"]}
        tracker._faded = {row["id"]: Cluster(**row) for row in state.get("faded", ())}
        tracker._successors = dict(state.get("successors", {}))
        tracker.born, tracker.ended, tracker.relabelled = state["counts"]
        return tracker


def alert_size_usd(view: MapView, cluster: Cluster, distance: float) -> float:
    """Return F from the alert price (near edge plus distance) to the far edge, USD.

    Measuring from the last close instead would leak how large the move already is.
    """
    curve = view.curves[cluster.side]
    start = cluster.first - round(distance / BIN)
    return curve.from_level(start, cluster.last)


def _near(usual: np.ndarray | None) -> np.ndarray | None:
    return usual[:DETECT_LEVELS] if usual is not None else None


def _overlap(peak: Peak, cluster: Cluster) -> float:
    """Return the shared levels as a share of the shorter run."""
    return _shared(peak, cluster) / min(peak.last - peak.first + 1, cluster.last - cluster.first + 1)


def _shared(one: Peak | Cluster, other: Peak | Cluster) -> int:
    """Return how many levels two runs of one side share."""
    return max(min(one.last, other.last) - max(one.first, other.first) + 1, 0)
