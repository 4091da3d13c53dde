"""Everything known of one asset: its markets' maps added up, clusters, what is usual, what was reported."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby, takewhile
from typing import Any

import numpy as np

from engine.alerts.cluster_rules import AssetTick
from engine.alerts.ground import UNTRADED_DAYS, Ground, entered, ground_from
from engine.alerts.market_events import MIN_HOURS, PERCENTILES, RecentRange, past_grounds, past_surges
from engine.alerts.rules import Tier, default_distance
from engine.alerts.tiers import Candidates
from engine.calibration.coefficients import Calibration, churn_usd
from engine.calibration.hours import HourBuilder
from engine.consensus import agreed_rate
from engine.errors import NotReadyError
from engine.liquidation.baseline import Baseline
from engine.liquidation.clusters import Cluster, ClusterTracker
from engine.liquidation.grid import BIN, bin_of
from engine.liquidation.market_map import MarketMap
from engine.liquidation.prior import FORCED, MAP, REPORTING, ForcedPrior, MapPrior, scale_for
from engine.liquidation.traded import TradedLevels
from engine.liquidation.view import MapView, Touched, combine
from engine.market import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SIDES,
    AssetUpdate,
    Bar,
    Market,
    ReportedLiquidation,
    Sample,
    Side,
    venue_of,
)
from engine.outlook.cascade import Cascade, cascade
from engine.outlook.depth import Depth
from engine.outlook.risk import Risk, risk
from engine.vetting import Vetting

HOURS_KEPT_MS = 200 * DAY_MS
"""How long hours are kept for the tie: four times the half-life with which they count."""

BOOK_MS = 5 * MINUTE_MS
"""An order book older than this says nothing any more."""


MODEL = 3
"""What the map takes positions to do and figures to mean, by number: a checkpoint of another is of no use to this one.

