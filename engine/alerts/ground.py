"""Untraded ground: levels that price enters and that have not traded for long, cluster or not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.alerts.rules import Tier
from engine.liquidation.grid import BIN, bin_of, outward, price_of
from engine.liquidation.traded import TradedLevels
from engine.market import DAY_MS, Side

UNTRADED_DAYS: dict[Tier, int] = {"calm": 30, "normal": 7, "busy": 2}
"""Days for which levels must not have traded, by tier."""

SLACK_MS = DAY_MS // 4
"""Tolerance on these days: the history that venues keep is hours short of thirty days."""

REACH = 800
"""Levels outward that are searched for the next traded one: to 40 %."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A stretch of levels that have not traded for some days.

    Attributes:
        side: whose positions are there: longs below price, shorts above.
        days: minimum number of days without a trade, that of a tier.
        entry_price: where price entered it, USD.
        far_price: where it ends, at the next traded level, USD; None if no such level is within reach.
        all_known: no trade there since recording began.
    """

    side: Side
    days: int
    entry_price: float
    far_price: float | None
    all_known: bool


def ground_from(traded: TradedLevels, side: Side, price: float, days: int, now: int, width: float) -> Ground | None:
    """Return the untraded stretch that goes outward from a price, or None if there is none or it is too narrow.

    Args:
        width: minimum width, log distance.
    """
    since = traded.since
    before = now - days * DAY_MS + SLACK_MS
    if since is None or since > before:
        return None  # recording began too recently
    level = bin_of(price)
    step = outward(side, 1)
    count = traded.untraded(level, step, before, REACH)
    if count * BIN < width:
        return None
    end = level + step * count
    far = None if count >= REACH else price_of(end + 1 if side == "long" else end)
    ends = (level, end - step)
    return Ground(side, days, price, far, traded.last(min(ends), max(ends)) is None)


def entered(
    traded: TradedLevels, side: Side, path: Sequence[float], days: int, now: int, width: float
) -> Ground | None:
    """Return the untraded stretch that a path of prices entered, or None.

    Args:
        path: prices since the last tick, USD, oldest first, starting with that of the last tick.
    """
    extreme = min(path) if side == "long" else max(path)
    start, end, step = bin_of(path[0]), bin_of(extreme), outward(side, 1)
    if (end - start) * step <= 0:
        return None
    before = now - days * DAY_MS + SLACK_MS
    ahead = traded.first_untraded(start + step, end, before)
    if ahead is None:
        return None
    price = price_of(ahead + 1 if side == "long" else ahead)
    # Move off the edge into the level: a price on the edge belongs to the level above it.
    inside = price * (1 - BIN / 10) if side == "long" else price * (1 + BIN / 10)
    return ground_from(traded, side, inside, days, now, width)
