"""Market data: markets, bars, samples, ticks. Immutable values; times are UTC epoch milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from engine.errors import ImplausibleError

Kind = Literal["linear", "inverse"]
Side = Literal["long", "short"]
SIDES: tuple[Side, Side] = ("long", "short")

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

PRICES = (1e-12, 1e12)
"""Plausible prices of one coin, USD. Moves are checked against other venues, not against a bound."""

MAX_AMOUNT = 1e18
"""Maximum number of contracts: open interest of the coins with the largest supply is about 1e15."""


def sign(side: Side) -> int:
    """Return +1 for long positions, -1 for short ones."""
    return 1 if side == "long" else -1


def positive(value: float | None, what: str) -> float:
    """Return the value if it is a finite number above zero.

    Raises:
        ImplausibleError: for None, NaN, infinities, zero and negative numbers.
    """
    if value is None or not math.isfinite(value) or value <= 0:
        raise ImplausibleError(f"{what} is {value}, expected a positive number")
    return float(value)


def plausible_price(value: float | None, what: str) -> float:
    """Return the value if it is a plausible price, USD.

    Raises:
        ImplausibleError: when it is not positive, or beyond any coin's price.
    """
    price = positive(value, what)
    if not PRICES[0] <= price <= PRICES[1]:
        raise ImplausibleError(f"{what} is {price:.3g}")
    return price


def plausible_amount(value: float | None, what: str) -> float:
    """Return the value if it is a plausible number of contracts.

    Raises:
        ImplausibleError: when it is not positive, or more than any market has.
    """
    amount = positive(value, what)
    if amount > MAX_AMOUNT:
        raise ImplausibleError(f"{what} is {amount:.3g}")
    return amount


def venue_of(key: str) -> str:
    """Return the venue in a market's key."""
    return key.split(" ", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Market:
    """One perpetual contract on one venue.

    Attributes:
        venue: ccxt id of the exchange.
        symbol: unified symbol, such as BTC/USDT:USDT.
        asset: the coin, such as BTC.
        kind: linear (margin and profit in the quote) or inverse (in the base).
        contract_size: base units per contract if linear, USD per contract if inverse.
        maintenance_rate: that of the lowest margin tier, a fraction of notional.
        fee_rate: the venue's liquidation fee on top of it, a fraction of notional.
        max_leverage: that of the lowest margin tier.
    """

    venue: str
    symbol: str
    asset: str
    kind: Kind = "linear"
    contract_size: float = 1.0
    maintenance_rate: float = 0.004
    fee_rate: float = 0.0
    max_leverage: float = 125.0

    @property
    def key(self) -> str:
        return f"{self.venue} {self.symbol}"

    def usd(self, contracts: float, price: float) -> float:
        """Return the notional of a number of contracts at a price, USD."""
        return contracts * self.contract_size * (price if self.kind == "linear" else 1.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar of one market.

    Prices are mark prices if the venue has them, else traded ones.

    Attributes:
        contracts: open interest at the close, None if the venue did not report it.
        contracts_high, contracts_low: extremes within the bar, None if it was not polled then.
        funding_rate: a fraction per 8 hours.
        long_liquidations_usd, short_liquidations_usd: reported liquidations, None without a feed.

    Raises:
        ImplausibleError: when prices or contracts are not plausible, or low and high do not enclose open and close.
    """

    opened_at: int
    step_ms: int
    open: float
    high: float
    low: float
    close: float
    contracts: float | None = None
    contracts_high: float | None = None
    contracts_low: float | None = None
    funding_rate: float | None = None
    long_liquidations_usd: float | None = None
    short_liquidations_usd: float | None = None

    def __post_init__(self) -> None:
        for name in ("open", "high", "low", "close"):
            plausible_price(getattr(self, name), name)
        if not (self.low <= min(self.open, self.close) and max(self.open, self.close) <= self.high):
            raise ImplausibleError(
                f"open {self.open}, high {self.high}, low {self.low}, close {self.close} do not enclose each other"
            )
        for name in ("contracts", "contracts_high", "contracts_low"):
            if getattr(self, name) is not None:
                plausible_amount(getattr(self, name), name)

    @property
    def closed_at(self) -> int:
        return self.opened_at + self.step_ms

    @property
    def path(self) -> tuple[float, float, float, float]:
        """The assumed order of prices: the extreme against the bar's direction comes first."""
        if self.close >= self.open:
            return self.open, self.low, self.high, self.close
        return self.open, self.high, self.low, self.close


def resized(bar: Bar, ratio: float) -> Bar:
    """Return a bar in contracts of another size. ratio: how many of them make one of its own."""
    counts = {name: getattr(bar, name) for name in ("contracts", "contracts_high", "contracts_low")}
    return replace(bar, **{name: count * ratio for name, count in counts.items() if count is not None})


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of one poll of one market.

    Attributes:
        at: the venue's own time of the data, or the time received if there is none.
        mark: mark price now, USD.
        high, low: extremes of the mark since the previous poll, mark included.
        bar_high, bar_low: extremes of the mark since the running bar opened.
        contracts: open interest, as the venue counts contracts.
        funding_rate: fraction per 8 hours, None if unknown.
        watched_from: start of the time that high and low cover without a gap, UTC ms.
        timed: whether `at` is the venue's own time rather than the time received.
    """

    market: Market
    at: int
    received_at: int
    mark: float
    high: float
    low: float
    bar_high: float
    bar_low: float
    contracts: float
    funding_rate: float | None = None
    watched_from: int = 0
    timed: bool = True

    def __post_init__(self) -> None:
        for name in ("mark", "high", "low", "bar_high", "bar_low", "contracts"):
            positive(getattr(self, name), f"{self.market.key}: {name}")


@dataclass(frozen=True, slots=True)
class Liquidation:
    """One liquidation order as a feed reported it. side is that of the liquidated position.

    number distinguishes orders that are otherwise identical.
    """

    market: Market
    at: int
    side: Side
    price: float
    contracts: float
    number: int = 0

    @property
    def notional_usd(self) -> float:
        return self.market.usd(self.contracts, self.price)


class ReportedLiquidation(NamedTuple):
    """A reported liquidation: when, UTC ms, side of the position, USD, and the key of its market."""

    at: int
    side: Side
    usd: float
    market_key: str


@dataclass(frozen=True, slots=True)
class AssetUpdate:
    """One asset's part of a tick.

    Attributes:
        path: prices since the last tick, USD, oldest first.
        by_bars: the path is empty, and the board takes the prices that the bars confirm together.
        disputed: prices of venues that disagree, by venue.
        bars: closed bars by market, in order of time.
        samples: the latest poll of each market that answered.
        excluded: keys of markets that are not in the sum.
        missing: venues that are not in the sum, with the reason that users see.
        reported: reported liquidations.
        listening: since when each market's liquidation feed has been complete, by market key; None if not tracked.
        backfill: bars of markets that lag behind the asset: they step the markets' own maps and affect nothing else.
    """

    path: tuple[float, ...] = ()
    bars: tuple[tuple[Market, Bar], ...] = ()
    samples: tuple[Sample, ...] = ()
    excluded: frozenset[str] = frozenset()
    missing: Mapping[str, str] = field(default_factory=dict)
    reported: tuple[ReportedLiquidation, ...] = ()
    listening: Mapping[str, int] | None = None
    backfill: tuple[tuple[Market, Bar], ...] = ()
    by_bars: bool = False
    disputed: Mapping[str, float] = field(default_factory=dict)

    @property
    def priced(self) -> bool:
        """Whether it contains prices to follow."""
        return bool(self.path) or (self.by_bars and bool(self.bars))


@dataclass(frozen=True, slots=True)
class MarketTick:
    """One tick: the updates of all assets.

    Attributes:
        late: its bars were missed during downtime, and its alerts are reported as missed.
        silent: it only moves the boards, and no rule is evaluated.
        present: it shows the current state of the venues, so that data not in it is missing.
    """

    now: int
    updates: Mapping[str, AssetUpdate]
    late: bool = False
    silent: bool = False
    present: bool = False


@dataclass(frozen=True, slots=True)
class LargestOrder:
    """The largest liquidation order of a period: when, UTC ms, side of the position, USD, price, venue."""

    at: int
    side: Side
    usd: float
    price: float
    venue: str


@dataclass(frozen=True, slots=True)
class LiquidationSummary:
    """Totals of the reported liquidations of a period.

    Attributes:
        by_venue: USD by venue and side.
        orders: number of orders.
        known_since: time of the oldest stored liquidation order of the asset, None if there is none.
        largest: None if there is none.
    """

    by_venue: Mapping[str, Mapping[Side, float]]
    orders: int
    known_since: int | None
    largest: LargestOrder | None

    def usd(self, side: Side) -> float:
        """Return the total of one side over all venues, USD."""
        return sum(sides[side] for sides in self.by_venue.values())
