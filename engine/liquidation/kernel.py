"""Where new positions get liquidated: the prior over leverage, turned into distances by a market's margin rules."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from engine.liquidation.grid import BIN, WINDOW
from engine.liquidation.prior import MAP, REFERENCE_MAINTENANCE, MapPrior
from engine.market import Kind, Market, Side


@lru_cache(maxsize=512)
def weights(side: Side, kind: Kind, maintenance: float, max_leverage: float, prior: MapPrior = MAP) -> np.ndarray:
    """Return the share of an entry liquidated in each level outward from it, (WINDOW,) float64, sums to 1.

    The kernel is a lognormal over the distance x that a leverage L has under the reference tier,
    1/L = 1 - (1 - m0) exp(-x).
    Other maintenance rates, the short side and inverse contracts map the same leverage to other distances.
    Leverages that the market does not offer get no weight.
    """
    edges = np.arange(WINDOW + 1) * BIN
    inverse_leverage = _inverse_leverage(side, kind, maintenance, edges)
    offered = np.clip(inverse_leverage, 1 / max_leverage, None)
    # A margin of 1 or more means a leverage of at most 1: beyond the far end of the kernel on every venue.
    inside = np.clip(offered, 1e-12, 1 - 1e-12)
    reference = -np.log((1 - inside) / (1 - REFERENCE_MAINTENANCE))
    share = np.array([_cumulative(x, prior) for x in reference])
    result = np.diff(share)
    result /= result.sum()
    result.setflags(write=False)
    return result


def for_market(market: Market, side: Side, prior: MapPrior = MAP) -> np.ndarray:
    """Return the kernel of one side of a market, (WINDOW,) float64, sums to 1."""
    return weights(side, market.kind, market.maintenance_rate + market.fee_rate, market.max_leverage, prior)


def _inverse_leverage(side: Side, kind: Kind, maintenance: float, distance: np.ndarray) -> np.ndarray:
    """Return 1/L of isolated positions liquidated at a log distance: margin.isolated_price solved for L."""
    s = 1 if side == "long" else -1
    if kind == "linear":
        share: np.ndarray = s * (1 - np.exp(-s * distance) * (1 - s * maintenance))
    else:
        share = s * ((1 + s * maintenance) * np.exp(s * distance) - 1)
    return share


def _cumulative(distance: float, prior: MapPrior) -> float:
    """Return the lognormal distribution function cut to the kernel's range, 0 before it and 1 after it."""
    first, last = prior.kernel_range
    low, high, here = (_lognormal(x, prior) for x in (first, last, min(max(distance, first), last)))
    return (here - low) / (high - low)


def _lognormal(x: float, prior: MapPrior) -> float:
    return 0.5 * (1 + math.erf(math.log(x / prior.kernel_median) / (prior.kernel_sigma * math.sqrt(2))))
