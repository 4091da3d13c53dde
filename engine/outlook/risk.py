"""A simple risk score of an asset from 0 to 100: the mean of its available parts, each from 0 to 1.

It measures how leveraged and how crowded the market is, not where price goes. It is not fitted, and not yet validated
against later prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FUNDING_FULL = 0.0005
"""Funding per 8 hours, either sign, that counts as extreme."""

NEAR_FULL = 3.0
"""Multiple of the baseline within an alert's distance that counts as extreme."""

RECENT_FULL = 10.0
"""Liquidations of the last hour that count as extreme, as a multiple of the last day's hourly mean."""

MIN_PARTS = 3


@dataclass(frozen=True, slots=True)
class Risk:
    """A score with its parts.

    Attributes:
        score: 0 to 100.
        parts: by name, 0 to 1. Unknown parts are omitted.
    """

    score: float
    parts: Mapping[str, float]


def risk(
    interest_rank: float | None,
    funding_rate: float | None,
    near_ratio: float | None,
    forced_usd: tuple[float, float] | None,
    recent_ratio: float | None,
) -> Risk | None:
    """Return the score, or None if fewer than three parts are available.

    Args:
        interest_rank: share of the last 30 days with less open interest than now.
        funding_rate: per 8 hours, a fraction.
        near_ratio: F within an alert's distance over its baseline, the larger of both sides.
        forced_usd: F within some distance, longs and shorts, USD, for one-sidedness.
        recent_ratio: liquidations of the last hour over the last day's hourly mean.
    """
    parts: dict[str, float] = {}
    if interest_rank is not None:
        parts["open interest"] = interest_rank
    if funding_rate is not None:
        parts["funding"] = min(abs(funding_rate) / FUNDING_FULL, 1.0)
    if near_ratio is not None:
        parts["mass near price"] = min(near_ratio / NEAR_FULL, 1.0)
    if forced_usd is not None and forced_usd[0] + forced_usd[1] > 0:
        longs, shorts = forced_usd
        parts["one-sidedness"] = abs(longs - shorts) / (longs + shorts)
    if recent_ratio is not None:
        parts["forced of late"] = min(recent_ratio / RECENT_FULL, 1.0)
    if len(parts) < MIN_PARTS:
        return None
    return Risk(100 * sum(parts.values()) / len(parts), parts)
