"""At what price a position is forced out.

Sources: Binance, "How to calculate liquidation price of USDⓈ-M futures contracts" (maintenance amounts);
Bybit, "Liquidation price (USDT contract)"; OKX, "Isolated margin mode, estimated liquidation price" (taker fee
added to the maintenance rate). The isolated forms without amounts follow from them by dividing by the position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import ImplausibleError
from engine.market import Kind, Side, positive, sign


@dataclass(frozen=True, slots=True)
class Tier:
    """One row of a venue's risk limits: from this notional (USD) on, this maintenance rate and amount (USD)."""

    floor_usd: float
    maintenance_rate: float
    maintenance_amount_usd: float = 0.0
    max_leverage: float = 125.0


def isolated_price(entry: float, leverage: float, side: Side, maintenance_rate: float, kind: Kind = "linear") -> float:
    """Liquidation price of an isolated position in the lowest tier, USD.

    Linear: E (1 - s/L) / (1 - s m), from margin + s Q (P - E) = m Q P.
    Inverse: E (1 + s m) / (1 + s/L), from Q/(E L) + s Q (1/E - 1/P) = m Q / P.
    s is +1 long and -1 short, m the maintenance rate with the fee where the venue adds one.

    Raises:
        ImplausibleError: when entry is not positive, leverage is below 1, or its margin does not cover m.
    """
    positive(entry, "entry")
    if not math.isfinite(leverage) or leverage < 1:
        raise ImplausibleError(f"leverage is {leverage}, expected at least 1")
    if not 0 <= maintenance_rate < 1 / leverage:
        raise ImplausibleError(f"at {leverage:g}x the margin does not cover a maintenance rate of {maintenance_rate}")
    s = sign(side)
    if kind == "linear":
        return entry * (1 - s / leverage) / (1 - s * maintenance_rate)
    if s < 0 and leverage <= 1:
        raise ImplausibleError("an inverse short at 1x is never forced out")
    return entry * (1 + s * maintenance_rate) / (1 + s / leverage)


def position_price(
    entry: float, amount_base: float, margin_usd: float, side: Side, tiers: Sequence[Tier]
) -> float | None:
    """Liquidation price of one linear position under full tiers, USD; None when it cannot be forced out.

    (margin + cum - s Q E) / (Q m - s Q), the tier being that of the notional at the liquidation price.

    Raises:
        ImplausibleError: when a figure is not positive or there is no tier.
    """
    positive(entry, "entry")
    positive(amount_base, "amount")
    positive(margin_usd, "margin")
    if not tiers:
        raise ImplausibleError("no maintenance tiers are known")
    s = sign(side)
    ordered = sorted(tiers, key=lambda tier: tier.floor_usd)
    ceilings = [tier.floor_usd for tier in ordered[1:]] + [math.inf]
    for tier, ceiling in zip(ordered, ceilings, strict=True):
        price = (margin_usd + tier.maintenance_amount_usd - s * amount_base * entry) / (
            amount_base * tier.maintenance_rate - s * amount_base
        )
        if price > 0 and tier.floor_usd <= amount_base * price <= ceiling:
            return price
    return None
