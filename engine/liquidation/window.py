"""One side of one market's map: contracts by level in a contiguous window, and one total for those beyond it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine.liquidation.grid import WINDOW

_PAD = 2 * WINDOW
"""Levels of a kernel plus a window. Further out the share is 0 or 1, and slices are clamped."""


class PaddedKernel:
    """A kernel's running sum, padded so that any window of it is one slice.

    share_before(i) is the share in the first i levels outward from an entry: 0 for i <= 0, 1 past the end.
    """

    def __init__(self, weights: np.ndarray) -> None:
        running = np.concatenate([[0.0], np.cumsum(weights)])
        running[-1] = 1.0
        self._running = np.concatenate([np.zeros(_PAD), running, np.ones(_PAD)])

    def below(self, first: int) -> np.ndarray:
        """Return share_before of first, first + 1, …, (WINDOW,) float64."""
        start = min(max(first + _PAD, 0), len(self._running) - WINDOW)
        return self._running[start : start + WINDOW]

    def share_before(self, levels: np.ndarray) -> np.ndarray:
        """Return the share within the first i levels, for each i in levels, (n,) float64."""
        share: np.ndarray = self._running[np.clip(levels + _PAD, 0, len(self._running) - 1)]
        return share


@dataclass(slots=True)
class SideWindow:
    """Contracts by outward coordinate of their liquidation price.

    Attributes:
        edge: outward coordinate of the first level in the window.
        contracts: (WINDOW,) float64, open contracts by level from the edge outwards.
        beyond: contracts further out than the window.
        beyond_from: outward coordinate of the nearest of those.
    """

    edge: int
    contracts: np.ndarray = field(default_factory=lambda: np.zeros(WINDOW))
    beyond: float = 0.0
    beyond_from: int = 2**31

    def held(self) -> float:
        """Return all contracts of this side, including those beyond the window."""
        return float(self.contracts.sum()) + self.beyond

    def sweep(self, reach: int) -> float:
        """Clear levels up to and including the outward coordinate that price reached. Return contracts cleared."""
        count = min(max(reach - self.edge + 1, 0), WINDOW)
        swept = float(self.contracts[:count].sum())
        self.contracts[:count] = 0.0
        if self.beyond and reach >= self.beyond_from:
            swept, self.beyond = swept + self.beyond, 0.0
        return swept

    def leave(self, share: float, urge: np.ndarray) -> float:
        """Close a share of all contracts, weighting each level by its exit weight. Return contracts closed.

        Args:
            share: share of all contracts, 0 to 1.
            urge: (WINDOW,) float64, exit weight by level from the edge outwards. It never rises and is at least 1,
                the weight of contracts beyond the window.
        """
        before = self.held()
        wanted = share * before
        pull = self.contracts * urge
        total = float(pull.sum()) + self.beyond
        if wanted <= 0 or total <= 0:
            return 0.0
        rate = wanted / total
        if rate * urge[0] <= 1:
            self.contracts -= rate * pull
            self.beyond *= 1 - rate
            return wanted
        return self._leave_nearest_first(wanted, urge, pull)

    def _leave_nearest_first(self, wanted: float, urge: np.ndarray, pull: np.ndarray) -> float:
        """Close contracts where the nearest levels have fewer than their quota: empty them, take the rest outward."""
        emptied = np.concatenate([[0.0], np.cumsum(self.contracts)])
        left_to_pull = float(pull.sum()) + self.beyond - np.concatenate([[0.0], np.cumsum(pull)])
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = (wanted - emptied) / left_to_pull
        enough = np.flatnonzero(rates[:WINDOW] * urge <= 1)
        count = int(enough[0]) if len(enough) else WINDOW
        rate = min(max(float(rates[count]), 0.0), 1.0) if left_to_pull[count] > 0 else 0.0
        self.contracts[:count] = 0.0
        self.contracts[count:] -= rate * pull[count:]
        np.maximum(self.contracts, 0.0, out=self.contracts)
        self.beyond *= 1 - rate
        return wanted

    def move(self, edge: int) -> None:
        """Move the window to another edge. Levels inward of the new edge must have been swept."""
        shift = edge - self.edge
        if shift == 0:
            return
        moved = np.zeros(WINDOW)
        if shift >= 0:
            moved[: max(WINDOW - shift, 0)] = self.contracts[shift:]
        else:
            kept = max(WINDOW + shift, 0)
            moved[WINDOW - kept :] = self.contracts[:kept]
            lost = self.contracts[kept:]
            if lost.any():
                self.beyond += float(lost.sum())
                self.beyond_from = min(self.beyond_from, self.edge + kept + int(np.flatnonzero(lost)[0]))
        self.contracts, self.edge = moved, edge

    def place(self, contracts: float, kernel: PaddedKernel, first: int, last: int) -> float:
        """Add entries spread evenly over outward coordinates first..last. Return contracts liquidated at once.

        Level p receives sum(kernel[p - e] for e in first..last), a difference of the kernel's running sum.
        Contracts inward of the edge, on the wrong side of the close, are liquidated at once and not stored.
        """
        spread = contracts / (last - first + 1)
        self.contracts += spread * (kernel.below(self.edge - first + 1) - kernel.below(self.edge - last))
        entries = np.arange(first, last + 1)
        self.beyond += spread * float((1 - kernel.share_before(self.edge + WINDOW - entries)).sum())
        if kernel.share_before(np.array([self.edge + WINDOW - last]))[0] < 1:
            self.beyond_from = min(self.beyond_from, self.edge + WINDOW)
        return spread * float(kernel.share_before(self.edge - entries).sum())
