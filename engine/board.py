"""Everything we track for one asset: its liquidation map, clusters, 30-day baseline, reported liquidations."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

import numpy as np

from engine.alerts.cluster_rules import AssetTick
from engine.alerts.ground import UNTRADED_DAYS, Ground, entered, ground_from
from engine.alerts.market_events import MIN_HOURS, PERCENTILES, RecentRange, past_grounds, past_surges
from engine.alerts.rules import Tier, default_distance
from engine.alerts.tiers import Candidates
from engine.calibration.coefficients import Calibration, churn_usd
from engine.calibration.hours import HourBuilder
from engine.errors import NotReadyError
from engine.liquidation.asset_map import AssetMap
from engine.liquidation.baseline import Baseline
from engine.liquidation.clusters import Cluster, ClusterTracker
from engine.liquidation.grid import BIN, bin_of
from engine.liquidation.prior import FORCED, MAP, REPORTING, ForcedPrior, MapPrior, scale_for
from engine.liquidation.traded import TradedLevels
from engine.liquidation.view import MapView
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, SIDES, AssetUpdate, Bar, Market, Side
from engine.outlook.depth import Depth
from engine.reported import ReportedLiquidations
from engine.vetting import Vetting

HOURS_KEPT_MS = 200 * DAY_MS
"""How long hours are kept for calibration: four times the half-life of their weight."""

BOOK_MS = 5 * MINUTE_MS
"""Order books older than this are ignored."""

MODEL = 3
"""Version of what the map assumes and of what samples mean: checkpoints of another version are not used.

