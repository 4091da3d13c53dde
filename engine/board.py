"""Everything known of one asset: its markets' maps added up, clusters, what is usual, what was reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.alerts.decide import AssetTick
from engine.alerts.rules import default_distance
from engine.alerts.tiers import Candidates
from engine.errors import NotReadyError
from engine.liquidation.clusters import Cluster, ClusterTracker
from engine.liquidation.grid import bin_of
from engine.liquidation.market_map import MarketMap
from engine.liquidation.traded import TradedLevels
from engine.liquidation.usual import Usual
from engine.liquidation.view import MapView, Touched, combine
from engine.market import DAY_MS, HOUR_MS, SIDES, Bar, Market, Sample, Side


@dataclass(frozen=True, slots=True)
class AssetUpdate:
    """What the feed brings for one asset in one tick.

    Attributes:
        path: prices since the last tick, oldest first.
        bars: closed bars by market, in order of time.
        samples: the latest poll of each market that answered.
        missing: venues that are left out, with the reason people read.
        reported: forced orders the feeds reported: when, whose, USD.
        backfill: bars of a market that lags behind the asset's own: they step its map and move nothing else.
    """

    path: tuple[float, ...] = ()
    bars: tuple[tuple[Market, Bar], ...] = ()
    samples: tuple[Sample, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    reported: tuple[tuple[int, Side, float], ...] = ()
    backfill: tuple[tuple[Market, Bar], ...] = ()


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """The context line: contracts against 24 hours ago, funding per 8 hours, reported liquidations of 24 hours."""

    interest_usd: float
    interest_change_24h: float | None
    funding_rate: float | None
    liquidated_24h_usd: Mapping[Side, float] | None


class AssetBoard:
    """One asset. advance() takes what a tick brought; everything else answers questions."""

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self.maps: dict[str, MarketMap] = {}
        self.tracker = ClusterTracker(asset)
        self.usual = Usual()
        self.candidates = Candidates()
        self.traded = TradedLevels()
        self.missing: Mapping[str, str] = {}
        self.first_bar_at: int | None = None
        self._view: MapView | None = None
        self._mark = 0.0
        self._measured_at = 0
        self._detected_at = 0
        self._unmeasured: MapView | None = None
        self._touched: dict[str, Touched] = {}
        self._sampled_at: dict[str, int] = {}
        self._funding: dict[str, float] = {}
        self._contracts: dict[str, deque[tuple[int, float]]] = {}
        self._reported: deque[tuple[int, Side, float]] = deque()
        self._has_feed = False

    # -- questions

    @property
    def ready(self) -> bool:
        return self._view is not None and self.first_bar_at is not None

    @property
    def view(self) -> MapView:
        """The map as of the last tick.

        Raises:
            NotReadyError: before the first.
        """
        if self._view is None:
            raise NotReadyError(f"The first {self.asset} map is still being made. Try again in a minute.")
        return self._view

    @property
    def mark(self) -> float:
        """The last price seen, USD; 0 before the first."""
        return self._mark

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        self._measure()
        return self.tracker.live

    @property
    def closed_at(self) -> int:
        """When the last bar closed that the map has taken in."""
        return max((m.closed_at for m in self.maps.values()), default=0)

    def map_closed_at(self, market: Market) -> int:
        """Until when one market's map has been stepped, 0 where there is none."""
        known = self.maps.get(market.key)
        return known.closed_at if known else 0

    @property
    def as_of(self) -> int:
        """Time of the oldest figure among the venues that are in the sum."""
        included = {m.market.key for m in self._included()}
        return min((at for key, at in self._sampled_at.items() if key in included), default=self.closed_at)

    @property
    def history_days(self) -> float:
        """Days of bars the map has been through."""
        return (self.closed_at - self.first_bar_at) / DAY_MS if self.first_bar_at is not None else 0.0

    def untraded_hours(self, cluster: Cluster, now: int) -> tuple[float, bool]:
        """Hours since any price of a cluster was traded, and whether that is all that has been watched."""
        low, high = bin_of(cluster.low), bin_of(cluster.high) - 1
        last = self.traded.last(low, max(high, low))
        since = last if last is not None else (self.traded.since or now)
        return max(now - since, 0) / HOUR_MS, last is None

    def facts(self, now: int) -> MarketFacts:
        """The context of an answer: open interest, its change, funding, what was reported."""
        view = self.view
        funding = [(self._funding[m.market.key], m) for m in self._included() if m.market.key in self._funding]
        weight = sum(m.market.usd(m.contracts, view.mark) for _, m in funding)
        rate = sum(f * m.market.usd(m.contracts, view.mark) for f, m in funding) / weight if weight else None
        liquidated: dict[Side, float] | None = None
        if self._has_feed:
            liquidated = {side: self.reported_usd(side, now - DAY_MS) for side in SIDES}
        return MarketFacts(sum(view.interest_usd.values()), self._interest_change(now), rate, liquidated)

    def reported_usd(self, side: Side, since: int) -> float:
        """USD that feeds reported as forced out since then."""
        return sum(usd for at, whose, usd in self._reported if whose == side and at > since)

    def know_reported(self, rows: Iterable[tuple[int, Side, float]]) -> None:
        """Take up what feeds reported before a restart, in place of what a checkpoint knew."""
        known = sorted(rows)
        if known:
            self._reported, self._has_feed = deque(known), True

    @property
    def has_liquidation_feed(self) -> bool:
        return self._has_feed

    # -- a tick

    def advance(self, update: AssetUpdate, now: int, *, silent: bool = False) -> AssetTick | None:
        """Take in what a tick brought: first the path, against the map as it stood, then the bars, then the samples.

        None while there is no map yet to hold the path against. silent: nobody will decide anything on it, so
        that the clusters' figures need not be renewed.
        """
        tick = self._follow(update, now, silent=silent) if self._view is not None and len(update.path) else None
        self.missing = dict(update.missing)
        for at, side, usd in update.reported:
            self._reported.append((at, side, usd))
            self._has_feed = True
        while self._reported and self._reported[0][0] < now - 2 * DAY_MS:
            self._reported.popleft()
        for market, bar in (*update.backfill, *update.bars):
            self._step(market, bar)
        for sample in update.samples:
            self._take(sample)
        if update.path:
            self._mark = update.path[-1]
        elif update.bars and not update.samples:
            self._mark = update.bars[-1][1].close
        if self._mark and any(m.opened for m in self.maps.values()):
            self._view = combine(self.asset, now, self._mark, self._included(), self._touched)
            self._close_bar()
        return tick

    def _follow(self, update: AssetUpdate, now: int, *, silent: bool) -> AssetTick:
        if not silent:
            self._measure()
        view, clusters = self.view, self.tracker.live
        path = (self._mark, *update.path)
        self.candidates.follow(path, clusters, view, now)
        marks = tuple(self.tracker.follow(path, view))
        return AssetTick(self.asset, now, path, clusters, marks, view, self.candidates)

    def _step(self, market: Market, bar: Bar) -> None:
        market_map = self.maps.get(market.key)
        if market_map is None:
            market_map = self.maps[market.key] = MarketMap(market)
        if market_map.opened and bar.closed_at <= market_map.closed_at:
            return
        if market_map.opened:
            market_map.step(bar)
        elif bar.contracts is not None:
            market_map.open(bar, bar.contracts)
        else:
            return
        self._touched.pop(market.key, None)
        self.first_bar_at = bar.opened_at if self.first_bar_at is None else min(self.first_bar_at, bar.opened_at)
        self.traded.touch(bin_of(bar.low), bin_of(bar.high), bar.closed_at)
        if bar.funding_rate is not None:
            self._funding[market.key] = bar.funding_rate
        kept = self._contracts.setdefault(market.key, deque())
        kept.append((bar.closed_at, market_map.contracts))
        while kept[0][0] < bar.closed_at - DAY_MS - HOUR_MS:
            kept.popleft()
        for side, usd in (("long", bar.long_liquidations_usd), ("short", bar.short_liquidations_usd)):
            if usd is not None:
                self._reported.append((bar.closed_at, side, usd))  # type: ignore[arg-type]  # the two literals above
                self._has_feed = True

    def _take(self, sample: Sample) -> None:
        key = sample.market.key
        self._sampled_at[key] = sample.at
        if sample.funding_rate is not None:
            self._funding[key] = sample.funding_rate
        # Kept until the map has stepped the bar they belong to: it may wait for a slower venue.
        known = self._touched.get(key, Touched(sample.bar_low, sample.bar_high))
        self._touched[key] = Touched(min(known.low, sample.bar_low), max(known.high, sample.bar_high))

    def _close_bar(self) -> None:
        """After bars have closed: on the hour, detect clusters and note what is usual."""
        closed_at = self.closed_at
        if closed_at <= self._measured_at:
            return
        self._measured_at = closed_at
        close = next(m.close for m in self.maps.values() if m.closed_at == closed_at)
        view = self._unmeasured = combine(self.asset, closed_at, close, self._included())
        if closed_at // HOUR_MS > self._detected_at // HOUR_MS:
            # Hourly whatever the bars' step: on the hour is how the detector's constants were measured.
            self._detected_at = closed_at
            self.tracker.detect(view, {side: self.usual.density(side) for side in SIDES})
            self.usual.add(view)

    def _measure(self) -> None:
        """Renew what clusters hold and are expected to force, as of the last closed bar's close, once a bar."""
        if self._unmeasured is not None:
            self.tracker.measure(self._unmeasured, default_distance(self.asset))
            self._unmeasured = None

    def _included(self) -> list[MarketMap]:
        """Maps of venues that are in the sum: those that have one, less those that are missing."""
        maps = [m for m in self.maps.values() if m.opened]
        return [m for m in maps if m.market.venue not in self.missing] or maps

    def _interest_change(self, now: int) -> float | None:
        """Change of contracts in 24 hours, a fraction, over the markets known at both ends."""
        before = after = 0.0
        for key, rows in self._contracts.items():
            market_map = self.maps[key]
            if len(rows) < 2 or rows[0][0] > now - DAY_MS + HOUR_MS:
                continue
            base = next((contracts for at, contracts in rows if at >= now - DAY_MS - HOUR_MS // 2), None)
            if base is None or market_map.market.venue in self.missing:
                continue
            before += market_map.market.usd(base, self._mark)
            after += market_map.market.usd(rows[-1][1], self._mark)
        return after / before - 1 if before else None

    # -- checkpoint

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to go on from the last closed bar; arrays stay arrays."""
        self._measure()
        return {
            "maps": {key: m.snapshot() for key, m in self.maps.items() if m.opened},
            "tracker": self.tracker.snapshot(),
            "usual": self.usual.snapshot(),
            "candidates": self.candidates.snapshot(),
            "traded": self.traded.snapshot(),
            "first_bar_at": self.first_bar_at,
            "mark": self._mark,
            "measured_at": self._measured_at,
            "detected_at": self._detected_at,
            "funding": dict(self._funding),
            "contracts": {key: list(rows) for key, rows in self._contracts.items()},
            "reported": list(self._reported),
            "has_feed": self._has_feed,
        }

    @classmethod
    def restore(cls, asset: str, venues: Collection[str], state: dict[str, Any]) -> AssetBoard:
        """The board that snapshot() described, without the markets of venues that are no longer read."""
        made = cls(asset)
        maps = (MarketMap.restore(row) for row in state["maps"].values())
        made.maps = {m.market.key: m for m in maps if m.market.venue in venues}
        made.tracker = ClusterTracker.restore(asset, state["tracker"])
        made.usual = Usual.restore(state["usual"])
        made.candidates = Candidates.restore(state["candidates"])
        made.traded = TradedLevels.restore(state["traded"])
        made.first_bar_at = state["first_bar_at"]
        made._mark, made._measured_at, made._detected_at = (
            state["mark"],
            state["measured_at"],
            state["detected_at"],
        )
        made._funding = dict(state["funding"])
        made._contracts = {
            key: deque((int(at), c) for at, c in rows) for key, rows in state["contracts"].items() if key in made.maps
        }
        made._reported = deque((int(at), side, usd) for at, side, usd in state["reported"])
        made._has_feed = state["has_feed"]
        if made.maps and made._mark:
            made._view = combine(asset, made.closed_at, made._mark, made._included())
        return made
