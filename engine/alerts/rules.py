"""A rule is data: whom to tell, what about, how near and how large."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from engine.errors import InputError

RuleKind = Literal["near", "entered", "swept"]
AlertKind = Literal["near", "entered", "swept", "wick"]
Tier = Literal["calm", "normal", "busy"]
TIERS: tuple[Tier, ...] = get_args(Tier)
RULE_KINDS: tuple[RuleKind, ...] = get_args(RuleKind)

DEFAULT_DISTANCE = {"BTC": 0.01, "ETH": 0.015, "SOL": 0.02}
OTHER_DISTANCE = 0.035
"""About 0.4 of daily volatility."""

DISTANCE_RANGE = (0.001, 0.2)
SIZE_RANGE_USD = (1e3, 1e12)
RULE_EXAMPLE = "near 1% normal"


def default_distance(asset: str) -> float:
    """The usual distance of a near alert for an asset, a fraction of price."""
    return DEFAULT_DISTANCE.get(asset, OTHER_DISTANCE)


@dataclass(frozen=True, slots=True)
class Rule:
    """One wish of one chat.

    Attributes:
        asset: None for all that are watched.
        distance: fraction of price, None for the asset's default; only near rules have one.
        size: a tier, or USD.
    """

    id: int
    chat_id: int
    kind: RuleKind
    asset: str | None = None
    distance: float | None = None
    size: Tier | float = "normal"
    created_at: int = 0

    def concerns(self, asset: str) -> bool:
        return self.asset is None or self.asset == asset

    def distance_for(self, asset: str) -> float:
        return self.distance if self.distance is not None else default_distance(asset)

    @property
    def text(self) -> str:
        """The rule as people write it."""
        size = self.size if isinstance(self.size, str) else f"${usd_text(self.size)}"
        parts = [self.kind, f"{self.distance * 100:g}%" if self.distance is not None else "", size]
        return " ".join(part for part in parts if part)


def as_tier(name: str) -> Tier:
    """A tier by its name."""
    return TIERS[TIERS.index(name)]


def usd_text(value: float) -> str:
    """A size as people write it: 20m, 1.5b, 750k."""
    for unit, letter in ((1e9, "b"), (1e6, "m"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


_SIZE = re.compile(r"\$?\s*(\d{1,3}(?:[.,' ]\d{3})+|\d+(?:[.,]\d+)?)\s*([kmb]?)\s*(?:usd|\$)?", re.IGNORECASE)
_DISTANCE = re.compile(r"(\d+(?:[.,]\d+)?)\s*%")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}


def parse_rule(text: str) -> Rule:
    """A rule from text such as `near 1% normal`, `near 1.5% $20m` or `swept calm`; not yet anybody's.

    Raises:
        InputError: naming the word that was not understood.
    """
    words = re.sub(r"(\d)\s+%", r"\1%", text.lower()).split()
    if not words or words[0] not in RULE_KINDS:
        given = words[0][:20] if words else "nothing"
        raise InputError(f"A rule begins with {', '.join(RULE_KINDS)}, not {given}.", RULE_EXAMPLE)
    kind: RuleKind = words[0]
    distance: float | None = None
    size: Tier | float = "normal"
    for word in words[1:]:
        if _DISTANCE.fullmatch(word):
            distance = parse_distance(word)
        else:
            size = parse_size(word)
    if kind != "near" and distance is not None:
        raise InputError(f"Only near takes a distance; {kind} happens at the cluster itself.", f"{kind} normal")
    return Rule(0, 0, kind, distance=distance, size=size)


def parse_distance(word: str) -> float:
    """A distance such as 1% or 1,5%, as a fraction of price.

    Raises:
        InputError: when it is not a percentage between 0.1 and 20.
    """
    match = _DISTANCE.fullmatch(word.strip())
    if not match:
        raise InputError(f"{word[:20]!r} is not a distance.", "1%")
    value = float(match[1].replace(",", ".")) / 100
    if not DISTANCE_RANGE[0] <= value <= DISTANCE_RANGE[1]:
        raise InputError(f"A distance lies between 0.1% and 20%, not {word[:20]}.", "1%")
    return value


def parse_size(word: str) -> Tier | float:
    """A tier, or a size such as $20m.

    Raises:
        InputError: when it is neither.
    """
    for tier in TIERS:
        if word.strip().lower() == tier:
            return tier
    match = _SIZE.fullmatch(word.strip())
    if not match:
        raise InputError(f"{word[:20]!r} is neither {', '.join(TIERS)} nor a size in USD.", "$20m")
    digits = match[1]
    if re.fullmatch(r"\d{1,3}([.,' ]\d{3})+", digits):
        digits = re.sub(r"\D", "", digits)  # grouped by thousands
    value = float(digits.replace(",", ".")) * _UNITS[match[2].lower()]
    if not SIZE_RANGE_USD[0] <= value <= SIZE_RANGE_USD[1]:
        raise InputError(f"A size lies between $1k and $1000b, not {word[:20]}.", "$20m")
    return value
