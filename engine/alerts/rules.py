"""Rules as data, and their text form: for which chat, about what, how near and how large."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from engine.errors import InputError
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, Side

ClusterKind = Literal["near", "entered", "swept"]
MetricKind = Literal["price", "funding", "oi", "risk", "cascade"]
RuleKind = Literal["near", "entered", "swept", "price", "funding", "oi", "risk", "cascade"]
AlertKind = RuleKind | Literal["wick", "over", "surge", "fresh", "move"]
Tier = Literal["calm", "normal", "busy"]
TIERS: tuple[Tier, ...] = get_args(Tier)
RULE_KINDS: tuple[RuleKind, ...] = get_args(RuleKind)
METRIC_KINDS: tuple[MetricKind, ...] = get_args(MetricKind)

DEFAULT_DISTANCE = {"BTC": 0.01, "ETH": 0.015, "SOL": 0.02}
OTHER_DISTANCE = 0.035
"""About 0.4 of daily volatility."""

DISTANCE_RANGE = (0.001, 0.2)
SIZE_RANGE_USD = (1e3, 1e12)
LEVEL_RANGE: dict[MetricKind, tuple[float, float]] = {
    "price": (1e-9, 1e9),
    "funding": (1e-5, 0.05),
    "oi": (0.005, 1.0),
    "risk": (1.0, 100.0),
    "cascade": (1e5, 1e12),
}
"""Range of a metric rule's level: USD, a fraction per 8 hours, a fraction of contracts in 24 hours, points, USD."""

ONCE = -1
REPEAT_RANGE_MS = (MINUTE_MS, 30 * DAY_MS)
LIFE_RANGE_MS = (HOUR_MS, 366 * DAY_MS)
RULE_EXAMPLE = "near 1% normal"
EXAMPLES: dict[RuleKind, str] = {
    "near": RULE_EXAMPLE,
    "entered": "entered normal",
    "swept": "swept calm",
    "price": "price 95k",
    "funding": "funding 0.05%",
    "oi": "oi 10%",
    "risk": "risk 70",
    "cascade": "cascade $50m",
}


