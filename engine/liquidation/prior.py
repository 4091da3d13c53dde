"""Coefficients that ship with the project: fitted on recorded hourly Bitcoin, 4 December 2025 to 31 March 2026.

They are a prior, not a fit of what is being watched: answers say so until there is a track record.
One venue's open interest (Binance) was seen against three venues' liquidation feeds (Binance, Bybit, OKX).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.market import Side


@dataclass(frozen=True, slots=True)
class ForcedPrior:
    """F(P) = scale · side · [M + near_boost · min(M, M10) + ground · OI · (d / 1 %)^ground_power]."""

    fitted_until: str = "2026-03-31"
    scale: float = 0.034
    long_factor: float = 1.0
    short_factor: float = 0.80
    near_boost: float = 8.0
    near_distance: float = 0.001
    ground: float = 0.0083
    ground_power: float = 1.66

    def side_factor(self, side: Side) -> float:
        return self.long_factor if side == "long" else self.short_factor


FORCED = ForcedPrior()

TURNOVER_PER_HOUR = 0.002
"""Share of open interest that is opened and closed again in an hour beyond what open interest itself shows."""

RANGE_SHARE = 0.5
"""Share of the range of open interest within a bar, less its change, that counts as turnover."""

KERNEL_MEDIAN = 0.08
KERNEL_SIGMA = 1.5
KERNEL_RANGE = (0.002, 0.4)
"""Log distance at which positions are taken to be forced out: a lognormal, cut and normalised to this range."""

REFERENCE_MAINTENANCE = 0.004
"""The lowest tier under which the kernel was fitted (Binance BTCUSDT): a distance there stands for a leverage."""

VENUE_SHARE = {"binanceusdm": 0.52, "bybit": 0.31, "okx": 0.17}
"""Usual share of the three venues' open interest in Bitcoin."""

REPORTING = frozenset({*VENUE_SHARE, ""})
"""Whose feeds F speaks of; what does not name its venue is taken to be theirs."""

BAND_DISTANCES = (0.0037, 0.007, 0.012, 0.02, 0.03)
BAND_LOW = (0.13, 0.33, 0.49, 0.54, 0.54)
BAND_HIGH = (3.0, 2.2, 1.8, 1.65, 1.6)
BAND_WIDER_BEYOND = 0.03
BAND_WIDER_BY = 1.15
"""80 % band as factors of F over log distance, from refits on four months of Bitcoin."""


def scale_for(interest_usd: Mapping[str, float], scale: float = FORCED.scale) -> float:
    """The scale that makes F mean "what the feeds of Binance, Bybit and OKX report", from these venues' interest.

    It was fitted with Binance's open interest alone. Those of the three that are in the sum say, by their usual
    shares, what Binance's would be; all venues together give the shape, and are scaled to that amount. Without any
    of the three nothing is known of that ratio: the sum is taken as if it were Binance's.
    """
    share = sum(VENUE_SHARE[venue] for venue in interest_usd if venue in VENUE_SHARE)
    total = sum(interest_usd.values())
    if not share or not total:
        return scale
    of_three = sum(usd for venue, usd in interest_usd.items() if venue in VENUE_SHARE)
    return scale * VENUE_SHARE["binanceusdm"] * of_three / share / total
