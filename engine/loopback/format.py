"""What every venue format has in common: a tape per coin, a clock, routes by path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from engine.loopback.tape import Candle, Forced, Tape
from engine.ports import Clock

Query = Mapping[str, str]
Answer = tuple[int, Any]
"""HTTP status and a JSON value."""

FUNDING_MS = 8 * 3_600_000


@dataclass
class Subscription:
    """What one websocket asked for."""

    coins: set[str] = field(default_factory=set)
    everything: bool = False

    def wants(self, coin: str) -> bool:
        return self.everything or coin in self.coins


class Format(ABC):
    """One venue's wire format. Subclasses fill `routes` and the stream methods."""

    venue: ClassVar[str]
    rest: ClassVar[Mapping[str, str]]
    """Path to the name of the method that answers it."""
    stream_prefix: ClassVar[str]

    def __init__(self, tapes: Mapping[str, Tape], clock: Clock) -> None:
        self._tapes, self._clock = tapes, clock

    def answer(self, path: str, query: Query) -> Answer | None:
        """The answer to a GET, None where the venue has no such path."""
        name = self.rest.get(path)
        if name is None:
            return None
        method: Callable[[Query], Answer] = getattr(self, name)
        return method(query)

    @abstractmethod
    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:
        """Answers to a text frame from a client; changes what it is subscribed to."""

    @abstractmethod
    def tell(self, coin: str, event: Forced) -> str:
        """A forced order as the venue's stream sends it."""

    @property
    def now(self) -> int:
        return self._clock.now()

    def interest(self, coin: str, at: int) -> float:
        return self._tapes[coin].interest_base(self.venue, at)

    def interest_rows(self, coin: str, step_ms: int, first: int, last: int) -> list[tuple[int, float]]:
        """Open interest (base units) at each step's boundary in first..last, oldest first."""
        tape = self._tapes[coin]
        start = -(-max(first, tape.start) // step_ms) * step_ms
        return [(at, tape.interest_base(self.venue, at)) for at in range(start, min(last, self.now) + 1, step_ms)]

    def candles(self, coin: str, step_ms: int, first: int, last: int) -> list[Candle]:
        return self._tapes[coin].candles(step_ms, first, last, self.now)

    def next_funding(self) -> int:
        return (self.now // FUNDING_MS + 1) * FUNDING_MS


def number(value: float, digits: int = 8) -> str:
    """A number as venues send it: a decimal string."""
    return f"{value:.{digits}f}"
