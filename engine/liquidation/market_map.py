"""The liquidation map of one market: contracts by liquidation price and side, updated by closed bars."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from engine.liquidation.grid import BIN, WINDOW, bin_of, outward, prices_outward
from engine.liquidation.kernel import for_market
from engine.liquidation.prior import MAP, MapPrior
from engine.liquidation.window import PaddedKernel, SideWindow
from engine.market import HOUR_MS, SIDES, Bar, Market, Side


@lru_cache(maxsize=8)
def exit_hazard(prior: MapPrior) -> np.ndarray:
    """Return the exit weight of positions by level outward from the last close, (WINDOW,) float64."""
    urge: np.ndarray = 1 + prior.exit_hazard * np.exp(-np.arange(WINDOW) * BIN / prior.exit_reach)
    urge.setflags(write=False)
    return urge


@dataclass(slots=True)
class Ledger:
    """Running totals of contracts on one side since the map was opened.

    They balance up to rounding: entered = swept + exited + within + held.
    within counts contracts opened and liquidated inside one bar, on the wrong side of its close.
    """

    entered: float = 0.0
    swept: float = 0.0
    exited: float = 0.0
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Effect of one bar: contracts swept by side, opened and closed."""

    swept: dict[Side, float]
    opened: float
    closed: float


def held_usd(market: Market, side: Side, edge: int, contracts: np.ndarray, reach: int) -> float:
    """Return the USD in a window up to an outward coordinate, each level valued at its own price.

    Args:
        edge: outward coordinate of the window's first level.
        contracts: (WINDOW,) float64, by level from the edge outwards.
    """
    count = min(max(reach - edge + 1, 0), WINDOW)
    if not count:
        return 0.0
    held = contracts[:count]
    if market.kind == "inverse":
        return float(held.sum()) * market.contract_size
    return float(held @ prices_outward(side, edge, count)) * market.contract_size


class MarketMap:
    """Contracts by level for both sides of one market. The first bar opens it, each later bar steps it.

    The order within a bar is sweep, exit, enter, place, so that no extreme sweeps entries made after it.
    """

    def __init__(self, market: Market, prior: MapPrior = MAP) -> None:
        self.market = market
        self._prior = prior
        self._urge = exit_hazard(prior)
        self.contracts = 0.0
        self.close = 0.0
        self.closed_at = 0
        self.windows: dict[Side, SideWindow] = {}
        self.ledgers: dict[Side, Ledger] = {side: Ledger() for side in SIDES}
        self._kernels = {side: PaddedKernel(for_market(market, side, prior)) for side in SIDES}

    @property
    def opened(self) -> bool:
        return bool(self.windows)

    def open(self, bar: Bar, contracts: float) -> Step:
        """Seed the map with all open interest as entries at the bar's opening price, then step the bar.

        The true entry prices are unknown. This way both sides contain all open interest from the first bar on, and
        turnover replaces the guess within days.
        """
        self.contracts = contracts
        self.close = bar.open
        for side in SIDES:
            at = outward(side, bin_of(bar.open))
            self.windows[side] = SideWindow(edge=at + 1)
            self._place(side, contracts, at, at)
        return self.step(bar)

    def step(self, bar: Bar) -> Step:
        """Update the map with one closed bar. Return its effect.

        A bar without open interest leaves it unchanged: missing data does not mean closed positions.

        Raises:
            ValueError: when the bar is not later than the last one.
        """
        if bar.closed_at <= self.closed_at:
            raise ValueError(f"{self.market.key}: bar closed at {bar.closed_at}, the map stands at {self.closed_at}")
        before = self.contracts
        after = bar.contracts if bar.contracts is not None else before
        turnover = self._turnover(bar, before, after)
        opened = max(after - before, 0.0) + turnover
        closed = max(before - after, 0.0) + turnover
        swept = {side: self._sweep(side, bar) for side in SIDES}
        for side in SIDES:
            self.ledgers[side].exited += self.windows[side].leave(min(closed / before, 1.0), self._urge)
            self.windows[side].move(outward(side, bin_of(bar.close)) + 1)
            first, last = sorted((outward(side, bin_of(bar.low)), outward(side, bin_of(bar.high))))
            self._place(side, opened, first, last)
        self.contracts, self.close, self.closed_at = after, bar.close, bar.closed_at
        return Step(swept, opened, closed)

    def adopt(self, market: Market) -> None:
        """Use new margin rules for positions opened from now on. Contracts already on the map stay in place."""
        self.market = market
        self._kernels = {side: PaddedKernel(for_market(market, side, self._prior)) for side in SIDES}

    def rescale(self, ratio: float) -> None:
        """Convert all counts to a new contract size. One old contract equals `ratio` new ones."""
        self.contracts *= ratio
        for window in self.windows.values():
            window.contracts *= ratio
            window.beyond *= ratio
        for ledger in self.ledgers.values():
            for name in ("entered", "swept", "exited", "within"):
                setattr(ledger, name, getattr(ledger, name) * ratio)

    def held(self, side: Side) -> float:
        """Return the contracts on one side of the map, never more than open interest."""
        return self.windows[side].held()

    def held_usd(self, side: Side, levels: np.ndarray) -> np.ndarray:
        """Return the USD at each of some outward coordinates, each at its own price, (n,) float64."""
        window = self.windows[side]
        places = levels - window.edge
        inside = (places >= 0) & (places < WINDOW)
        contracts = np.where(inside, window.contracts[np.clip(places, 0, WINDOW - 1)], 0.0)
        usd: np.ndarray = contracts * self.market.contract_size
        if self.market.kind == "inverse":
            return usd
        return usd * np.exp((outward(side, 1) * levels + 0.5) * BIN)

    def _turnover(self, bar: Bar, before: float, after: float) -> float:
        """Return the contracts both opened and closed within the bar, capped at open interest before and after."""
        turnover = self._prior.turnover_per_hour * after * bar.step_ms / HOUR_MS
        if bar.contracts_high is not None and bar.contracts_low is not None:
            spread = bar.contracts_high - bar.contracts_low
            turnover += self._prior.range_share * max(spread - abs(after - before), 0.0)
        return min(turnover, before, after)

    def _sweep(self, side: Side, bar: Bar) -> float:
        reached = bin_of(bar.low if side == "long" else bar.high)
        swept = self.windows[side].sweep(outward(side, reached))
        self.ledgers[side].swept += swept
        return swept

    def _place(self, side: Side, contracts: float, first: int, last: int) -> None:
        self.ledgers[side].entered += contracts
        self.ledgers[side].within += self.windows[side].place(contracts, self._kernels[side], first, last)

    def snapshot(self) -> dict[str, Any]:
        """Return the full state for a checkpoint. Arrays are copies."""
        return {
            "market": asdict(self.market),
            "contracts": self.contracts,
            "close": self.close,
            "closed_at": self.closed_at,
            "windows": {side: asdict(window) for side, window in self.windows.items()},
            "ledgers": {side: asdict(ledger) for side, ledger in self.ledgers.items()},
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> MarketMap:
        """Return the map that snapshot() stored."""
        restored = cls(Market(**state["market"]))
        restored.contracts, restored.close, restored.closed_at = state["contracts"], state["close"], state["closed_at"]
        for side in SIDES:
            if side in state["windows"]:
                restored.windows[side] = SideWindow(**state["windows"][side])
            restored.ledgers[side] = Ledger(**state["ledgers"][side])
        return restored
