"""At what price a position is forced out.

Sources: Binance, "How to calculate liquidation price of USDⓈ-M futures contracts" (maintenance amounts); Bybit,
"Liquidation price (USDT contract)" (maintenance of the value at entry); OKX, "Isolated margin mode, estimated
liquidation price", and Gate, "Liquidation price" (taker fee added to the maintenance rate); Hyperliquid, "Liquidations"
(half the initial margin at maximum leverage); Kraken, "Equity protection process"; HTX, "Margin ratio" (adjustment
factor over leverage in place of a rate). The isolated forms without amounts follow by dividing by the position. Numbers
that these venues publish are tests.
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
    """One row of a venue's risk limits: from this notional on, this maintenance rate and amount.

    Notional and amount are in what the contract is settled in: USD if linear, coins if inverse.
    """

    floor: float
    maintenance_rate: float
    maintenance_amount: float = 0.0
    max_leverage: float = 125.0


def with_amounts(tiers: Sequence[Tier]) -> list[Tier]:
    """Tiers with the maintenance amounts that make the margin rise without a jump, lowest first.

    Each is the one below plus floor · (rate - rate below); venues publish rates and leave the amounts to be worked
    out (Binance, "How to calculate liquidation price of COIN-M futures contracts", maintenance amount formula).
    """
    made: list[Tier] = []
    for tier in sorted(tiers, key=lambda row: row.floor):
        below = made[-1] if made else replace(tier, floor=0.0, maintenance_amount=0.0)
        amount = below.maintenance_amount + tier.floor * (tier.maintenance_rate - below.maintenance_rate)
        made.append(replace(tier, maintenance_amount=amount))
    return made


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


def valued_at_entry(market: Market) -> bool:
    """Whether a venue demands maintenance of a position's value at entry rather than at the liquidation price."""
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
    """Liquidation price of one position under full tiers, USD; None when it cannot be forced out.

    Linear, amount Q in coins, margin W in USD: (W + cum - s Q E) / (Q m - s Q), from W + s Q (P - E) = m Q P - cum.
    Inverse, amount Q in USD, margin W in coins: Q (1 + s m) / (Q/E + s (W + cum)), from W + s Q (1/E - 1/P) =
    m Q/P - cum (Binance and Bybit give these forms; OKX and Gate add the fee to m). The tier is that of the notional at
    the liquidation price; s is +1 long and -1 short.
    At entry (Bybit's USDT contracts): E - s (W - (Q E m - cum)) / Q, the tier being that of the notional at entry.

    Args:
        fee_rate: what the venue adds to the maintenance rate.
        at_entry: whether maintenance is of the value at entry; linear contracts only.

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
        # Amounts make the margin continuous, so that a bound belongs to both tiers; rounding must not lose it.
        if 0 < price < math.inf and tier.floor * (1 - EDGE) <= notional <= ceiling * (1 + EDGE):
            return price
    return None
