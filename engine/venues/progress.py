"""Reading progress of one market, and the results of its polls."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.market import DAY_MS, Bar, Sample
from engine.venues.extremes import Extremes, Reading
from engine.venues.venue import STEP_MS

SEEN_WITHIN_MS = 60_000
"""How far a poll may be from a bar's end to count as its open interest."""


@dataclass
class MarketProgress:
    """Reading progress of one market.

    Attributes:
        closed_at: time up to which bars have been read, UTC ms.
        waiting: bars that the feed has not taken yet.
        seen: by bar end, UTC ms: distance of the nearest poll, ms, and the contracts it saw.
        wrong: why the last read failed, empty if it did not.
    """

    closed_at: int
    extremes: Extremes = field(default_factory=Extremes)
    sample: Sample | None = None
    waiting: list[Bar] = field(default_factory=list)
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    wrong: str = ""
    retry_at: float = 0.0
    failures: int = 0

    def forget_looks(self) -> None:
        """Drop the results of polls: their times are from a clock that was wrong."""
        self.extremes, self.sample = Extremes(), None
        self.seen.clear()

    def see(self, reading: Reading, at: int) -> None:
        """Store a reading's contracts for the nearest bar's end, if it is the closest poll so far."""
        end = (at + STEP_MS // 2) // STEP_MS * STEP_MS
        off = abs(at - end)
        if off <= SEEN_WITHIN_MS and off < self.seen.get(end, (SEEN_WITHIN_MS + 1, 0.0))[0]:
            self.seen[end] = (off, reading.contracts)
        for old in [end for end in self.seen if end < at - DAY_MS]:
            del self.seen[old]

    def interest(self, end: int) -> float | None:
        """Return the contracts that polls saw at a bar's end, or None."""
        nearest = self.seen.get(end)
        return nearest[1] if nearest else None
