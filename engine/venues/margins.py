"""Margin rules of the lowest tier, for venues and coins whose own are not read: a dated table."""

from __future__ import annotations

from dataclasses import dataclass

AS_OF = "2026-03"
"""When the table was put together, from the venues' public pages on leverage and margin."""


@dataclass(frozen=True, slots=True)
class MarginRules:
    """Maintenance rate and what is added to it at liquidation, fractions of notional; maximum leverage."""

    maintenance_rate: float
    fee_rate: float
    max_leverage: float


OKX_TAKER = 0.0005
"""OKX counts the taker fee to the maintenance margin."""

_KNOWN = {
    ("binanceusdm", "BTC"): MarginRules(0.004, 0.0, 125.0),
    ("binanceusdm", "ETH"): MarginRules(0.004, 0.0, 125.0),
    ("binanceusdm", "SOL"): MarginRules(0.005, 0.0, 100.0),
    ("bybit", "BTC"): MarginRules(0.005, 0.0, 100.0),
    ("bybit", "ETH"): MarginRules(0.005, 0.0, 100.0),
    ("bybit", "SOL"): MarginRules(0.005, 0.0, 100.0),
    ("okx", "BTC"): MarginRules(0.004, OKX_TAKER, 100.0),
    ("okx", "ETH"): MarginRules(0.004, OKX_TAKER, 100.0),
    ("okx", "SOL"): MarginRules(0.0065, OKX_TAKER, 50.0),
}
_OTHERS = MarginRules(0.01, 0.0, 50.0)


def margin_rules(venue: str, asset: str) -> MarginRules:
    """The rules of a market's lowest tier; those of a usual small coin where they are not in the table."""
    return _KNOWN.get((venue, asset), _OTHERS)
