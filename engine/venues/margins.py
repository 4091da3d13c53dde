"""Margin rules of the lowest tier until a venue's own are read: a table, and a rule for other markets.

Compiled in March 2026 from the venues' public pages on leverage and margin.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MarginRules:
    """Maintenance rate, a fraction of notional, and maximum leverage."""

    maintenance_rate: float
    max_leverage: float


_KNOWN = {
    ("binanceusdm", "BTC"): MarginRules(0.004, 125.0),
    ("binanceusdm", "ETH"): MarginRules(0.004, 125.0),
    ("binanceusdm", "SOL"): MarginRules(0.005, 100.0),
    ("binancecoinm", "BTC"): MarginRules(0.004, 125.0),
    ("binancecoinm", "ETH"): MarginRules(0.005, 100.0),
    ("bybit", "BTC"): MarginRules(0.005, 100.0),
    ("bybit", "ETH"): MarginRules(0.005, 100.0),
    ("bybit", "SOL"): MarginRules(0.005, 100.0),
    ("okx", "BTC"): MarginRules(0.004, 100.0),
    ("okx", "ETH"): MarginRules(0.004, 100.0),
    ("okx", "SOL"): MarginRules(0.0065, 50.0),
}
_OTHERS = MarginRules(0.01, 50.0)


def margin_rules(venue: str, asset: str, offered: float | None = None) -> MarginRules:
    """Return the rules of a market's lowest tier.

    Without an entry in the table: half the initial margin at the highest leverage the venue offers, which is
    Hyperliquid's rule and about right for most venues' lowest tiers. Without that leverage: those of a typical small
    coin.
    """
    rules = _KNOWN.get((venue, asset))
    if rules is not None:
        return MarginRules(rules.maintenance_rate, offered or rules.max_leverage)
    return MarginRules(0.5 / offered, offered) if offered and offered > 1 else _OTHERS
