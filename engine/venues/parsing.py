"""Values that venues' responses are parsed into, and helpers for odd responses."""

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
"""Kinds of data from venues that we reject as implausible or late."""

Interest = Callable[[int], float | None]
"""Returns the contracts that polls saw at a bar's end, or None without a poll."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One market as the venue lists it.

    Attributes:
        id: the venue's own name for it.
        coins: coins in one priced unit, 1000 for 1000PEPE. We divide the venue's prices by it.
        is_coin: False for a stock, metal or index.
        funding_hours: funding interval in hours, if the listing has it.
    """

    market: Market
    id: str
    coins: float = 1.0
    is_coin: bool = True
    funding_hours: float = 8.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One market's unchecked figures, in the venue's own units.

    contracts is in the venue's contracts. value_usd and index, if given, are for checks. funding_rate is a fraction
    per funding_hours, and next_funding_at, UTC ms, shows when that interval changes. All but mark, contracts and at
    are optional: one that cannot be read is left out by itself.
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
    """A venue's history at a bar's end: contracts open, and liquidations within the bar, USD."""

    contracts: float | None
    long_liquidations_usd: float | None = None
    short_liquidations_usd: float | None = None


UNKNOWN = OpenAt(None)


def unseen(at: int) -> float | None:  # noqa: ARG001  # an Interest without polls
    return None


def numbered(events: Iterable[Liquidation]) -> list[Liquidation]:
    """Return the liquidation orders of one response, with identical ones numbered."""
    orders, alike = [], Counter[Liquidation]()
    for event in events:
        orders.append(replace(event, number=alike[event]))
        alike[event] += 1
    return orders


def row_of(rows: Mapping[str, Any], name: str) -> Any:
    if name not in rows:
        raise ImplausibleError("no figures")
    return rows[name]


def rows_by(rows: Any, key: str) -> dict[str, Any]:
    """Return a venue's list of rows as a dict by one of their fields.

    Raises:
        VenueError: when it is not a list, or is empty.
    """
    if not isinstance(rows, list) or not rows:
        raise VenueError("unreadable answer")
    return {str(row[key]): row for row in rows if isinstance(row, dict) and key in row}


def dig(answer: Any, *path: str) -> Any:
    """Return the value at a path in a response.

    Raises:
        VenueError: when the response has no such path.
    """
    for name in path:
        if not isinstance(answer, dict) or name not in answer:
            raise VenueError("unreadable answer")
        answer = answer[name]
    return answer


def make_tier(floor: Any, rate: Any, max_leverage: Any, amount: Any = None) -> Tier:
    """Return a tier from a venue's numbers: floor (notional, USD), maintenance rate, leverage, amount (USD).

    Raises:
        ImplausibleError: when they are not plausible.
    """
    maintenance, most = positive(optional(rate), "maintenance rate"), positive(optional(max_leverage), "leverage")
    if maintenance >= 1:
        raise ImplausibleError(f"maintenance rate {maintenance}")
    return Tier(max(optional(floor) or 0.0, 0.0), maintenance, optional(amount) or 0.0, most)


def optional(value: Any) -> float | None:
    """Return a number, or None if the venue left it out."""
    return float(value) if value not in (None, "") else None


def decoration(value: Any) -> float | None:
    """Return an optional figure as a finite number, or None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def listed(answer: Any, name: str) -> list[Any]:
    """Return the rows of an optional response, none if it has another shape."""
    rows = answer.get(name) if isinstance(answer, dict) else None
    return rows if isinstance(rows, list) else []


class FundingHours:
    """Infers markets' funding intervals from the times of their next payments.

    Venues shorten the interval within the day, but we read the list that states it only once a day. The time of the
    next payment comes with every poll: it moves by the interval, and must be a multiple of it.
    """

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self._seen: dict[str, float] = {}

    def hours(self, key: str, stated: float, next_at: float | None) -> float:
        """Return the current funding interval, hours.

        Args:
            stated: the interval that the venue stated last, hours.
            next_at: time of the next funding payment, UTC ms; None if the venue does not send it.
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
