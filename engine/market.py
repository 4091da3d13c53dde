"""Values that travel through the program: markets, bars and samples. Immutable; times are UTC epoch milliseconds."""

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
"""USD for one coin. How far a price may move is for other venues to say, not for a bound."""

MAX_AMOUNT = 1e18
"""Contracts: the most widely issued coins count open interest in some 1e15 of them."""


def sign(side: Side) -> int:
    """+1 for long, -1 for short: whose positions are meant."""
    return 1 if side == "long" else -1


def positive(value: float | None, what: str) -> float:
    """The value if it is a finite number above zero.

    Raises:
        ImplausibleError: for None, NaN, infinities, zero and negative numbers.
    """
    if value is None or not math.isfinite(value) or value <= 0:
        raise ImplausibleError(f"{what} is {value}, expected a positive number")
    return float(value)


def plausible_price(value: float | None, what: str) -> float:
    """Return a price in USD if it can be one.

    Raises:
        ImplausibleError: when it is not positive, or beyond any coin's price.
    """
    price = positive(value, what)
    if not PRICES[0] <= price <= PRICES[1]:
        raise ImplausibleError(f"{what} is {price:.3g}")
    return price


def plausible_amount(value: float | None, what: str) -> float:
    """Return a number of contracts if there can be so many.

    Raises:
        ImplausibleError: when it is not positive, or more than any market has.
    """
    amount = positive(value, what)
    if amount > MAX_AMOUNT:
        raise ImplausibleError(f"{what} is {amount:.3g}")
    return amount


def venue_of(key: str) -> str:
    """The venue in a market's key."""
    return key.split(" ", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Market:
    """One perpetual contract on one venue.

    Attributes:
        venue: ccxt id of the exchange.
        symbol: unified symbol, such as BTC/USDT:USDT.
        asset: what people call it, such as BTC.
        kind: linear (margin and profit in the quote) or inverse (in the base).
        contract_size: base units per contract if linear, USD per contract if inverse.
        maintenance_rate: of the lowest tier, a fraction of notional.
        fee_rate: what the venue adds to it at liquidation, a fraction of notional.
        max_leverage: of the lowest tier.
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
        """Notional of so many contracts at that price, in USD."""
        return contracts * self.contract_size * (price if self.kind == "linear" else 1.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed step of one market.

    Prices are mark prices where the venue has them, else traded ones. contracts is open interest at the
    close, None where the venue has not said; its high and low are None where nobody watched within the bar.
    funding_rate is a fraction per 8 hours. Liquidations are what feeds reported, None where there is no feed.

    Raises:
        ImplausibleError: when prices are not positive and finite, or do not enclose each other.
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
        """The order in which prices are taken to have come: the extreme against the close's direction first."""
        if self.close >= self.open:
            return self.open, self.low, self.high, self.close
        return self.open, self.high, self.low, self.close


def resized(bar: Bar, ratio: float) -> Bar:
    """Return a bar counted in contracts of another size, so many of which make one of those it was counted in."""
    counts = {name: getattr(bar, name) for name in ("contracts", "contracts_high", "contracts_low")}
    return replace(bar, **{name: count * ratio for name, count in counts.items() if count is not None})


@dataclass(frozen=True, slots=True)
class Sample:
    """What one poll of one market showed.

    Attributes:
        at: the venue's own time of the figures; the time received where it has none.
        mark: mark price now, USD.
        high, low: extremes of the mark since the poll before, mark included.
        bar_high, bar_low: extremes of the mark since the running bar opened.
        contracts: open interest, as the venue counts contracts.
        funding_rate: fraction per 8 hours, None where unknown.
        watched_from: since when high and low are known without a gap, UTC ms.
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
    """One forced order as a feed reported it. side is whose position was forced out; notional is USD.

    number tells apart orders that are alike in all else.
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
    """A liquidation as a feed reported it: when, UTC ms, whose position, USD, and the key of its market."""

    at: int
    side: Side
    usd: float
    market_key: str


@dataclass(frozen=True, slots=True)
class AssetUpdate:
    """What the feed brings for one asset in one tick.

    Attributes:
        path: prices since the last tick, oldest first.
        by_bars: the path is what the bars bear out together.
        disputed: the marks of venues that say different things, by venue.
        bars: closed bars by market, in order of time.
        samples: the latest poll of each market that answered.
        left_out: keys of markets that are not in the sum.
        missing: what of it people read: venues with the reason.
        reported: forced orders the feeds reported.
        listening: since when each market's forced orders are heard without a break, by its key; None where nobody says.
        backfill: bars of a market that lags behind the asset's own: they step its map and move nothing else.
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
        """Whether it says where the price has been."""
        return bool(self.path) or (self.by_bars and bool(self.bars))


@dataclass(frozen=True, slots=True)
class MarketTick:
    """One tick's worth of market, by asset.

    Attributes:
        late: what was missed while the program was down, told as such.
        silent: nothing is told of it.
        present: it says how the venues are now, so that figures which are not in it are missing.
    """

    now: int
    updates: Mapping[str, AssetUpdate]
    late: bool = False
    silent: bool = False
    present: bool = False


@dataclass(frozen=True, slots=True)
class LargestOrder:
    """The largest forced order of a time: when, whose, how much, at what price, where."""

    at: int
    side: Side
    usd: float
    price: float
    venue: str


@dataclass(frozen=True, slots=True)
class LiquidationSummary:
    """What feeds reported as forced out in a stretch of time.

    Attributes:
        by_venue: USD per venue and side.
        orders: how many there were.
        known_since: when the first forced order of the asset was ever stored, None before.
    """

    by_venue: Mapping[str, Mapping[Side, float]]
    orders: int
    known_since: int | None
    largest: LargestOrder | None

    def usd(self, side: Side) -> float:
        """USD of one side over all venues."""
        return sum(sides[side] for sides in self.by_venue.values())
