"""The kernel puts leverage where the market's own rules do."""

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
    found = weights(side, kind, 0.005, 100.0)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_nothing_lies_nearer_than_the_highest_leverage(side: Side, kind: Kind) -> None:
    found = weights(side, kind, 0.005, 100.0)
    nearest = abs(math.log(isolated_price(100, 100, side, 0.005, kind) / 100))
    first = int(np.flatnonzero(found)[0])
    assert first * BIN <= nearest < (first + 2) * BIN


def test_on_the_reference_market_the_long_kernel_has_its_median_at_eight_percent() -> None:
    found = weights("long", "linear", 0.004, 1000.0)
    median = np.searchsorted(np.cumsum(found), 0.5) * BIN
    # Cut to 0.2-40 %, the lognormal's median of 8 % moves in to about 7 %.
    assert 0.06 < median < 0.08
