"""The kernel distributes leverage within the market's own margin rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.liquidation.grid import BIN
from engine.liquidation.kernel import weights
from engine.liquidation.margin import isolated_price
from engine.market import SIDES, Kind, Side


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_weights_are_a_distribution(side: Side, kind: Kind) -> None:
    kernel = weights(side, kind, 0.005, 100.0)
    assert kernel.sum() == pytest.approx(1)
    assert (kernel >= 0).all()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_nothing_is_nearer_than_the_highest_leverage(side: Side, kind: Kind) -> None:
    kernel = weights(side, kind, 0.005, 100.0)
    nearest = abs(math.log(isolated_price(100, 100, side, 0.005, kind) / 100))
    first = int(np.flatnonzero(kernel)[0])
    assert first * BIN <= nearest < (first + 2) * BIN


@pytest.mark.parametrize(("share", "leverage"), [(0.1, 48), (0.25, 18.5), (0.5, 8.3)])
def test_leverage_is_somewhat_above_hyperliquids(share: float, leverage: float) -> None:
    kernel = weights("long", "linear", 0.004, 1000.0)
    distance = float(np.searchsorted(np.cumsum(kernel), share)) * BIN
    meant = 1 / (1 - 0.996 * math.exp(-distance))
    assert leverage < meant < leverage * 1.6
