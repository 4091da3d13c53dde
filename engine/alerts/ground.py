"""Ground that price enters though nobody has traded there for long: nothing is denser than its surroundings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.alerts.rules import Tier
from engine.liquidation.grid import BIN, bin_of, outward, price_of
from engine.liquidation.traded import TradedLevels
from engine.market import DAY_MS, Side

UNTRADED_DAYS: dict[Tier, int] = {"calm": 30, "normal": 7, "busy": 2}
"""For how many days nobody must have traded there."""

SLACK_MS = DAY_MS // 4
"""How much less counts too: history as venues keep it is hours short of thirty days."""

REACH = 800
"""Levels outward in which the next traded one is looked for: to 40 %."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A stretch of levels that nobody has traded for so many days.

    Attributes:
        side: whose positions lie there: longs below price, shorts above.
        days: for how long at least, a tier's number.
        entry_price: where price came into it, USD.
        far_price: where it ends at the next level that was traded, USD; None where none is within reach.
        all_known: nobody has traded there since watching began.
    """

    side: Side
    days: int
    entry_price: float
    far_price: float | None
    all_known: bool


def ground_from(traded: TradedLevels, side: Side, price: float, days: int, now: int, width: float) -> Ground | None:
    """Return the untraded stretch that begins at a price and goes outward; None where it is none, or narrower.

    Args:
        width: log distance that it must reach at least.
    """
    since = traded.since
    before = now - days * DAY_MS + SLACK_MS
    if since is None or since > before:
        return None  # not watched for so long
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
    """Return the untraded stretch that a path of prices came into; None where it came into none.

    Args:
        path: prices oldest first, the last tick's at its head.
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
    # The level's own side of the edge: a price on the edge lies in the level above it.
    inside = price * (1 - BIN / 10) if side == "long" else price * (1 + BIN / 10)
    return ground_from(traded, side, inside, days, now, width)
