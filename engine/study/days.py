"""Intervals over resampled days: what happens within one day hangs together."""

from __future__ import annotations

import numpy as np

from engine.market import DAY_MS

RESAMPLES = 400
QUANTILES = (0.05, 0.95)


def day_weights(at: np.ndarray) -> np.ndarray:
    """How often each row counts in each resampling of the days, (RESAMPLES, n) float64.

    Args:
        at: (n,) int64, UTC ms.
    """
    names, which = np.unique(at // DAY_MS, return_inverse=True)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    weights: np.ndarray = drawn[:, which].astype(np.float64)
    return weights


def middle(values: np.ndarray) -> list[float]:
    """The middle 90 % of what was drawn."""
    return [round(float(value), 3) for value in np.nanquantile(values, QUANTILES)]