3: Bybit's contracts are counted once, and bars are held against the other venues'.
"""

RISK_REACH = 0.03
GROWTH_HOURS = 4
"""Log distance within which longs and shorts are weighed against each other."""

REFERENCE_FACTOR = 1.2
"""Another market takes the lead only when it is so much larger: which one leads must not flicker."""


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """The context line: contracts against 24 hours ago, funding per 8 hours, reported liquidations of 24 hours."""

    interest_usd: float
    interest_change_24h: float | None
    funding_rate: float | None
    liquidated_24h_usd: Mapping[Side, float] | None


def _percentiles(usd: np.ndarray) -> dict[Tier, float]:
    """What hours of reports reach by tier, USD, over up to 60 days; none where too few are known.

    Args:
        usd: (n,) float64, NaN for hours that were not heard.
    """
    known = usd[-60 * 24 :]
    known = known[np.isfinite(known)]
    if len(known) < MIN_HOURS:
        return {}
    return {tier: max(float(np.percentile(known, share)), 1.0) for tier, share in PERCENTILES.items()}


class AssetBoard:
    """One asset. advance() takes what a tick brought; everything else answers questions."""

    reporting: Collection[str] = REPORTING
    """Venues whose feeds the map is held against."""

    map_prior: MapPrior = MAP
    """What its maps take positions to do; a study may try another."""

    def __init__(self, asset: str) -> None:
        self.asset = asset
        self.maps: dict[str, MarketMap] = {}
        self.tracker = ClusterTracker(asset)
        self.usual = Baseline()
        self.candidates = Candidates()
        self.traded = TradedLevels()
        self.recent = RecentRange()
        self.left_out: frozenset[str] = frozenset()
        self.missing: Mapping[str, str] = {}
        self.disputed: Mapping[str, float] = {}
        self.books: dict[str, Depth] = {}
        self.hours = HourBuilder()
        self.vetting = Vetting()
        self._reference = ""
        self.calibration = Calibration(FORCED, fitted=False, why="nothing was fitted yet")
        self._next_calibration: Calibration | None = None
        self.first_bar_at: int | None = None
        self._view: MapView | None = None
        self._mark = 0.0
        self._measured_at = 0
        self._last_close = 0.0
        self._detected_at = 0
        self._unmeasured: MapView | None = None
        self._touched: dict[str, Touched] = {}
        self._sampled_at: dict[str, int] = {}
        self._funding: dict[str, float] = {}
        self._contracts: dict[str, deque[tuple[int, float]]] = {}
        self._reported: deque[ReportedLiquidation] = deque()
        self._listening: dict[str, int] = {}
        self._reported_since: dict[str, int] = {}
        self._summed_until: dict[str, int] = {}
        self._has_feed = False
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

    def held_at(self, side: Side, levels: np.ndarray) -> np.ndarray:
        """USD that all maps hold at outward coordinates, as of their last closed bars, (n,) float64."""
        held = np.zeros(len(levels))
        for market_map in self._included():
            held += market_map.held_usd(side, levels)
        return held

    def untraded_hours(self, cluster: Cluster, now: int) -> tuple[float, bool]:
        """Hours since any price of a cluster was traded, and whether that is all that has been watched."""
        low, high = bin_of(cluster.low), bin_of(cluster.high) - 1
        last = self.traded.last(low, max(high, low))
        since = last if last is not None else (self.traded.since or now)
        return max(now - since, 0) / HOUR_MS, last is None

    def growth(self, cluster: Cluster) -> float | None:
        """How what lies in a cluster has changed in four hours, a fraction; None where that is not known."""
        return self.usual.growth(cluster.side, cluster.first, cluster.last, GROWTH_HOURS)

    def facts(self, now: int) -> MarketFacts:
        """The context of an answer: open interest, its change, funding, what was reported."""
        view = self.view
        rate = self._funding_rate(view.mark)
        liquidated: dict[Side, float] | None = None
        if self._has_feed:
            liquidated = {side: self.reported_usd(side, now - DAY_MS) for side in SIDES}
        return MarketFacts(sum(view.interest_usd.values()), self._interest_change(now), rate, liquidated)

    def _funding_rate(self, mark: float) -> float | None:
        """Funding per 8 hours that the venues agree on, weighted by open interest; None where none says it."""
        paid: dict[str, float] = {}
        weights: dict[str, float] = {}
        for m in self._included():
            rate = self._funding.get(m.market.key)
            if rate is not None:
                usd, venue = m.market.usd(m.contracts, mark), m.market.venue
                paid[venue] = paid.get(venue, 0.0) + rate * usd
                weights[venue] = weights.get(venue, 0.0) + usd
        return agreed_rate({venue: paid[venue] / weights[venue] for venue in paid if weights[venue]}, weights)

    def risk(self, now: int) -> Risk | None:
        """How much leverage stands about and how crowded it is; None where too little is known."""
        facts, view = self.facts(now), self.view
        distance = default_distance(self.asset)
        forced: dict[Side, float] = {}
        ratios = []
        for side in SIDES:
            (near, far) = view.curves[side].at_distances(np.array([distance, RISK_REACH]))
            usual, forced[side] = self.usual.forced_usd(side, distance), float(far)
            if usual:
                ratios.append(float(near) / usual)
        recent = None
        if facts.liquidated_24h_usd is not None and (day := sum(facts.liquidated_24h_usd.values())):
            recent = 24 * sum(self.reported_usd(side, now - HOUR_MS) for side in SIDES) / day
        return risk(
            self.usual.interest_rank(facts.interest_usd),
            facts.funding_rate,
            max(ratios, default=None),
            (forced["long"], forced["short"]),
            recent,
        )

    def cascade(self, side: Side, distance: float, now: int) -> Cascade | None:
        """What would follow if price went that far, against the books known now; None without one."""
        return cascade(self.view.curves[side], self.fresh_books(now), distance)

    def metrics(self, now: int) -> dict[str, float]:
        """What rules about figures go by, units as alerts.rules.LEVEL_RANGE; what is not known is left out."""
        facts, found = self.facts(now), self.risk(now)
        cascades = [self.cascade(side, default_distance(self.asset), now) for side in SIDES]
        known = {
            "funding": facts.funding_rate,
            "oi": facts.interest_change_24h,
            "risk": found.score if found else None,
            "cascade": max((each.total_usd for each in cascades if each is not None), default=None),
        }
        return {name: value for name, value in known.items() if value is not None}

    def reported_usd(self, side: Side, since: int, venues: Collection[str] | None = None) -> float:
        """USD that feeds reported as forced out since then, of these venues or of all."""
        return sum(
            usd
            for at, whose, usd, key in self._reported
            if whose == side and at > since and (venues is None or venue_of(key) in venues)
        )

    def reported_by_venue(self, since: int) -> dict[str, dict[Side, float]]:
        """USD that feeds reported as forced out since then, by venue and side."""
        found: dict[str, dict[Side, float]] = {}
        for at, side, usd, key in self._reported:
            if at > since:
                found.setdefault(venue_of(key), {"long": 0.0, "short": 0.0})[side] += usd
        return found

    def reported_orders(self, since: int) -> list[tuple[int, Side, float]]:
        """What feeds reported as forced out since then: time, side, USD."""
        return [(at, side, usd) for at, side, usd, _ in self._reported if at > since]

    def reported_since(self) -> dict[str, int]:
        """Since when each venue's forced orders have been counted, the latest of its markets."""
        found: dict[str, int] = {}
        for key, since in (self._reported_since | self._listening).items():
            found[venue_of(key)] = max(found.get(venue_of(key), 0), since)
        return found

    def churn_usd(self, span: int) -> dict[Side, float] | None:
        """USD reported in the last so many closed hours on ground traded before within them; None if not all heard."""
        return churn_usd(self.hours.hours(span + 1), span)

    @property
    def largest(self) -> Market:
        """The market with the most open interest of those in the sum."""
        return max(self._included(), key=self._size).market

    def _size(self, market_map: MarketMap) -> tuple[float, str]:
        """Open interest of a market, USD at the price all agree on, and its key to tell equals apart."""
        market = market_map.market
        return market.usd(market_map.contracts, self.vetting.last_close or market_map.close), market.key

    def usual_shares(self) -> dict[str, float]:
        """Each venue's share of the open interest that was last known of all, those that are missing included."""
        usd: dict[str, float] = {}
        for m in self.maps.values():
            if m.opened:
                usd[m.market.venue] = usd.get(m.market.venue, 0.0) + m.market.usd(m.contracts, self._mark or m.close)
        total = sum(usd.values())
        return {venue: value / total for venue, value in usd.items()} if total else {}

    def fresh_books(self, now: int) -> list[Depth]:
        """Order books that are not old."""
        return [book for book in self.books.values() if now - book.at <= BOOK_MS]

    def restore_reported(self, rows: Iterable[ReportedLiquidation]) -> None:
        """Take up what feeds reported before a restart, in place of what a checkpoint knew."""
        single = [row for row in sorted(rows) if row.at > self._summed_until.get(row.market_key, 0)]
        if single:
            summed = [row for row in self._reported if row.market_key in self._summed_until]
            summed = [row for row in summed if row.at <= self._summed_until[row.market_key]]
            self._reported, self._has_feed = deque(sorted(summed + single)), True
            for at, _, _, key in single:
                self._reported_since.setdefault(key, at)

    @property
    def has_liquidation_feed(self) -> bool:
        return self._has_feed

    def calibrate(self, made: Calibration) -> None:
        """Have F speak with these coefficients from the next bar's close on."""
        self._next_calibration = made

    def _adopt(self, made: Calibration) -> None:
        before, after = self.calibration.coefficients, made.coefficients
        self.calibration, self._next_calibration = made, None
        if before == after:
            return
        # What is compared with the past must not jump because the ruler did.
        ratios = self.usual.remeasure(after)
        self.candidates.rescale(ratios)
        if self._view is not None:
            self._view = self._combined(self._view.at, self._mark, self._touched)
        if self._measured_at:
            self._unmeasured = self._combined(self._measured_at, self._last_close)

    def _combined(self, at: int, mark: float, touched: Mapping[str, Touched] | None = None) -> MapView:
        coefficients = self.calibration.coefficients
        return combine(self.asset, at, mark, self._included(), touched, coefficients)

    # -- a tick

    def advance(self, update: AssetUpdate, now: int, *, silent: bool = False) -> AssetTick | None:
        """Take in what a tick brought: first the path, against the map as it stood, then the bars, then the samples.

        None while there is no map yet to hold the path against. silent: nobody will decide anything on it, so
        that the clusters' figures need not be renewed.
        """
        if self._next_calibration is not None and update.bars:
            self._adopt(self._next_calibration)
        update = self._with_path(update)
        tick = self._follow(update, now, silent=silent) if self._view is not None and len(update.path) else None
        self.left_out, self.missing, self.disputed = update.left_out, dict(update.missing), dict(update.disputed)
        if update.listening is not None:
            self._listening = dict(update.listening)
            self._has_feed = self._has_feed or bool(self._listening)
        for row in update.reported:
            self._add_reported(row)
        while self._reported and self._reported[0].at < now - 2 * DAY_MS:
            self._reported.popleft()
        self._take_bars(update)
        for sample in update.samples:
            self._add_sample(sample)
        if update.path:
            self.recent.add(update.path, now)
            self._mark = update.path[-1]
        elif update.bars and not update.samples:
            self._mark = self.vetting.last_close or update.bars[-1][1].close
        if self._mark and any(m.opened for m in self.maps.values()):
            self._view = self._combined(now, self._mark, self._touched)
            self._close_bar()
        return tick

    def _with_path(self, update: AssetUpdate) -> AssetUpdate:
        """The update with the prices that its bars bear out together, where those are its path."""
        if not update.by_bars or not update.bars:
            return update
        last = update.bars[-1][1].closed_at
        return replace(update, path=self.vetting.path([row for row in update.bars if row[1].closed_at == last]))

    def _take_bars(self, update: AssetUpdate) -> None:
        """Step maps over closed bars, as far as the venues bear each other out."""
        for late in update.backfill:
            self._follow_size(late[0])
            for market, bar in self.vetting.late(*late, self.maps):
                self._step(market, bar)
        for _, together in groupby(update.bars, key=lambda row: row[1].closed_at):
            rows = list(together)
            for market, _ in rows:
                self._follow_size(market)
            for market, bar in self.vetting.front(rows, self.maps):
                self._end_hour(bar)
                self._step(market, bar)
        if update.bars and update.bars[-1][1].closed_at % HOUR_MS == 0:
            self._end_hour(None)

    def _follow(self, update: AssetUpdate, now: int, *, silent: bool) -> AssetTick:
        if not silent:
            self._refresh_clusters()
        view, clusters, faded = self.view, self.tracker.live, self.tracker.faded
        path = (self._mark, *update.path)
        self.candidates.follow(path, clusters, view, now)
        marks = tuple(self.tracker.follow(path, view))
        grounds = {} if silent else self._grounds(path, now)
        return AssetTick(self.asset, now, path, clusters, marks, view, self.candidates, grounds, faded)

    def _grounds(self, path: tuple[float, ...], now: int) -> dict[tuple[Side, int], Ground]:
        """What a path of prices came into that nobody had traded for long, before its own bars are taken in."""
        width = default_distance(self.asset)
        found = {
            (side, days): entered(self.traded, side, path, days, now, width)
            for side in SIDES
            for days in UNTRADED_DAYS.values()
        }
        return {key: ground for key, ground in found.items() if ground is not None}

    def ground_ahead(self, side: Side, now: int) -> Ground | None:
        """The longest untraded stretch that begins where price is, on one side; None where there is none."""
        mark = self._mark
        beyond = mark * (1 - BIN) if side == "long" else mark * (1 + BIN)
        for days in UNTRADED_DAYS.values():
            ground = ground_from(self.traded, side, beyond, days, now, default_distance(self.asset)) if mark else None
            if ground is not None:
                return ground
        return None

    def surge_thresholds(self, side: Side) -> dict[Tier, float]:
        """What a side's liquidations within an hour must reach, USD by tier; none where too few hours were heard."""
        if self._thresholds_at != self.hours.last_closed_at:
            self._thresholds_at = self.hours.last_closed_at
            reported = self.hours.hours().reported
            self._thresholds = {each: _percentiles(reported[:, column]) for column, each in enumerate(SIDES)}
        return self._thresholds.get(side, {})

    def past_events(self, tier: Tier, sides: Collection[Side], days: int) -> tuple[int, int]:
        """Return how many surges and stretches of fresh ground a tier would have told of in the last days."""
        hours, surges, grounds = self.hours.hours(), 0, 0
        outermost = {"long": -np.log(hours.low), "short": np.log(hours.high)}
        for side in sides:
            threshold = self.surge_thresholds(side).get(tier, math.inf)
            surges += past_surges(hours.reported[-days * 24 :, SIDES.index(side)], threshold)
            grounds += past_grounds(outermost[side], UNTRADED_DAYS[tier], days * 24)
        return surges, grounds

    def _step(self, market: Market, bar: Bar) -> None:
        """Step one market's map over a closed bar; one that it has been over already is left out."""
        market_map = self.maps.get(market.key)
        if market_map is not None and market_map.market != market:
            if market_map.market.kind != market.kind:
                market_map = None  # other contracts under the old name: nothing of the old map can be kept
            else:
                market_map.adopt(market)
        if market_map is None:
            market_map = self.maps[market.key] = MarketMap(market, self.map_prior)
        if market_map.opened and bar.closed_at <= market_map.closed_at:
            return
        self.hours.begin(market_map, bar)
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
        self._count_bar(market.key, bar)

    def _follow_size(self, market: Market) -> None:
        """Take in that a market's contracts have another size now: what is kept of it is counted in the new ones."""
        known = self.maps.get(market.key)
        if known is not None and known.opened and known.market.kind == market.kind:
            ratio = known.market.contract_size / market.contract_size
            if ratio != 1.0:
                known.rescale(ratio)
                known.adopt(market)
                self.hours.rescale(market.key, ratio)
                self.vetting.rescaled(market.key)
                rows = self._contracts.get(market.key, ())
                self._contracts[market.key] = deque((at, contracts * ratio) for at, contracts in rows)

    def _end_hour(self, bar: Bar | None) -> None:
        """Note a whole hour for the tie: when a bar of the next one comes, or with its own last bars (None)."""
        hours, at = self.hours, self.hours.running_at
        if not at or (bar is not None and bar.opened_at < at + HOUR_MS):
            return
        reported = {side: self._reported_within(side, at) for side in SIDES} if self._heard_throughout(at) else None
        interest: dict[str, float] = {}
        for m in self._included():
            interest[m.market.venue] = interest.get(m.market.venue, 0.0) + m.market.usd(m.contracts, m.close)
        hours.finish(reported, scale_for(interest, 1.0))
        hours.forget_before(at - HOURS_KEPT_MS)

    def _heard_throughout(self, at: int) -> bool:
        """Whether all feeds that count were heard for a whole hour, or bars said themselves what was forced out."""
        counting = [key for key in self._listening if venue_of(key) in self.reporting and key not in self.left_out]
        summed = [key for key in self._summed_until if venue_of(key) in self.reporting]
        if not counting and not summed:
            return False
        return all(self._listening[key] <= at for key in counting) and self.hours.summed(summed)

    def _reported_within(self, side: Side, at: int) -> float:
        """USD reported within the hour that began then, of the feeds that count."""
        return sum(
            usd
            for when, whose, usd, key in takewhile(lambda row: row.at > at - HOUR_MS, reversed(self._reported))
            if whose == side and at < when <= at + HOUR_MS and venue_of(key) in self.reporting
        )

    def _count_bar(self, key: str, bar: Bar) -> None:
        """A bar that knows what was forced out within it replaces the single orders of its market and time."""
        sides: tuple[tuple[Side, float | None], ...] = (
            ("long", bar.long_liquidations_usd),
            ("short", bar.short_liquidations_usd),
        )
        if all(usd is None for _, usd in sides):
            return
        kept = (row for row in self._reported if row.market_key != key or not bar.opened_at < row.at <= bar.closed_at)
        self._reported = deque(kept)
        for side, usd in sides:
            if usd is not None:
                self._add_reported(ReportedLiquidation(bar.closed_at, side, usd, key))
        self._summed_until[key] = bar.closed_at

    def _add_reported(self, row: ReportedLiquidation) -> None:
        at, key = row.at, row.market_key
        if at <= self._summed_until.get(key, 0):
            return  # a bar's sum holds it already
        self._has_feed = True
        self._reported_since.setdefault(key, at)
        self._reported.append(row)

    def _add_sample(self, sample: Sample) -> None:
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
        close = self._reference_map(closed_at).close
        self._last_close = close
        view = self._unmeasured = self._combined(closed_at, close)
        if closed_at // HOUR_MS > self._detected_at // HOUR_MS:
            # Hourly whatever the bars' step: on the hour is how the detector's constants were measured.
            self._detected_at = closed_at
            self.tracker.detect(view, {side: self.usual.density(side) for side in SIDES})
            self.usual.add(view)

    def _reference_map(self, closed_at: int) -> MarketMap:
        """The market whose close stands for the asset's: the largest, with hysteresis."""
        maps = {m.market.key: m for m in self.maps.values() if m.closed_at == closed_at}
        largest = max(maps.values(), key=self._size)
        known = maps.get(self._reference)
        if known is None or self._size(largest)[0] > REFERENCE_FACTOR * self._size(known)[0]:
            known = largest
        self._reference = known.market.key
        return known

    def _refresh_clusters(self) -> None:
        """Renew what clusters hold and are expected to force, as of the last closed bar's close, once a bar."""
        if self._unmeasured is not None:
            self.tracker.measure(self._unmeasured, default_distance(self.asset))
            self._unmeasured = None

    def _included(self) -> list[MarketMap]:
        """Maps of venues that are in the sum: those that have one, less those that are missing."""
        maps = [m for m in self.maps.values() if m.opened]
        return [m for m in maps if m.market.key not in self.left_out] or maps

    def _interest_change(self, now: int) -> float | None:
        """Change of contracts in 24 hours, a fraction, over the markets known at both ends."""
        before = after = 0.0
        for key, rows in self._contracts.items():
            market_map = self.maps[key]
            if len(rows) < 2 or rows[0][0] > now - DAY_MS + HOUR_MS:
                continue
            base = next((contracts for at, contracts in rows if at >= now - DAY_MS - HOUR_MS // 2), None)
            if base is None or key in self.left_out:
                continue
            before += market_map.market.usd(base, self._mark)
            after += market_map.market.usd(rows[-1][1], self._mark)
        return after / before - 1 if before else None

    # -- checkpoint

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to go on from the last closed bar; arrays stay arrays."""
        self._refresh_clusters()
        return {
            "model": MODEL,
            "maps": {key: m.snapshot() for key, m in self.maps.items() if m.opened},
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
            "funding": dict(self._funding),
            "contracts": {key: list(rows) for key, rows in self._contracts.items()},
            "reported": [list(row) for row in self._reported],
            "hours": self.hours.snapshot(),
            "vetting": self.vetting.snapshot(),
            "reference": self._reference,
            "calibration": asdict(self.calibration),
            "has_feed": self._has_feed,
            "reported_since": dict(self._reported_since),
            "summed_until": dict(self._summed_until),
        }

    @classmethod
    def restore(cls, asset: str, venues: Collection[str], state: dict[str, Any]) -> AssetBoard:
        """The board that snapshot() described, without the markets of venues that are no longer read."""
        made = cls(asset)
        maps = (MarketMap.restore(row) for row in state["maps"].values())
        made.maps = {m.market.key: m for m in maps if m.market.venue in venues}
        made.tracker = ClusterTracker.restore(asset, state["tracker"])
        made.usual = Baseline.restore(state["usual"])
        made.candidates = Candidates.restore(state["candidates"])
        made.traded = TradedLevels.restore(state["traded"])
        made.recent = RecentRange(state.get("recent", ()))
        made.first_bar_at = state["first_bar_at"]
        made._mark, made._measured_at, made._detected_at = (
            state["mark"],
            state["measured_at"],
            state["detected_at"],
        )
        made._last_close = state.get("last_close", state["mark"])
        made._funding = dict(state["funding"])
        made._contracts = {
            key: deque((int(at), c) for at, c in rows) for key, rows in state["contracts"].items() if key in made.maps
        }
        # Checkpoints of the first version did not say whose order it was.
        made._reported = deque(
            ReportedLiquidation(int(row[0]), row[1], row[2], row[3] if len(row) > 3 else "")
            for row in state["reported"]
        )
        if "parts" in state.get("hours", {}):
            made.hours = HourBuilder.restore(state["hours"])
        if "vetting" in state:
            made.vetting = Vetting.restore(state["vetting"])
            made._reference = state["reference"]
        if "calibration" in state:
            kept = state["calibration"]
            made.calibration = Calibration(**{**kept, "coefficients": ForcedPrior(**kept["coefficients"])})
        made._has_feed = state["has_feed"]
        made._reported_since = dict(state.get("reported_since", {}))
        made._summed_until = dict(state.get("summed_until", {}))
        if made.maps and made._mark:
            made._view = made._combined(made.closed_at, made._mark)
        return made
