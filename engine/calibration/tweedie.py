"""Tweedie regression with a log link: fits the map to reported liquidations and scores the fit.

Most hourly liquidations are zero or small and a few are enormous; a Tweedie deviance of power 1.5 accounts for both.
Source: Dunn and Smyth, "Series evaluation of Tweedie exponential dispersion model densities" (2005). The fit is by
iteratively reweighted least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POWER = 1.5
FLOOR_USD = 1e3
"""Lower limit of predictions: the deviance is infinite at zero."""

CEILING_USD = 1e11
STEPS = 60
ENOUGH = 1e-8


def deviance(mean: np.ndarray, seen: np.ndarray) -> float:
    """Return the summed Tweedie deviance of power 1.5 of two arrays of one shape, USD."""
    mean = np.maximum(mean, FLOOR_USD)
    a, b = 1 - POWER, 2 - POWER
    return float(2 * (seen**b / (a * b) - seen * mean**a / a + mean**b / b).sum())


@dataclass(frozen=True)
class Fit:
    """A fitted regression.

    Attributes:
        coefficients: (k,) float64 in natural units. The first column of features is 1.
        centre, scale: (k,) float64, mean and spread of the feature columns.
    """

    coefficients: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return expected USD for features (..., k)."""
        eta = features @ self.coefficients
        predicted: np.ndarray = np.exp(np.clip(eta, np.log(FLOOR_USD), np.log(CEILING_USD)))
        return predicted


def fit(features: np.ndarray, seen: np.ndarray, weights: np.ndarray, ridge: float, start: Fit | None = None) -> Fit:
    """Fit by iteratively reweighted least squares. Return the fit.

    Args:
        features: (n, k) float64, the first column 1.
        seen: (n,) float64, USD.
        weights: (n,) float64, 0 leaves a row out.
        ridge: penalty on the standardised coefficients except the first, per unit of weight.
        start: starting point, such as the previous fit.

    Raises:
        ValueError: when nothing was liquidated in the weighted rows.
    """
    total = weights.sum()
    if not total or not (weights * seen).sum():
        raise ValueError("nothing was liquidated in the rows to fit")
    centre = weights @ features / total
    scale = np.sqrt(weights @ (features - centre) ** 2 / total)
    centre[0], scale[0] = 0.0, 1.0
    scale = np.maximum(scale, 1e-9)
    columns = (features - centre) / scale
    pull = ridge * total * np.eye(features.shape[1])
    pull[0, 0] = 0.0
    beta = np.zeros(features.shape[1])
    beta[0] = np.log(weights @ seen / total)
    if start is not None:
        beta[1:] = start.coefficients[1:] * scale[1:]
        beta[0] = start.coefficients[0] + start.coefficients[1:] @ centre[1:]
    for _ in range(STEPS):
        eta = np.clip(columns @ beta, np.log(FLOOR_USD), np.log(CEILING_USD))
        mean = np.exp(eta)
        curvature = mean ** (2 - POWER)
        curvature *= weights / (weights @ curvature / total)
        target = eta + (seen - mean) / mean
        weighted = columns * curvature[:, None]
        step = np.linalg.solve(columns.T @ weighted + pull, weighted.T @ target) - beta
        beta = beta + np.clip(step, -1, 1)
        if np.abs(step).max() < ENOUGH:
            break
    natural = beta / scale
    natural[0] = beta[0] - natural[1:] @ centre[1:]
    return Fit(natural, centre, scale)
