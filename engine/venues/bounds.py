"""What a forced order can be: bounds for what a feed reports, whichever venue it is of."""

from __future__ import annotations

import math

from engine.market import DAY_MS, MINUTE_MS, Liquidation, Sample

OLDEST_MS = 2 * DAY_MS
AHEAD_MS = 5 * MINUTE_MS
"""An order's time may be this far ahead of this machine's clock."""

PRICE_FACTOR = 3.0
"""How far an order's price may be from the market's last mark: bankruptcy prices lie beyond it, and a crash runs."""

MAX_USD_UNKNOWN = 1e9
"""The largest order that is believed of a market whose open interest is not known."""


def why_impossible(order: Liquidation, now: int, sample: Sample | None) -> str:
    """Return why an order cannot have happened as reported, empty where it can.

    Args:
        now: UTC ms.
        sample: the market's last figures, None where there are none yet: then the order's own must do.
    """
    if not now - OLDEST_MS <= order.at <= now + AHEAD_MS:
        return "its time is not of now"
    usd = order.notional_usd
    if not math.isfinite(usd) or usd <= 0:
        return "its size is none"
    if sample is None:
        return "it is larger than any" if usd > MAX_USD_UNKNOWN else ""
    low, high = min(sample.mark, sample.bar_low), max(sample.mark, sample.bar_high)
    if not low / PRICE_FACTOR <= order.price <= high * PRICE_FACTOR:
        return "its price is far from the mark"
    if order.contracts > sample.contracts:
        return "it is larger than the market"
    return ""
