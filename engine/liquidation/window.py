"""One side of one market's map: contracts by level in a contiguous window, and a scalar for what lies beyond."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine.liquidation.grid import WINDOW

_PAD = 2 * WINDOW
"""A kernel's levels and a window's together: further out the share is 0 or 1, and the slice is held there."""


class PaddedKernel:
    """A kernel's running sum, padded so that any window of it is one slice.

    share_before(i) is the share that lies in the first i levels outward from an entry: 0 for i <= 0, 1 past the end.
    """

    def __init__(self, weights: np.ndarray) -> None:
        running = np.concatenate([[0.0], np.cumsum(weights)])
        running[-1] = 1.0
        self._running = np.concatenate([np.zeros(_PAD), running, np.ones(_PAD)])

    def below(self, first: int) -> np.ndarray:
        """share_before for first, first + 1, …, (WINDOW,) float64."""
        start = min(max(first + _PAD, 0), len(self._running) - WINDOW)
        return self._running[start : start + WINDOW]

    def share_before(self, levels: np.ndarray) -> np.ndarray:
        """Share within the first so many levels, for each of levels, (n,) float64."""
        share: np.ndarray = self._running[np.clip(levels + _PAD, 0, len(self._running) - 1)]
        return share


@dataclass(slots=True)
class SideWindow:
    """Contracts that would be forced out, by outward coordinate.

    Attributes:
        edge: outward coordinate of the first level kept.
        contracts: (WINDOW,) float64, open contracts by level from the edge outwards.
        beyond: contracts that lie further out than the window reaches.
        beyond_from: outward coordinate of the nearest of those.
    """

    edge: int
    contracts: np.ndarray = field(default_factory=lambda: np.zeros(WINDOW))
    beyond: float = 0.0
    beyond_from: int = 2**31

    def held(self) -> float:
        """All contracts of this side, those beyond included."""
        return float(self.contracts.sum()) + self.beyond

    def sweep(self, reach: int) -> float:
        """Clear every level up to and including the outward coordinate that price reached; contracts cleared."""
        count = min(max(reach - self.edge + 1, 0), WINDOW)
        swept = float(self.contracts[:count].sum())
        self.contracts[:count] = 0.0
        if self.beyond and reach >= self.beyond_from:
            swept, self.beyond = swept + self.beyond, 0.0
        return swept

    def leave(self, share: float, urge: np.ndarray) -> float:
        """Let a share of all contracts leave, each level's in proportion to its urge; contracts that left.

        Args:
            share: of what is held, 0 to 1.
            urge: (WINDOW,) float64, by level from the edge outwards, never rising and at least 1, which is what the
                contracts beyond have.
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
        """The same where the nearest levels would give more than they hold: they empty, the others give the rest."""
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
        """Let the window begin at another edge. Levels inward of the new edge must have been swept."""
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
        """Add entries spread evenly over the outward coordinates first..last; contracts forced out at once.

        The level p receives sum(kernel[p - e] for e in first..last), a difference of the kernel's running sum.
        What lands inward of the edge, on the wrong side of the close, is not held but returned.
        """
        spread = contracts / (last - first + 1)
        self.contracts += spread * (kernel.below(self.edge - first + 1) - kernel.below(self.edge - last))
        entries = np.arange(first, last + 1)
        self.beyond += spread * float((1 - kernel.share_before(self.edge + WINDOW - entries)).sum())
        if kernel.share_before(np.array([self.edge + WINDOW - last]))[0] < 1:
            self.beyond_from = min(self.beyond_from, self.edge + WINDOW)
        return spread * float(kernel.share_before(self.edge - entries).sum())
