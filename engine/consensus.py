"""One price, one pair of extremes, one rate and one count of contracts from several venues, any of which may be wrong.

Everybody acts on these, so no venue alone may set them. Pure functions and small values; a venue has one vote, however
many markets it lists (its largest speaks for it).

Price: the median of the venues' fresh marks. Of an even number the two in the middle bound it, and it moves from the
    last one no further than they make it: one of two venues alone moves nothing. A mark that has stood still while the
    others moved has no vote.
Extremes: a low counts as far down as a second venue went itself, a high likewise. What one venue alone shows beyond
    that is a wick on it: told as such, and it sweeps nothing.
Bars: a close far from the others' is a gap. Extremes beyond what a second venue shows, and beyond the venues' usual
    spread, are cut back to the second venue's.
Contracts: a market whose count jumps by over 30 % in a bar while the others' stand is held at its last count for an
    hour, and named. If the new count stands it is believed; if it goes back within a day, the market's map is made
    again as if the jump had never been said (see engine.vetting).
Rates: with three venues or more the lowest and the highest are cut back to their neighbours before they are weighted.
    Of two that are far apart the one nearer zero counts, or zero between them.
Coins: prices tenfold apart are two coins of one name. The set that holds the last price is kept, else the larger one.

With one venue, it is believed: nobody contradicts it. A jump of its price is believed when it has stood for some looks,
or when its bars lead there without a break. With two, what both show counts. The tolerance within which venues agree
follows their own usual spread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TypeVar

from engine.market import Bar, Market, venue_of

Said = TypeVar("Said")

COIN_FACTOR = 10.0
"""Prices further apart than this are not of one coin."""

FAR_FACTOR = 2.0
"""A bar further off than this, alone, is a gap."""

JUMP = 0.25
"""Log distance from the last price beyond which a single venue's must stand for some looks."""

JUMP_LOOKS = 3
TOLERANCE_RANGE = (0.01, 0.10)
"""Log distances: venues that are closer than the first always agree, those further apart than the second never do."""

TOLERANCE_SPREADS = 10.0
BAND_RANGE = (0.0005, 0.005)
BAND_SPREADS = 4.0
SPREAD_WEIGHT = 0.02
"""Of a new observation of the spread: the last fifty count."""

FIRST_SPREAD = 0.0005
CONTRACTS_JUMP = math.log(1.3)
CONTRACTS_STILL = math.log(1.1)
ALONE_JUMP = math.log(3.0)
"""The same for a market that no other says anything beside."""

RATE_APART = 0.0005
"""Of two rates per 8 hours, how far apart they must be before neither is averaged with the other."""


@dataclass
class Spread:
    """How far venues' prices usually are from their median, as a running mean of log distances."""

    usual: float = FIRST_SPREAD

    def see(self, prices: Sequence[float]) -> None:
        """Take in prices of one moment. Outliers say nothing of what is usual."""
        if len(prices) < 2:
            return
        middle = median(prices)
        off = median(abs(math.log(price / middle)) for price in prices)
        self.usual += SPREAD_WEIGHT * (min(off, TOLERANCE_RANGE[1]) - self.usual)

    @property
    def tolerance(self) -> float:
        """Log distance within which venues agree on a price."""
        return _clip(TOLERANCE_SPREADS * self.usual, *TOLERANCE_RANGE)

    @property
    def band(self) -> float:
        """Log distance by which a venue's extremes may go beyond a second one's."""
        return _clip(BAND_SPREADS * self.usual, *BAND_RANGE)


@dataclass(frozen=True, slots=True)
class Price:
    """What venues agree on.

    Attributes:
        value: USD, 0 where there is none.
        far: venues whose price is beyond the tolerance, with how far off it is as a ratio.
        disputed: two venues, or two halves of them, say different things: value is what both bear out.
    """

    value: float
    far: Mapping[str, float] = field(default_factory=dict)
    disputed: bool = False


