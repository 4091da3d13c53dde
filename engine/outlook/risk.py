"""Risk of an asset from 0 to 100, in a plain version: the mean of what is known of it, each part from 0 to 1.

It says how much leverage stands about and how crowded it is, not where price goes. It is not fitted, and not yet held
against what followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FUNDING_FULL = 0.0005
"""Funding per 8 hours, on either side, that counts as extreme."""

NEAR_FULL = 3.0
"""Times the usual amount within an alert's distance that counts as extreme."""

RECENT_FULL = 10.0
"""Times a day's hourly mean of forced orders within the last hour that counts as extreme."""

MIN_PARTS = 3


@dataclass(frozen=True, slots=True)
class Risk:
    """A score with its parts.

    Attributes:
        score: 0 to 100.
        parts: by name, 0 to 1; what is not known is left out.
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
    """The score, None where fewer than three parts are known.

    Args:
        interest_rank: share of the last 30 days with less open interest than now.
        funding_rate: per 8 hours, a fraction.
        near_ratio: forced_usd within an alert's distance over what is usual there, of the side where it is larger.
        forced_usd: forced_usd within some distance, longs and shorts: how one-sided it is.
        recent_ratio: forced orders of the last hour over the last day's hourly mean.
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
