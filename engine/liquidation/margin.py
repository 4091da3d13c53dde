"""Liquidation price of a position.

Sources: Binance, "How to calculate liquidation price of USDⓈ-M futures contracts" (maintenance amounts). Bybit,
"Liquidation price (USDT contract)" (maintenance of the value at entry). OKX, "Isolated margin mode, estimated
liquidation price", and Gate, "Liquidation price" (taker fee added to the maintenance rate). Hyperliquid, "Liquidations"
(half the initial margin at maximum leverage). Kraken, "Equity protection process". HTX, "Margin ratio" (adjustment
factor over leverage in place of a rate). The isolated forms without amounts follow by dividing by the position. The
venues' published examples are tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import ImplausibleError
from engine.market import Kind, Market, Side, positive, sign

EDGE = 1e-9


@dataclass(frozen=True, slots=True)
class Tier:
    """One row of a venue's risk limits: maintenance rate and amount from a notional on.

    Notional and amount are in the settlement currency: USD if linear, coins if inverse.
    """

    floor: float
    maintenance_rate: float
    maintenance_amount: float = 0.0
    max_leverage: float = 125.0


def with_amounts(tiers: Sequence[Tier]) -> list[Tier]:
    """Return tiers, lowest first, with the maintenance amounts that make the margin rise without a jump.

    Each amount is the one below plus floor · (rate - rate below). Venues publish only the rates; the formula is from
    Binance, "How to calculate liquidation price of COIN-M futures contracts", maintenance amount.
    """
    completed: list[Tier] = []
    for tier in sorted(tiers, key=lambda row: row.floor):
        below = completed[-1] if completed else replace(tier, floor=0.0, maintenance_amount=0.0)
        amount = below.maintenance_amount + tier.floor * (tier.maintenance_rate - below.maintenance_rate)
        completed.append(replace(tier, maintenance_amount=amount))
    return completed


def isolated_price(entry: float, leverage: float, side: Side, maintenance_rate: float, kind: Kind = "linear") -> float:
    """Return the liquidation price of an isolated position in the lowest tier, USD.

    Linear: E (1 - s/L) / (1 - s m), from margin + s Q (P - E) = m Q P.
    Inverse: E (1 + s m) / (1 + s/L), from Q/(E L) + s Q (1/E - 1/P) = m Q / P.
    s is +1 long and -1 short, m the maintenance rate, plus the fee if the venue adds one.

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
        raise ImplausibleError("an inverse short at 1x is never liquidated")
    return entry * (1 + s * maintenance_rate) / (1 + s / leverage)


def valued_at_entry(market: Market) -> bool:
    """Return True if the venue applies the maintenance rate to the value at entry, not at the liquidation price."""
    return market.venue == "bybit" and market.kind == "linear"


def position_price(
    entry: float,
    amount: float,
    margin: float,
    side: Side,
    tiers: Sequence[Tier],
    kind: Kind = "linear",
    fee_rate: float = 0.0,
    *,
    at_entry: bool = False,
) -> float | None:
    """Return the liquidation price of a position under all tiers, USD, or None if it cannot be liquidated.

    Linear, amount Q in coins, margin W in USD: (W + cum - s Q E) / (Q m - s Q), from W + s Q (P - E) = m Q P - cum.
    Inverse, amount Q in USD, margin W in coins: Q (1 + s m) / (Q/E + s (W + cum)), from W + s Q (1/E - 1/P) =
    m Q/P - cum (Binance and Bybit give these forms; OKX and Gate add the fee to m). The tier is that of the notional at
    the liquidation price. s is +1 long and -1 short.
    At entry (Bybit's USDT contracts): E - s (W - (Q E m - cum)) / Q, with the tier of the notional at entry.

    Args:
        fee_rate: fee that the venue adds to the maintenance rate, a fraction.
        at_entry: apply the maintenance rate to the value at entry. Linear contracts only.

    Raises:
        ImplausibleError: when a figure is not positive, there is no tier, or the margin does not cover maintenance at
            entry.
    """
    positive(entry, "entry")
    positive(amount, "amount")
    positive(margin, "margin")
    if not tiers:
        raise ImplausibleError("no maintenance tiers are known")
    s = sign(side)
    ordered = sorted(tiers, key=lambda tier: tier.floor)
    value = amount * entry if kind == "linear" else amount / entry
    first = max((tier for tier in ordered if tier.floor <= value), key=lambda tier: tier.floor, default=ordered[0])
    demanded = value * (first.maintenance_rate + fee_rate) - first.maintenance_amount
    if margin <= demanded:
        raise ImplausibleError(f"a margin of {margin:g} does not cover the maintenance of {demanded:g}")
    if at_entry and kind == "linear":
        price = entry - s * (margin - demanded) / amount
        return price if price > 0 else None
    ceilings = [tier.floor for tier in ordered[1:]] + [math.inf]
    for tier, ceiling in zip(ordered, ceilings, strict=True):
        rate, held = tier.maintenance_rate + fee_rate, margin + tier.maintenance_amount
        if kind == "linear":
            price = (held - s * amount * entry) / (amount * rate - s * amount)
        else:
            coins = amount / entry + s * held
            price = amount * (1 + s * rate) / coins if coins > 0 else math.inf
        notional = amount * price if kind == "linear" else amount / price if price > 0 else math.inf
        # The margin is continuous, so a bound belongs to both tiers; tolerate rounding there.
        if 0 < price < math.inf and tier.floor * (1 - EDGE) <= notional <= ceiling * (1 + EDGE):
            return price
    return None
