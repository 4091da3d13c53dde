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
    """How positions come, are spread over levels, and leave.

    Attributes:
        turnover_per_hour: share of open interest opened and closed again in an hour beyond what open interest shows.
        range_share: share of the range of open interest within a bar, less its change, that counts as turnover.
        exit_urge, exit_reach: how much more readily positions leave at their forced price than far from it, and the
            log distance over which that fades by e: stops, added margin and second thoughts come before the exchange.
        kernel_median, kernel_sigma, kernel_range: log distance at which positions are taken to be forced out, a
            lognormal, cut and normalised to the range. It puts the median leverage at 13, the upper quartile at 27 and
            the 90th percentile at 52. What is known of isolated positions on Hyperliquid, weighted by notional, is
            8.3, 18.5 and 48; other venues offer more leverage than it does.
    """

    turnover_per_hour: float = 0.002
    range_share: float = 0.5
    exit_urge: float = 10.0
    exit_reach: float = 0.05
    kernel_median: float = 0.10
    kernel_sigma: float = 1.35
    kernel_range: tuple[float, float] = (0.002, 0.4)


MAP = MapPrior()


@dataclass(frozen=True, slots=True)
class HourlyPrior:
    """The bare tie's coefficients, for hours and assets with too few reports of their own.

    Attributes:
        until: end of the hours it was fitted on, UTC ms; it says nothing of hours before.
        mean_log_held: mean log of what the map held there at the levels an hour reached, USD.
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
"""The lowest tier under which the kernel was fitted (Binance BTCUSDT): a distance there stands for a leverage."""

VENUE_SHARE = {"binanceusdm": 0.615, "bybit": 0.184, "okx": 0.201}
"""Usual share of the three venues' open interest in Bitcoin, each contract counted once: of 0.52, 0.31 and 0.17 that
were measured while Bybit's figures counted both sides, its half."""

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
