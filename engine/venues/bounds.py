"""Plausibility bounds for liquidation orders, the same for every venue's feed."""

from __future__ import annotations

import math

from engine.market import DAY_MS, MINUTE_MS, Liquidation, Sample

OLDEST_MS = 2 * DAY_MS
AHEAD_MS = 5 * MINUTE_MS
"""How far an order's time may be ahead of this machine's clock."""

PRICE_FACTOR = 3.0
"""How many times an order's price may differ from the mark: bankruptcy prices are beyond it, and a crash is fast."""

MAX_USD_UNKNOWN = 1e9
"""Largest plausible order in a market whose open interest is unknown, USD."""


def why_impossible(order: Liquidation, now: int, sample: Sample | None) -> str:
    """Return why an order cannot have happened as reported, or an empty string if it can.

    Args:
        now: UTC ms.
        sample: the market's last sample. Without one (None) we check only the order's own time and size.
    """
    if not now - OLDEST_MS <= order.at <= now + AHEAD_MS:
        return "its time is too old or in the future"
    usd = order.notional_usd
    if not math.isfinite(usd) or usd <= 0:
        return "its size is not a positive number"
    if sample is None:
        return "it is implausibly large" if usd > MAX_USD_UNKNOWN else ""
    low, high = min(sample.mark, sample.bar_low), max(sample.mark, sample.bar_high)
    if not low / PRICE_FACTOR <= order.price <= high * PRICE_FACTOR:
        return "its price is far from the mark"
    if order.contracts > sample.contracts:
        return "it is larger than the market's open interest"
    return ""
