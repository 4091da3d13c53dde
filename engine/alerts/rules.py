"""Rules as data, and their text form: for which chat, about what, how near and how large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, Side
from engine.units import time_text, usd_text

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


def as_tier(name: str) -> Tier:
    """Return the tier of a name."""
    return TIERS[TIERS.index(name)]
