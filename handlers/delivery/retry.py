"""When to retry a message. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS = 2.0
LONGEST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with jitter."""

    first: float = FIRST_SECONDS
    longest: float = LONGEST_SECONDS

    def seconds(self, attempts: int, chance: float, at_least: float | None = None) -> float:
        """Return the seconds until the next attempt.

        Args:
            attempts: how many have been made, from 1.
            chance: a random number in 0..1, for the jitter.
            at_least: seconds that the platform asked for.
        """
        wait = min(self.first * 2.0 ** min(attempts - 1, 20), self.longest) * (0.5 + 0.5 * chance)
        return max(wait, at_least or 0.0)
