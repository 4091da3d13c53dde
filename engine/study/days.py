"""Bootstrap intervals over whole days, because events within one day are correlated."""

from __future__ import annotations

import numpy as np

from engine.market import DAY_MS

RESAMPLES = 400
QUANTILES = (0.05, 0.95)


def day_weights(at: np.ndarray) -> np.ndarray:
    """Return how often each row counts in each resample of days, (RESAMPLES, n) float64.

    Args:
        at: (n,) int64, UTC ms.
    """
    names, which = np.unique(at // DAY_MS, return_inverse=True)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    weights: np.ndarray = drawn[:, which].astype(np.float64)
    return weights


def middle(values: np.ndarray) -> list[float]:
    """Return the bounds of the middle 90 % of resampled values."""
    return [round(float(value), 3) for value in np.nanquantile(values, QUANTILES)]