3: Bybit's contracts are counted once, and bars are compared with the other venues'.
"""

GROWTH_HOURS = 4


def _percentiles(usd: np.ndarray) -> dict[Tier, float]:
    """Return what hours of reports reach by tier, USD, over up to 60 days; nothing where there is too little history.

    Args:
        usd: (n,) float64, NaN for hours in which a feed was down.
    """
    complete = usd[-60 * 24 :]
    complete = complete[np.isfinite(complete)]
    if len(complete) < MIN_HOURS:
        return {}
    return {tier: max(float(np.percentile(complete, share)), 1.0) for tier, share in PERCENTILES.items()}


class AssetBoard:
    """One asset. advance() takes what a tick brought; everything else answers questions.

    Attributes:
        maps: the liquidation maps of its markets.
        reported: what liquidation feeds reported.
        tracker: clusters, live and faded.
        usual: the 30-day baseline.
        hours: whole hours, for calibration.
        funding: rates per 8 hours by market key.
        missing: venues that are not in the sum, with why.
        disputed: prices of venues that disagree, by venue.
        books: order books by venue.
    """

    reporting: Collection[str] = REPORTING
    """Venues whose feeds the map is compared with."""

    map_prior: MapPrior = MAP
    """What its maps assume about positions; a study may try others."""

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self.maps = AssetMap(asset, self.map_prior)
        self.reported = ReportedLiquidations()
        self.tracker = ClusterTracker(asset)
        self.usual = Baseline()
        self.candidates = Candidates()
        self.traded = TradedLevels()
        self.recent = RecentRange()
        self.hours = HourBuilder()
        self.vetting = Vetting()
        self.funding: dict[str, float] = {}
        self.books: dict[str, Depth] = {}
        self.missing: Mapping[str, str] = {}
        self.disputed: Mapping[str, float] = {}
        self.calibration = Calibration(FORCED, fitted=False, why="not fitted to this coin yet")
        self.first_bar_at: int | None = None
        self._next_calibration: Calibration | None = None
        self._view: MapView | None = None
        self._mark = 0.0
        self._measured_at = 0
        self._last_close = 0.0
        self._detected_at = 0
        self._unmeasured: MapView | None = None
        self._thresholds: dict[Side, dict[Tier, float]] = {}
        self._thresholds_at = -1

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
            raise NotReadyError("Still building the first {asset} map. Try again in a minute.", asset=self.asset)
        return self._view

    @property
    def mark(self) -> float:
        """The last price seen, USD; 0 before the first."""
        return self._mark

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        self._refresh_clusters()
        return self.tracker.live

    @property
    def closed_at(self) -> int:
        """When the last bar closed that the map has stepped over, UTC ms."""
        return self.maps.closed_at

    @property
    def as_of(self) -> int:
        """Time of the oldest sample among the markets in the sum, UTC ms."""
        return self.maps.as_of

    @property
    def largest(self) -> Market:
        """The market with the most open interest of those in the sum."""
        return self.maps.largest(self.vetting.last_close)

    @property
    def history_days(self) -> float:
        """Days of bars the map has stepped over."""
        return (self.closed_at - self.first_bar_at) / DAY_MS if self.first_bar_at is not None else 0.0

    def venue_shares(self) -> dict[str, float]:
        """Return each venue's share of the last known open interest, missing ones included."""
        return self.maps.venue_shares(self._mark)

    def untraded_hours(self, cluster: Cluster, now: int) -> tuple[float, bool]:
        """Return hours since any price of a cluster was traded, and whether that is all the history there is."""
        low, high = bin_of(cluster.low), bin_of(cluster.high) - 1
        last = self.traded.last(low, max(high, low))
        since = last if last is not None else (self.traded.since or now)
        return max(now - since, 0) / HOUR_MS, last is None

    def growth(self, cluster: Cluster) -> float | None:
        """Return how a cluster's content has changed in four hours, a fraction, or None where that is unknown."""
        return self.usual.growth(cluster.side, cluster.first, cluster.last, GROWTH_HOURS)

    def churn_usd(self, span: int) -> dict[Side, float] | None:
        """Return churn of the last so many closed hours by side, USD, or None if a feed was down in one of them."""
        return churn_usd(self.hours.hours(span + 1), span)

    def fresh_books(self, now: int) -> list[Depth]:
        """Return the order books that are not stale."""
        return [book for book in self.books.values() if now - book.at <= BOOK_MS]

    def ground_ahead(self, side: Side, now: int) -> Ground | None:
        """Return the longest untraded stretch that begins at the price on one side, or None."""
        mark = self._mark
        beyond = mark * (1 - BIN) if side == "long" else mark * (1 + BIN)
        for days in UNTRADED_DAYS.values():
            ground = ground_from(self.traded, side, beyond, days, now, default_distance(self.asset)) if mark else None
            if ground is not None:
                return ground
        return None

    def surge_thresholds(self, side: Side) -> dict[Tier, float]:
        """Return what a side's liquidations within an hour must reach, USD by tier; empty with too little history."""
        if self._thresholds_at != self.hours.last_closed_at:
            self._thresholds_at = self.hours.last_closed_at
            reported = self.hours.hours().reported
            self._thresholds = {each: _percentiles(reported[:, column]) for column, each in enumerate(SIDES)}
        return self._thresholds.get(side, {})

    def past_events(self, tier: Tier, sides: Collection[Side], days: int) -> tuple[int, int]:
        """Return how many surges and stretches of fresh ground a tier would have reported in the last days."""
        hours, surges, grounds = self.hours.hours(), 0, 0
        outermost = {"long": -np.log(hours.low), "short": np.log(hours.high)}
        for side in sides:
            threshold = self.surge_thresholds(side).get(tier, math.inf)
            surges += past_surges(hours.reported[-days * 24 :, SIDES.index(side)], threshold)
            grounds += past_grounds(outermost[side], UNTRADED_DAYS[tier], days * 24)
        return surges, grounds

    # -- coefficients

    def calibrate(self, calibration: Calibration) -> None:
        """Use these coefficients from the next bar close on."""
        self._next_calibration = calibration

    def _adopt_calibration(self, calibration: Calibration) -> None:
        before, after = self.calibration.coefficients, calibration.coefficients
        self.calibration, self._next_calibration = calibration, None
        if before == after:
            return
        # Rescale history too, so that new coefficients alone trigger nothing.
        ratios = self.usual.recompute(after)
        self.candidates.rescale(ratios)
        if self._view is not None:
            self._view = self._combined(self._view.at, self._mark, touched=True)
        if self._measured_at:
            self._unmeasured = self._combined(self._measured_at, self._last_close)

    def _combined(self, at: int, mark: float, *, touched: bool = False) -> MapView:
        return self.maps.view(at, mark, self.calibration.coefficients, touched=touched)

    # -- a tick

    def advance(self, update: AssetUpdate, now: int, *, silent: bool = False) -> AssetTick | None:
        """Take in what a tick brought: first the path, against the map as it was, then the bars, then the samples.

        Args:
            silent: nothing is decided on this tick, so that clusters need not be refreshed.

        Returns:
            None while there is no map yet to compare the path with.
        """
        if self._next_calibration is not None and update.bars:
            self._adopt_calibration(self._next_calibration)
        update = self._with_path(update)
        tick = self._follow(update, now, silent=silent) if self._view is not None and len(update.path) else None
        self.maps.excluded, self.missing = update.excluded, dict(update.missing)
        self.disputed = dict(update.disputed)
        if update.listening is not None:
            self.reported.set_listening(update.listening)
        for row in update.reported:
            self.reported.add(row)
        self.reported.prune(now)
        self._take_bars(update)
        for sample in update.samples:
            self.maps.add_sample(sample)
            if sample.funding_rate is not None:
                self.funding[sample.market.key] = sample.funding_rate
        if update.path:
            self.recent.add(update.path, now)
            self._mark = update.path[-1]
        elif update.bars and not update.samples:
            self._mark = self.vetting.last_close or update.bars[-1][1].close
        if self._mark and self.maps.opened:
            self._view = self._combined(now, self._mark, touched=True)
            self._close_bar()
        return tick

    def _with_path(self, update: AssetUpdate) -> AssetUpdate:
        """Return the update with the prices that its bars confirm together, where those are its path."""
        if not update.by_bars or not update.bars:
            return update
        last = update.bars[-1][1].closed_at
        return replace(update, path=self.vetting.path([row for row in update.bars if row[1].closed_at == last]))

    def _follow(self, update: AssetUpdate, now: int, *, silent: bool) -> AssetTick:
        if not silent:
            self._refresh_clusters()
        view, clusters, faded = self.view, self.tracker.live, self.tracker.faded
        path = (self._mark, *update.path)
        self.candidates.follow(path, clusters, view, now)
        events = tuple(self.tracker.follow(path, view))
        grounds = {} if silent else self._grounds(path, now)
        return AssetTick(self.asset, now, path, clusters, events, view, self.candidates, grounds, faded)

    def _grounds(self, path: tuple[float, ...], now: int) -> dict[tuple[Side, int], Ground]:
        """Return untraded ground that a path of prices came into, before its own bars are taken in."""
        width = default_distance(self.asset)
        grounds = {
            (side, days): entered(self.traded, side, path, days, now, width)
            for side in SIDES
            for days in UNTRADED_DAYS.values()
        }
        return {key: ground for key, ground in grounds.items() if ground is not None}

    def _take_bars(self, update: AssetUpdate) -> None:
        """Step maps over closed bars, as far as the venues confirm each other."""
        for late in update.backfill:
            self._follow_contract_size(late[0])
            for market, bar in self.vetting.late(*late, self.maps.markets):
                self._step(market, bar)
        for _, together in groupby(update.bars, key=lambda row: row[1].closed_at):
            rows = list(together)
            for market, _ in rows:
                self._follow_contract_size(market)
            for market, bar in self.vetting.front(rows, self.maps.markets):
                self._end_hour(bar)
                self._step(market, bar)
        if update.bars and update.bars[-1][1].closed_at % HOUR_MS == 0:
            self._end_hour(None)

    def _step(self, market: Market, bar: Bar) -> None:
        """Step one market's map over a closed bar, unless it has been over it already."""
        market_map = self.maps.map_for(market)
        if market_map.opened and bar.closed_at <= market_map.closed_at:
            return
        self.hours.begin(market_map, bar)
        if not self.maps.step(market_map, bar):
            return
        self.first_bar_at = bar.opened_at if self.first_bar_at is None else min(self.first_bar_at, bar.opened_at)
        self.traded.touch(bin_of(bar.low), bin_of(bar.high), bar.closed_at)
        if bar.funding_rate is not None:
            self.funding[market.key] = bar.funding_rate
        self.reported.add_bar(market.key, bar)

    def _follow_contract_size(self, market: Market) -> None:
        """Recount everything in a market's new contracts, where their size has changed."""
        ratio = self.maps.rescale(market)
        if ratio is not None:
            self.hours.rescale(market.key, ratio)
            self.vetting.rescaled(market.key)

    def _end_hour(self, bar: Bar | None) -> None:
        """Store a whole hour for calibration: when a bar of the next one comes, or with its own last bars (None)."""
        hours, at = self.hours, self.hours.running_at
        if not at or (bar is not None and bar.opened_at < at + HOUR_MS):
            return
        reported: dict[Side, float] | None = None
        if self.reported.complete(at, self.reporting, self.maps.excluded, hours):
            reported = {side: self.reported.usd_within_hour(side, at, self.reporting) for side in SIDES}
        hours.finish(reported, scale_for(self.maps.interest_by_venue(), 1.0))
        hours.forget_before(at - HOURS_KEPT_MS)

    def _close_bar(self) -> None:
        """After bars have closed: on the hour, detect clusters and extend the baseline."""
        closed_at = self.closed_at
        if closed_at <= self._measured_at:
            return
        self._measured_at = closed_at
        self._last_close = self.maps.reference(closed_at, self.vetting.last_close).close
        view = self._unmeasured = self._combined(closed_at, self._last_close)
        if closed_at // HOUR_MS > self._detected_at // HOUR_MS:
            # Hourly whatever the bars' step: the detector's constants were measured on the hour.
            self._detected_at = closed_at
            self.tracker.detect(view, {side: self.usual.density(side) for side in SIDES})
            self.usual.add(view)

    def _refresh_clusters(self) -> None:
        """Recompute clusters' content and expected liquidations as of the last closed bar, once a bar."""
        if self._unmeasured is not None:
            self.tracker.measure(self._unmeasured, default_distance(self.asset))
            self._unmeasured = None

    # -- checkpoint

    def snapshot(self) -> dict[str, Any]:
        """Return everything needed to resume from the last closed bar; arrays stay arrays."""
        self._refresh_clusters()
        return {
            "model": MODEL,
            **self.maps.snapshot(),
            **self.reported.snapshot(),
            "tracker": self.tracker.snapshot(),
            "usual": self.usual.snapshot(),
            "candidates": self.candidates.snapshot(),
            "traded": self.traded.snapshot(),
            "recent": self.recent.snapshot(),
            "first_bar_at": self.first_bar_at,
            "mark": self._mark,
            "measured_at": self._measured_at,
            "last_close": self._last_close,
            "detected_at": self._detected_at,
            "funding": dict(self.funding),
            "hours": self.hours.snapshot(),
            "vetting": self.vetting.snapshot(),
            "calibration": asdict(self.calibration),
        }

    @classmethod
    def restore(cls, asset: str, venues: Collection[str], state: dict[str, Any]) -> AssetBoard:
        """Return the board that snapshot() described, without the markets of venues that are no longer read."""
        board = cls(asset)
        board.maps = AssetMap.restore(asset, venues, state, cls.map_prior)
        board.reported = ReportedLiquidations.restore(state)
        board.tracker = ClusterTracker.restore(asset, state["tracker"])
        board.usual = Baseline.restore(state["usual"])
        board.candidates = Candidates.restore(state["candidates"])
        board.traded = TradedLevels.restore(state["traded"])
        board.recent = RecentRange(state.get("recent", ()))
        board.first_bar_at = state["first_bar_at"]
        board.funding = dict(state["funding"])
        if "parts" in state.get("hours", {}):
            board.hours = HourBuilder.restore(state["hours"])
        if "vetting" in state:
            board.vetting = Vetting.restore(state["vetting"])
        if "calibration" in state:
            kept = state["calibration"]
            board.calibration = Calibration(**{**kept, "coefficients": ForcedPrior(**kept["coefficients"])})
        board._mark, board._last_close = state["mark"], state.get("last_close", state["mark"])
        board._measured_at, board._detected_at = state["measured_at"], state["detected_at"]
        if board.maps.markets and board._mark:
            board._view = board._combined(board.closed_at, board._mark)
        return board