def agreed_price(marks: Mapping[str, float], last: float, tolerance: float) -> Price:
    """Return the price that venues agree on.

    Args:
        marks: fresh marks by venue, USD.
        last: the price that was agreed on before, 0 where there was none.
        tolerance: log distance within which venues agree.
    """
    if not marks:
        return Price(0.0)
    values = sorted(marks.values())
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    value = _clip(last, low, high) if last else math.sqrt(low * high)
    disputed = math.log(high / low) > tolerance
    far = {venue: mark / value for venue, mark in marks.items() if abs(math.log(mark / value)) > tolerance}
    if disputed or len(marks) < 3:
        far = {}  # there is no majority to be far from
    return Price(value, far, disputed)


def second_lowest(values: Iterable[float]) -> float:
    """Return how far down at least two values go: the second lowest, or the only one.

    Raises:
        ValueError: when there is none.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[min(1, len(ordered) - 1)]


def second_highest(values: Iterable[float]) -> float:
    """Return how far up at least two values go: the second highest, or the only one."""
    return -second_lowest(-value for value in values)


def agreed_rate(rates: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """Return the weighted mean of venues' rates, none of which alone decides it; None where there is none.

    Args:
        rates: fractions per 8 hours, by venue.
        weights: what each counts for, such as open interest in USD.
    """
    total = sum(weights[venue] for venue in rates)
    if not rates or total <= 0:
        return None
    low, high = min(rates.values()), max(rates.values())
    if len(rates) == 2 and high - low > max(RATE_APART, abs(low + high) / 2):
        return _clip(0.0, low, high)
    if len(rates) >= 3:
        low, high = second_lowest(rates.values()), second_highest(rates.values())
    return sum(_clip(rate, low, high) * weights[venue] for venue, rate in rates.items()) / total


def other_coins(prices: Mapping[str, float], sizes: Mapping[str, float], last: float) -> set[str]:
    """Return the markets whose price is another coin's of the same name.

    Args:
        prices: USD by market.
        sizes: open interest in USD by market, each at its own price.
        last: the price that was agreed on before, 0 where there was none.
    """
    ordered = sorted(prices, key=lambda key: prices[key])
    sets: list[list[str]] = []
    for key in ordered:
        if sets and prices[key] / prices[sets[-1][-1]] < COIN_FACTOR / 2:
            sets[-1].append(key)
        else:
            sets.append([key])
    if len(sets) < 2 or prices[ordered[-1]] / prices[ordered[0]] < COIN_FACTOR:
        return set()

    def rank(keys: list[str]) -> tuple[bool, int, float]:
        holds = bool(last) and any(1 / FAR_FACTOR < prices[key] / last < FAR_FACTOR for key in keys)
        return holds, len({venue_of(key) for key in keys}), sum(sizes.get(key, 0.0) for key in keys)

    kept = max(sets, key=rank)
    return set(prices) - set(kept)


def voices_of(rows: Iterable[tuple[Market, float, Said]]) -> dict[str, Said]:
    """Return what speaks for each venue: what its largest market says.

    Args:
        rows: a market, its open interest in USD, and what it says.
    """
    found: dict[str, Said] = {}
    for market, _, said in sorted(rows, key=lambda row: (row[1], row[0].key)):
        found[market.venue] = said
    return found


Row = tuple[Market, Bar]


@dataclass
class VettedBars:
    """Bars of one closing time after the venues were held against each other.

    Attributes:
        rows: those that count, with extremes cut back where nobody bears them out.
        refused: markets whose bar is a gap, with why.
        wicks: markets with what they alone showed: the extreme, USD.
    """

    rows: list[Row] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    wicks: dict[str, float] = field(default_factory=dict)


def vet_bars(rows: Sequence[Row], last: float, spread: Spread) -> VettedBars:
    """Hold bars that closed together against each other.

    Args:
        rows: one bar a market.
        last: the close that was agreed on before, USD; 0 where there was none.
        spread: how far the venues usually are apart.
    """
    vetted = VettedBars()
    closes = {market.key: bar.close for market, bar in rows}
    sizes = {market.key: market.usd(bar.contracts or 0.0, bar.close) for market, bar in rows}
    others = other_coins(closes, sizes, last)
    kept = [row for row in rows if row[0].key not in others]
    vetted.refused |= dict.fromkeys(sorted(others), "another coin of that name")
    voices = voices_of((market, sizes[market.key], bar) for market, bar in kept)
    far = _far_voices(voices, last, spread.tolerance)
    for market, _ in kept:
        if market.venue in far:
            vetted.refused[market.key] = "its price is far from the others'"
    lows = {venue: bar.low for venue, bar in voices.items() if venue not in far}
    highs = {venue: bar.high for venue, bar in voices.items() if venue not in far}
    believed = [row for row in kept if row[0].key not in vetted.refused]
    if len(lows) < 2:
        vetted.rows = believed
        return vetted
    floor, ceiling = second_lowest(lows.values()), second_highest(highs.values())
    for market, bar in believed:
        cut = _cut_back(bar, floor, ceiling, spread.band)
        if cut is not bar:
            vetted.wicks[market.key] = bar.low if cut.low != bar.low else bar.high
        vetted.rows.append((market, cut))
    return vetted


def path_of_bars(rows: Sequence[Row], last: float) -> tuple[float, float, float, float]:
    """Return the prices that bars of one closing time bear out together, in the order they are taken to have come.

    Args:
        rows: at least one bar, as vet_bars left them.
        last: the close that was agreed on before, USD; 0 where there was none.
    """
    sizes = {market.key: market.usd(bar.contracts or 0.0, bar.close) for market, bar in rows}
    voices = voices_of((market, sizes[market.key], bar) for market, bar in rows)
    if len(voices) == 1:
        (bar,) = voices.values()
        return bar.path
    opened, closed = (
        agreed_price(prices, last, 0.0).value
        for prices in (
            {venue: bar.open for venue, bar in voices.items()},
            {venue: bar.close for venue, bar in voices.items()},
        )
    )
    low = min(second_lowest(bar.low for bar in voices.values()), opened, closed)
    high = max(second_highest(bar.high for bar in voices.values()), opened, closed)
    return (opened, low, high, closed) if closed >= opened else (opened, high, low, closed)


def continues(bar: Bar, last: float) -> bool:
    """Whether a bar begins or ends where the price was: a crash leads there without a break, a wrong unit does not."""
    return not last or min(abs(math.log(bar.open / last)), abs(math.log(bar.close / last))) <= math.log(FAR_FACTOR)


def contracts_doubtful(change: float, others: Sequence[float], *, price_change: float = 0.0) -> bool:
    """Whether a market's count of contracts has jumped while the others' stand.

    Args:
        change: ln of the count over the one before.
        others: the same of the other venues' markets in the same bar.
        price_change: ln of the price over the one before: in a crash contracts go with it.
    """
    if not others:
        return abs(change) > ALONE_JUMP and abs(price_change) < CONTRACTS_STILL
    return abs(change) > CONTRACTS_JUMP and abs(median(others)) < CONTRACTS_STILL


def _far_voices(voices: Mapping[str, Bar], last: float, tolerance: float) -> set[str]:
    """Venues whose close is so far from the others' that their bar is a gap."""
    if len(voices) < 2:
        return set()
    closes = {venue: bar.close for venue, bar in voices.items()}
    centre = agreed_price(closes, last, tolerance)
    # In a fast market venues' closes lie apart as far as the bar reaches.
    reach = math.log(
        second_highest(bar.high for bar in voices.values()) / second_lowest(b.low for b in voices.values())
    )
    allowed = max(tolerance, reach / 2)
    if len(voices) >= 3 and not centre.disputed:
        return {venue for venue, close in closes.items() if abs(math.log(close / centre.value)) > allowed}
    if not last or max(closes.values()) <= FAR_FACTOR * min(closes.values()):
        return set()
    far = {venue for venue, close in closes.items() if abs(math.log(close / last)) > math.log(FAR_FACTOR)}
    return far if far != set(closes) else set()


def _cut_back(bar: Bar, floor: float, ceiling: float, band: float) -> Bar:
    """A bar whose extremes go no further beyond a second venue's than is usual."""
    low, high = bar.low, bar.high
    if low < floor * math.exp(-band):
        low = min(max(low, floor), bar.open, bar.close)
    if high > ceiling * math.exp(band):
        high = max(min(high, ceiling), bar.open, bar.close)
    return bar if (low, high) == (bar.low, bar.high) else replace(bar, low=low, high=high)


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
