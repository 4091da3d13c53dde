"""How far one market has been read, and what looks at it have seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.market import DAY_MS, Bar, Sample
from engine.venues.extremes import Extremes, Reading
from engine.venues.venue import STEP_MS

SEEN_WITHIN_MS = 60_000
"""How far from a bar's end a look may have been to count as its open interest."""


@dataclass
class MarketProgress:
    """How far one market has been read.

    Attributes:
        closed_at: until when bars have been read.
        waiting: bars that nobody has taken yet.
        seen: at bars' ends, how far off the nearest look was and the contracts it saw.
        wrong: why it could not be read last time, empty if it could.
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
        """Forget what looks have seen: their times are of a clock that was wrong."""
        self.extremes, self.sample = Extremes(), None
        self.seen.clear()

    def see(self, reading: Reading, at: int) -> None:
        """Remember what was open at the nearest bar's end."""
        end = (at + STEP_MS // 2) // STEP_MS * STEP_MS
        off = abs(at - end)
        if off <= SEEN_WITHIN_MS and off < self.seen.get(end, (SEEN_WITHIN_MS + 1, 0.0))[0]:
            self.seen[end] = (off, reading.contracts)
        for old in [end for end in self.seen if end < at - DAY_MS]:
            del self.seen[old]

    def interest(self, end: int) -> float | None:
        """Contracts seen at a bar's end."""
        found = self.seen.get(end)
        return found[1] if found else None
