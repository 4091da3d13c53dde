"""The combined map of an asset's markets around one mark price. Commands and rules read from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.liquidation.curve import LiquidationCurve
from engine.liquidation.grid import WINDOW, bin_of, outward, prices_outward
from engine.liquidation.market_map import MarketMap
from engine.liquidation.prior import FORCED, ForcedPrior, scale_for
from engine.market import SIDES, Side


@dataclass(frozen=True, slots=True)
class Touched:
    """Price extremes of one market since its map's last bar close, USD."""

    low: float
    high: float


@dataclass(frozen=True)
class MapView:
    """An asset's open positions by level around a mark. Immutable, built once per tick.

    Attributes:
        asset: the coin's ticker.
        at: time of the data, UTC ms.
        mark: reference price, USD.
        by_venue: per side and venue, (WINDOW,) float64, USD open in the levels outward from the mark's own.
        interest_usd: open interest of each venue at the mark, USD.
        coefficients: coefficients of F, shipped or fitted to this asset.
    """

    asset: str
    at: int
    mark: float
    by_venue: Mapping[Side, Mapping[str, np.ndarray]]
    interest_usd: Mapping[str, float]
    coefficients: ForcedPrior = FORCED

    @property
    def venues(self) -> tuple[str, ...]:
        return tuple(self.interest_usd)

    @cached_property
    def open_usd(self) -> dict[Side, np.ndarray]:
        """USD open by level outward from the mark, per side, (WINDOW,) float64, summed over venues."""
        return {
            side: np.sum([self.by_venue[side][venue] for venue in self.venues], axis=0)
            if self.venues
            else np.zeros(WINDOW)
            for side in SIDES
        }

    @cached_property
    def curves(self) -> dict[Side, LiquidationCurve]:
        """F(P) by side."""
        total, coeffs = sum(self.interest_usd.values()), self.coefficients
        scale = scale_for(self.interest_usd, coeffs.scale)
        return {side: LiquidationCurve(side, self.mark, self.open_usd[side], total, scale, coeffs) for side in SIDES}

    def side_of(self, price: float) -> Side:
        """Return the side that gets liquidated if price moves to `price`."""
        return "long" if price < self.mark else "short"

    def forced_usd(self, price: float) -> float:
        """Return F: liquidations expected to be reported if price goes straight from the mark to `price`, USD."""
        return self.curves[self.side_of(price)].forced_usd(price)

    def mass_between(self, side: Side, first: int, last: int) -> float:
        """Return the USD open in outward coordinates first..last, both included. Levels up to the mark are empty."""
        base = outward(side, bin_of(self.mark)) + 1
        return float(self.open_usd[side][max(first - base, 0) : max(last - base + 1, 0)].sum())

    def venue_shares(self, price: float) -> dict[str, float]:
        """Return each venue's share of forced_usd(price), by USD open up to there or else by open interest."""
        side = self.side_of(price)
        count = self.curves[side].levels_to(price)
        mass = {venue: float(self.by_venue[side][venue][:count].sum()) for venue in self.venues}
        if not sum(mass.values()):
            mass = dict(self.interest_usd)
        total = sum(mass.values())
        return (
            {venue: value / total for venue, value in sorted(mass.items(), key=lambda item: -item[1])} if total else {}
        )


def combine(
    asset: str,
    at: int,
    mark: float,
    maps: Sequence[MarketMap],
    touched: Mapping[str, Touched] | None = None,
    coefficients: ForcedPrior = FORCED,
) -> MapView:
    """Combine an asset's market maps into a view around a mark. Levels touched since the last bar count as swept."""
    touched = touched or {}
    by_venue: dict[Side, dict[str, np.ndarray]] = {side: {} for side in SIDES}
    interest: dict[str, float] = {}
    for market_map in maps:
        market = market_map.market
        interest[market.venue] = interest.get(market.venue, 0.0) + market.usd(market_map.contracts, mark)
        for side in SIDES:
            usd = _usd_outward(market_map, side, mark, touched.get(market.key))
            by_venue[side][market.venue] = by_venue[side].get(market.venue, 0.0) + usd
    return MapView(asset, at, mark, by_venue, interest, coefficients)


def _usd_outward(market_map: MarketMap, side: Side, mark: float, touched: Touched | None) -> np.ndarray:
    """Return one market's USD by level outward from the mark's own level, (WINDOW,) float64."""
    window, market = market_map.windows[side], market_map.market
    base = outward(side, bin_of(mark)) + 1
    first = base - window.edge
    if touched is not None:
        reach = outward(side, bin_of(touched.low if side == "long" else touched.high))
    else:
        reach = window.edge - 1
    contracts = np.zeros(WINDOW)
    start, end = max(first, 0), min(first + WINDOW, WINDOW)
    if start < end:
        contracts[start - first : end - first] = window.contracts[start:end]
    contracts[: max(reach - base + 1, 0)] = 0.0
    usd: np.ndarray = contracts * market.contract_size
    return usd if market.kind == "inverse" else usd * prices_outward(side, base, WINDOW)
