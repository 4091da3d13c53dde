"""Coefficients that ship with the project: fitted on recorded hourly Bitcoin, 4 December 2025 to 31 March 2026.

They are a prior, not a fit to the tracked asset: answers say so until there is a track record.
The fit related one venue's open interest (Binance) to three venues' liquidation feeds (Binance, Bybit, OKX).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.market import Side


@dataclass(frozen=True, slots=True)
class ForcedPrior:
    """F(P) = scale · side · [M + near_boost · min(M, M10) + ground · OI · (d / 1 %)^ground_power]."""

    fitted_until: str = "2026-03-31"
    scale: float = 0.058
    long_factor: float = 1.0
    short_factor: float = 0.83
    near_boost: float = 6.1
    near_distance: float = 0.001
    ground: float = 0.0046
    ground_power: float = 1.60

    def side_factor(self, side: Side) -> float:
        return self.long_factor if side == "long" else self.short_factor


FORCED = ForcedPrior()


@dataclass(frozen=True, slots=True)
class MapPrior:
    """How positions are opened, spread over levels and closed.

    Attributes:
        turnover_per_hour: share of open interest opened and closed within an hour without changing open interest.
        range_share: share of the range of open interest within a bar, less its change, that counts as turnover.
        exit_urge, exit_reach: extra exit weight of positions at their liquidation price over those far from it, and
            the log distance over which it falls by e. Stops, added margin and early exits precede liquidation.
        kernel_median, kernel_sigma, kernel_range: lognormal over the log distance at which positions get liquidated,
            cut and normalised to the range. It puts the median leverage at 13, the upper quartile at 27 and the 90th
            percentile at 52. Isolated positions on Hyperliquid, weighted by notional, have 8.3, 18.5 and 48; other
            venues offer more leverage.
    """

    turnover_per_hour: float = 0.002
    range_share: float = 0.5
    exit_hazard: float = 10.0
    exit_reach: float = 0.05
    kernel_median: float = 0.10
    kernel_sigma: float = 1.35
    kernel_range: tuple[float, float] = (0.002, 0.4)


MAP = MapPrior()


@dataclass(frozen=True, slots=True)
class HourlyPrior:
    """Coefficients of the hourly model without its level, for hours and assets with too few reports of their own.

    Attributes:
        until: end of the hours it was fitted on, UTC ms. It makes no predictions for earlier hours.
        mean_log_held: mean log of the USD on the map at levels an hour reached, in the data it was fitted on.
        coefficients: in the order of engine.calibration.hourly_model, natural units.
    """

    until: int
    mean_log_held: float
    coefficients: tuple[float, ...]


TIE = HourlyPrior(
    until=1_775_001_600_000,
    mean_log_held=11.9682,
    coefficients=(
        *(11.375, 1.3156, 0.379, 2.3462, -0.9919, 0.9984, -0.8449, -0.5107, -0.0941, -0.0659, -0.1161),
        *(0.0456, 0.0652, 0.0459, 0.0483, 0.0228, 0.1038),
        *(0.2338, 0.0161, -0.21, -0.0269),
    ),
)
"""Fitted to recorded hourly Bitcoin until the end of March 2026; `make bench ARGS=variants` prints it."""

REFERENCE_MAINTENANCE = 0.004
"""Maintenance rate of the lowest Binance BTCUSDT tier, for which the kernel was fitted over distance."""

VENUE_SHARE = {"binanceusdm": 0.615, "bybit": 0.184, "okx": 0.201}
"""Typical shares of the three venues in their Bitcoin open interest, each contract counted once.

Measured as 0.52, 0.31 and 0.17, but Bybit's figure counted both sides, so it is halved."""

REPORTING = frozenset({*VENUE_SHARE, ""})
"""Venues whose feeds F predicts. Reports without a venue count as theirs."""

BAND_DISTANCES = (0.0037, 0.007, 0.012, 0.02, 0.03)
BAND_LOW = (0.13, 0.33, 0.49, 0.54, 0.54)
BAND_HIGH = (3.0, 2.2, 1.8, 1.65, 1.6)
BAND_WIDER_BEYOND = 0.03
BAND_WIDER_BY = 1.15
"""80 % band as factors of F over log distance, from refits on four months of Bitcoin."""


def scale_for(interest_usd: Mapping[str, float], scale: float = FORCED.scale) -> float:
    """Return the scale that makes F predict the feeds of Binance, Bybit and OKX, given each venue's open interest.

    The scale was fitted to Binance's open interest alone. Binance's amount is estimated from those of the three that
    are present and their typical shares; the sum over all venues gives the shape and is scaled to that amount. With
    none of the three present, the sum is treated as Binance's.
    """
    share = sum(VENUE_SHARE[venue] for venue in interest_usd if venue in VENUE_SHARE)
    total = sum(interest_usd.values())
    if not share or not total:
        return scale
    of_three = sum(usd for venue, usd in interest_usd.items() if venue in VENUE_SHARE)
    return scale * VENUE_SHARE["binanceusdm"] * of_three / share / total
