"""What a venue's answers are made into before anything else sees them, and how odd ones are read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.errors import ImplausibleError, VenueError
from engine.liquidation.margin import Tier
from engine.market import HOUR_MS, MINUTE_MS, Liquidation, Market, positive

Feed = Literal["stream", "poll", "none"]
Refusal = Literal[
    "listings",
    "figures",
    "funding",
    "side figures",
    "margin tiers",
    "candles",
    "open interest",
    "orders",
    "late figures",
]
"""What of a venue's answers was not believed, or came too late."""

Interest = Callable[[int], float | None]
"""Contracts that polls saw at a bar's end, None where nobody looked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One market as the venue lists it.

    Attributes:
        id: the venue's own name for it.
        coins: coins in one priced unit: 1000 for 1000PEPE. Prices of the venue are divided by it.
        is_coin: no stock, metal or index.
        funding_hours: how often funding is paid, where the listing says so.
    """

    market: Market
    id: str
    coins: float = 1.0
    is_coin: bool = True
    funding_hours: float = 8.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One market's figures in the venue's own units, as they stood in its answer.

    contracts as the venue counts them; value_usd and index where it says them, to check against.
    funding_rate is a fraction per funding_hours; next_funding_at, UTC ms, shows when those have changed. All but mark,
    contracts and at only decorate: what of them cannot be read is left out by itself.
    """

    mark: Any
    contracts: Any
    value_usd: Any = None
    index: Any = None
    funding_rate: Any = None
    funding_hours: Any = 8.0
    at: Any = None
    next_funding_at: Any = None


@dataclass(frozen=True, slots=True)
class OpenAt:
    """What a venue's history says of a bar's end: contracts open, and what was forced out within the bar, USD."""

    contracts: float | None
    long_liquidations_usd: float | None = None
    short_liquidations_usd: float | None = None


UNKNOWN = OpenAt(None)


def unseen(at: int) -> float | None:  # noqa: ARG001  # an Interest of nobody
    return None


def numbered(events: Iterable[Liquidation]) -> list[Liquidation]:
    """Forced orders of one answer, told apart where they are alike."""
    found, alike = [], Counter[Liquidation]()
    for event in events:
        found.append(replace(event, number=alike[event]))
        alike[event] += 1
    return found


def row_of(rows: Mapping[str, Any], name: str) -> Any:
    if name not in rows:
        raise ImplausibleError("no figures")
    return rows[name]


def rows_by(rows: Any, key: str) -> dict[str, Any]:
    """A venue's list of rows by one of their fields.

    Raises:
        VenueError: when it is no list of rows, or empty.
    """
    if not isinstance(rows, list) or not rows:
        raise VenueError("unreadable answer")
    return {str(row[key]): row for row in rows if isinstance(row, dict) and key in row}


def dig(answer: Any, *path: str) -> Any:
    """What stands in an answer under that path.

    Raises:
        VenueError: when the answer is not of that shape.
    """
    for name in path:
        if not isinstance(answer, dict) or name not in answer:
            raise VenueError("unreadable answer")
        answer = answer[name]
    return answer


def make_tier(floor: Any, rate: Any, max_leverage: Any, amount: Any = None) -> Tier:
    """A tier from a venue's numbers: notional (USD) it begins at, maintenance rate, leverage, maintenance amount.

    Raises:
        ImplausibleError: when they are not plausible.
    """
    maintenance, most = positive(optional(rate), "maintenance rate"), positive(optional(max_leverage), "leverage")
    if maintenance >= 1:
        raise ImplausibleError(f"maintenance rate {maintenance}")
    return Tier(max(optional(floor) or 0.0, 0.0), maintenance, optional(amount) or 0.0, most)


def optional(value: Any) -> float | None:
    """A number, or None where a venue left it out."""
    return float(value) if value not in (None, "") else None


def decoration(value: Any) -> float | None:
    """Return a figure that others do not rest on: a finite number, or None for whatever else a venue sent."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def listed(answer: Any, name: str) -> list[Any]:
    """Return the rows of an answer that is not needed; none where it is of another shape."""
    rows = answer.get(name) if isinstance(answer, dict) else None
    return rows if isinstance(rows, list) else []


class FundingHours:
    """How many hours lie between two payments of a market's funding, as its next payment shows.

    Venues shorten the interval within the day and say so in a list that is read once a day. The time of the next
    payment comes with every poll: it moves by the interval, and must lie on a multiple of it.
    """

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._seen: dict[str, float] = {}

    def hours(self, key: str, stated: float, next_at: float | None) -> float:
        """Return the interval that holds now, hours.

        Args:
            stated: what the venue said last.
            next_at: when funding is paid next, UTC ms; None where the venue does not say.
        """
        if next_at is None or next_at <= 0:
            return stated
        at = round(next_at / MINUTE_MS) * MINUTE_MS
        before = self._next.get(key)
        self._next[key] = at
        if before is not None and at > before and (at - before) / HOUR_MS in INTERVALS:
            self._seen[key] = (at - before) / HOUR_MS
        fitting = [hours for hours in INTERVALS if at % (hours * HOUR_MS) == 0]
        hours = self._seen.get(key, stated)
        return hours if hours in fitting or not fitting else max(fitting)


INTERVALS = (1.0, 2.0, 4.0, 8.0)
