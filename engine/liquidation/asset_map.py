"""The liquidation maps of all markets of one asset, and their sum."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from engine.liquidation.market_map import MarketMap
from engine.liquidation.prior import MAP, ForcedPrior, MapPrior
from engine.liquidation.view import MapView, Touched, combine
from engine.market import DAY_MS, HOUR_MS, Bar, Market, Sample, Side

REFERENCE_FACTOR = 1.2
"""Another market becomes the reference only when it is so much larger, so that the reference does not flicker."""


class AssetMap:
    """Maps by market key.

    Attributes:
        excluded: keys of markets that are not in the sum.
    """

    def __init__(self, asset: str, prior: MapPrior = MAP) -> None:
        self.asset, self.prior = asset, prior
        self.markets: dict[str, MarketMap] = {}
        self.excluded: frozenset[str] = frozenset()
        self._reference = ""
        self._touched: dict[str, Touched] = {}
        self._sampled_at: dict[str, int] = {}
        self._contracts: dict[str, deque[tuple[int, float]]] = {}

    # -- questions

    @property
    def opened(self) -> bool:
        """Whether any market's map has been opened."""
        return any(each.opened for each in self.markets.values())

    @property
    def closed_at(self) -> int:
        """When the last bar closed that a map has stepped over, UTC ms."""
        return max((each.closed_at for each in self.markets.values()), default=0)

    def closed_at_of(self, market: Market) -> int:
        """Return until when one market's map has been stepped, UTC ms, 0 where there is none."""
        market_map = self.markets.get(market.key)
        return market_map.closed_at if market_map else 0

    def included(self) -> list[MarketMap]:
        """Return the maps in the sum; all of them where every market is excluded."""
        maps = [each for each in self.markets.values() if each.opened]
        return [each for each in maps if each.market.key not in self.excluded] or maps

    @property
    def as_of(self) -> int:
        """Time of the oldest sample among the markets in the sum, UTC ms."""
        included = {each.market.key for each in self.included()}
        return min((at for key, at in self._sampled_at.items() if key in included), default=self.closed_at)

    def held_usd(self, side: Side, levels: np.ndarray) -> np.ndarray:
        """Return USD held at outward coordinates as of the last closed bars, (n,) float64."""
        held = np.zeros(len(levels))
        for market_map in self.included():
            held += market_map.held_usd(side, levels)
        return held

    def venue_shares(self, mark: float) -> dict[str, float]:
        """Return each venue's share of the last known open interest, excluded markets included."""
        usd: dict[str, float] = {}
        for each in self.markets.values():
            if each.opened:
                venue = each.market.venue
                usd[venue] = usd.get(venue, 0.0) + each.market.usd(each.contracts, mark or each.close)
        total = sum(usd.values())
        return {venue: value / total for venue, value in usd.items()} if total else {}

    def interest_by_venue(self) -> dict[str, float]:
        """Return open interest in the sum by venue, USD at each market's close."""
        usd: dict[str, float] = {}
        for each in self.included():
            venue = each.market.venue
            usd[venue] = usd.get(venue, 0.0) + each.market.usd(each.contracts, each.close)
        return usd

    def interest_change_24h(self, now: int, mark: float) -> float | None:
        """Return the change of contracts in 24 hours, a fraction, over the markets known at both ends, or None."""
        before = after = 0.0
        for key, rows in self._contracts.items():
            market_map = self.markets[key]
            if len(rows) < 2 or rows[0][0] > now - DAY_MS + HOUR_MS:
                continue
            base = next((contracts for at, contracts in rows if at >= now - DAY_MS - HOUR_MS // 2), None)
            if base is None or key in self.excluded:
                continue
            before += market_map.market.usd(base, mark)
            after += market_map.market.usd(rows[-1][1], mark)
        return after / before - 1 if before else None

    def size(self, market_map: MarketMap, price: float) -> tuple[float, str]:
        """Return a market's open interest in USD at a price (0: its own close), and its key to break ties."""
        market = market_map.market
        return market.usd(market_map.contracts, price or market_map.close), market.key

    def largest(self, price: float) -> Market:
        """Return the market with the most open interest of those in the sum."""
        return max(self.included(), key=lambda each: self.size(each, price)).market

    def reference(self, closed_at: int, price: float) -> MarketMap:
        """Return the market whose close is the asset's: the largest of those stepped until then, with hysteresis."""
        maps = {each.market.key: each for each in self.markets.values() if each.closed_at == closed_at}
        largest = max(maps.values(), key=lambda each: self.size(each, price))
        reference = maps.get(self._reference)
        if reference is None or (self.size(largest, price)[0] > REFERENCE_FACTOR * self.size(reference, price)[0]):
            reference = largest
        self._reference = reference.market.key
        return reference

    def view(self, at: int, mark: float, coefficients: ForcedPrior, *, touched: bool = False) -> MapView:
        """Return the sum of the maps.

        Args:
            at: UTC ms.
            touched: without levels that the bars still open have swept.
        """
        return combine(self.asset, at, mark, self.included(), self._touched if touched else None, coefficients)

    # -- changes

    def rescale(self, market: Market) -> float | None:
        """Adopt a market whose contracts changed size. Return new contracts per old one, None where none changed."""
        market_map = self.markets.get(market.key)
        if market_map is None or not market_map.opened or market_map.market.kind != market.kind:
            return None
        ratio = market_map.market.contract_size / market.contract_size
        if ratio == 1.0:
            return None
        market_map.rescale(ratio)
        market_map.adopt(market)
        rows = self._contracts.get(market.key, ())
        self._contracts[market.key] = deque((at, contracts * ratio) for at, contracts in rows)
        return ratio

    def map_for(self, market: Market) -> MarketMap:
        """Return a market's map, which is a new one where the market trades other contracts under an old name."""
        market_map = self.markets.get(market.key)
        if market_map is not None and market_map.market != market:
            if market_map.market.kind != market.kind:
                market_map = None
            else:
                market_map.adopt(market)
        if market_map is None:
            market_map = self.markets[market.key] = MarketMap(market, self.prior)
        return market_map

    def step(self, market_map: MarketMap, bar: Bar) -> bool:
        """Step one market's map over a closed bar. Return False where it has no map and the bar opens none."""
        key = market_map.market.key
        if market_map.opened:
            market_map.step(bar)
        elif bar.contracts is not None:
            market_map.open(bar, bar.contracts)
        else:
            return False
        self._touched.pop(key, None)
        rows = self._contracts.setdefault(key, deque())
        rows.append((bar.closed_at, market_map.contracts))
        while rows[0][0] < bar.closed_at - DAY_MS - HOUR_MS:
            rows.popleft()
        return True

    def add_sample(self, sample: Sample) -> None:
        """Note how far the market's open bar reaches, until its map has stepped over it."""
        key = sample.market.key
        self._sampled_at[key] = sample.at
        before = self._touched.get(key, Touched(sample.bar_low, sample.bar_high))
        self._touched[key] = Touched(min(before.low, sample.bar_low), max(before.high, sample.bar_high))

    # -- checkpoint

    def snapshot(self) -> dict[str, Any]:
        return {
            "maps": {key: each.snapshot() for key, each in self.markets.items() if each.opened},
            "contracts": {key: list(rows) for key, rows in self._contracts.items()},
            "reference": self._reference,
        }

    @classmethod
    def restore(cls, asset: str, venues: Collection[str], state: Mapping[str, Any], prior: MapPrior) -> AssetMap:
        """Return what snapshot() described, without the markets of venues that are no longer read."""
        asset_map = cls(asset, prior)
        asset_map.markets = dict(_maps_of(venues, state["maps"]))
        asset_map._contracts = {
            key: deque((int(at), contracts) for at, contracts in rows)
            for key, rows in state["contracts"].items()
            if key in asset_map.markets
        }
        asset_map._reference = state.get("reference", "")
        return asset_map


def _maps_of(venues: Collection[str], rows: Mapping[str, Any]) -> Iterator[tuple[str, MarketMap]]:
    for row in rows.values():
        market_map = MarketMap.restore(row)
        if market_map.market.venue in venues:
            yield market_map.market.key, market_map