def default_distance(asset: str) -> float:
    """Return the usual distance of a near alert for an asset, a fraction of price."""
    return DEFAULT_DISTANCE.get(asset, OTHER_DISTANCE)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a chat.

    Attributes:
        asset: None for all assets we follow.
        distance: fraction of price, None for the asset's default; only near rules have one.
        size: a tier, or USD; cluster rules only.
        level: threshold of the metric, units as LEVEL_RANGE; metric rules only.
        every_ms: repeat interval, the minimum time between two incidents; 0 for none, ONCE for a single alert ever.
        expires_at: when it ends, UTC ms; None for never.
        paused: stored, but does not fire.
        side: only clusters of this side; None for both.
    """

    id: int
    chat_id: int
    kind: RuleKind
    asset: str | None = None
    distance: float | None = None
    size: Tier | float = "normal"
    created_at: int = 0
    level: float | None = None
    every_ms: int = 0
    expires_at: int | None = None
    paused: bool = False
    side: Side | None = None

    def why_impossible(self) -> str:
        """Return why the rule is not valid, empty if it is: stored data may be damaged, or of another version."""
        if self.kind not in RULE_KINDS:
            return f"{str(self.kind)[:20]!r} is not a kind of rule"
        if self.side not in (None, "long", "short"):
            return f"{str(self.side)[:20]!r} is not a side"
        if self.is_metric:
            low, high = LEVEL_RANGE[METRIC_KINDS[METRIC_KINDS.index(self.kind)]]
            if self.level is None or not low <= self.level <= high:
                return f"{self.level} is not a level for {self.kind}"
        elif isinstance(self.size, str):
            if self.size not in TIERS:
                return f"{self.size[:20]!r} is not a size"
        elif not isinstance(self.size, int | float) or not SIZE_RANGE_USD[0] <= self.size <= SIZE_RANGE_USD[1]:
            return f"{self.size} is not a size"
        if self.distance is not None and not DISTANCE_RANGE[0] <= self.distance <= DISTANCE_RANGE[1]:
            return f"{self.distance} is not a distance"
        if not ONCE <= self.every_ms <= REPEAT_RANGE_MS[1]:
            return f"{self.every_ms} is not a repeat interval"
        return ""

    @property
    def is_metric(self) -> bool:
        """Whether it is about a metric rather than about clusters."""
        return self.kind in METRIC_KINDS

    def concerns(self, asset: str) -> bool:
        return self.asset is None or self.asset == asset

    def wants(self, side: Side) -> bool:
        """Return whether it covers clusters of a side."""
        return self.side is None or self.side == side

    def distance_for(self, asset: str) -> float:
        return self.distance if self.distance is not None else default_distance(asset)

    @property
    def text(self) -> str:
        """The rule as users write it, without its expiry."""
        if self.level is not None:
            parts = [self.kind, _level_text(self.kind, self.level)]
        else:
            size = self.size if isinstance(self.size, str) else f"${usd_text(self.size)}"
            side = f"{self.side}s" if self.side else ""
            parts = [self.kind, f"{self.distance * 100:g}%" if self.distance is not None else "", size, side]
        if self.every_ms:
            parts.append("once" if self.every_ms == ONCE else f"every {time_text(self.every_ms)}")
        return " ".join(part for part in parts if part)


def _level_text(kind: RuleKind, level: float) -> str:
    if kind == "price":
        return f"{level:,.10g}" if level >= 1000 else f"{level:.10g}"
    if kind == "cascade":
        return f"${usd_text(level)}"
    return f"{level:g}" if kind == "risk" else f"{level * 100:g}%"


def time_text(span_ms: int) -> str:
    """Return a length of time as users write it: 30m, 4h, 7d."""
    for unit, letter in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m")):
        if span_ms >= unit and span_ms % unit == 0:
            return f"{span_ms // unit}{letter}"
    return f"{span_ms / MINUTE_MS:g}m"


def as_tier(name: str) -> Tier:
    """Return the tier of a name."""
    return TIERS[TIERS.index(name)]


def usd_text(value: float) -> str:
    """Return a size as users write it: 20m, 1.5b, 750k."""
    for unit, letter in ((1e9, "b"), (1e6, "m"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


SIDE_WORDS: dict[str, Side] = {"long": "long", "longs": "long", "short": "short", "shorts": "short"}
_SIZE = re.compile(r"\$?\s*(\d{1,3}(?:[.,' ]\d{3})+|\d+(?:[.,]\d+)?)\s*([kmb]?)\s*(?:usd|\$)?", re.IGNORECASE)
_DISTANCE = re.compile(r"(\d+(?:[.,]\d+)?)\s*%")
_GROUPED = r"[1-9]\d{0,2}(?:[.,' ]\d{3})+"
_LEVEL = re.compile(rf"\$?({_GROUPED}|\d+(?:[.,]\d+)?)([kmb]?)(%?)")
_SPAN = re.compile(r"(\d{1,5})([mhd])")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}


def parse_rule(text: str, now: int = 0) -> Rule:
    """Return the rule of a text such as `near 1% normal`, `price 95k` or `funding 0.05% every 8h for 7d`.

    It has no id and no chat yet.

    Args:
        now: time from which its expiry is counted, UTC ms.

    Raises:
        InputError: naming the word that is not valid.
    """
    words = re.sub(r"(\d)\s+%", r"\1%", text.lower()).split()
    if not words or words[0] not in RULE_KINDS:
        given, kinds = words[0][:20] if words else "?", ", ".join(RULE_KINDS)
        raise InputError("A rule starts with one of {kinds}, not {word}.", RULE_EXAMPLE, kinds=kinds, word=given)
    kind: RuleKind = words[0]
    words, every_ms, expires_at = _lifecycle(words[1:], now)
    rule = _value_rule(kind, words) if kind in METRIC_KINDS else _cluster_rule(kind, words)
    if every_ms is None:
        every_ms = ONCE if kind == "price" else 0
    return replace(rule, every_ms=every_ms, expires_at=expires_at)


def _cluster_rule(kind: RuleKind, words: list[str]) -> Rule:
    distance: float | None = None
    size: Tier | float = "normal"
    side: Side | None = None
    for word in words:
        if _DISTANCE.fullmatch(word):
            distance = parse_distance(word)
        elif word in SIDE_WORDS:
            side = SIDE_WORDS[word]
        else:
            size = parse_size(word)
    if kind != "near" and distance is not None:
        raise InputError("Only near takes a distance; {kind} fires at the cluster itself.", f"{kind} normal", kind=kind)
    return Rule(0, 0, kind, distance=distance, size=size, side=side)


def _value_rule(kind: RuleKind, words: list[str]) -> Rule:
    example = EXAMPLES[kind]
    if len(words) != 1:
        raise InputError("A {kind} rule takes exactly one level.", example, kind=kind)
    match = _LEVEL.fullmatch(words[0])
    if not match or (kind in ("funding", "oi")) != (match[3] == "%"):
        raise InputError("{word!r} is not a level for {kind}.", example, word=words[0][:20], kind=kind)
    value = _number(match[1]) * (0.01 if match[3] == "%" else _UNITS[match[2]])
    low, high = LEVEL_RANGE[kind]  # type: ignore[index]  # a metric kind, see parse_rule
    if not low <= value <= high:
        raise InputError("{word} is out of range for {kind}.", example, word=words[0][:20], kind=kind)
    return Rule(0, 0, kind, level=value)


def _lifecycle(words: list[str], now: int) -> tuple[list[str], int | None, int | None]:
    """Return the other words, the repeat interval (None: not given) and the expiry, UTC ms."""
    other_words: list[str] = []
    every_ms: int | None = None
    expires_at: int | None = None
    remaining = iter(words)
    for word in remaining:
        if word == "once":
            every_ms = ONCE
        elif word == "always":
            every_ms = 0
        elif word in ("every", "for"):
            length = next(remaining, "")
            span_ms = parse_span(length, REPEAT_RANGE_MS if word == "every" else LIFE_RANGE_MS, f"{word} 4h")
            every_ms, expires_at = (span_ms, expires_at) if word == "every" else (every_ms, now + span_ms)
        else:
            other_words.append(word)
    return other_words, every_ms, expires_at


def parse_span(word: str, bounds: tuple[int, int], example: str) -> int:
    """Return a length of time such as 30m, 4h or 7d in ms.

    Raises:
        InputError: when it is not one, or out of bounds.
    """
    match = _SPAN.fullmatch(word)
    if not match:
        raise InputError("Time must look like 30m, 4h or 7d, not {word!r}.", example, word=word[:20])
    span_ms = int(match[1]) * {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}[match[2]]
    if not bounds[0] <= span_ms <= bounds[1]:
        low, high = map(time_text, bounds)
        raise InputError("Time must be {low} to {high} here.", example, low=low, high=high)
    return span_ms


def _number(digits: str) -> float:
    """Return a number written with a decimal point or comma, or grouped by thousands."""
    if re.fullmatch(_GROUPED, digits):
        return float(re.sub(r"\D", "", digits))
    return float(digits.replace(",", "."))


def parse_distance(word: str) -> float:
    """Return a distance such as 1% or 1,5% as a fraction of price.

    Raises:
        InputError: when it is not a percentage between 0.1 and 20.
    """
    match = _DISTANCE.fullmatch(word.strip())
    if not match:
        raise InputError("{word!r} is not a distance.", "1%", word=word[:20])
    value = float(match[1].replace(",", ".")) / 100
    if not DISTANCE_RANGE[0] <= value <= DISTANCE_RANGE[1]:
        raise InputError("Distance must be 0.1% to 20%, not {word}.", "1%", word=word[:20])
    return value


def parse_size(word: str) -> Tier | float:
    """Return a tier, or a size such as $20m in USD.

    Raises:
        InputError: when it is neither.
    """
    for tier in TIERS:
        if word.strip().lower() == tier:
            return tier
    match = _SIZE.fullmatch(word.strip())
    if not match:
        raise InputError("Size must be calm, normal, busy or USD, not {word!r}.", "$20m", word=word[:20])
    value = _number(match[1]) * _UNITS[match[2].lower()]
    if not SIZE_RANGE_USD[0] <= value <= SIZE_RANGE_USD[1]:
        raise InputError("Size must be $1k to $1000b, not {word}.", "$20m", word=word[:20])
    return value
