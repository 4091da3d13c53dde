"""Combines prices, extremes, rates and contract counts from several venues, any of which may be wrong.

All alerts depend on these, so no single venue may set them. Pure functions and small values. A venue has one vote,
however many markets it lists: that of its largest market.

Price: the median of the venues' fresh marks. With an even number of venues, the two middle marks bound it, and it
    moves from the last price only as far as they require: one of two venues alone moves nothing. A mark that did not
    change while the others moved has no vote.
Extremes: a low counts as far down as a second venue went itself, a high likewise. An extreme of one venue beyond that
    is a wick: we report it as such, and it sweeps nothing.
Bars: a close far from the others' is a gap. Extremes beyond a second venue's, and beyond the venues' usual spread,
    are cut back to the second venue's.
Contracts: a market whose count jumps by over 30 % in a bar while the others' do not keeps its last count for an hour,
    and is named. If the new count persists, we accept it. If it goes back within a day, we rebuild the market's map
    as if the jump had never been reported (see engine.vetting).
Rates: with three venues or more, the lowest and the highest are cut back to their neighbours before weighting.
    Of two that are far apart, the one nearer zero counts, or zero if it is between them.
Coins: prices tenfold apart are two coins of one name. We keep the set that contains the last price, else the larger.

A single venue is accepted, as nothing contradicts it. A jump of its price is accepted once it has lasted some polls,
or when its bars lead there without a break. With two venues, only moves that both show count. The tolerance within
which venues agree follows their own usual spread.
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
"""Prices further apart than this factor belong to different coins."""

FAR_FACTOR = 2.0
"""A single bar further off than this factor is a gap."""

JUMP = 0.25
"""Log distance from the last price beyond which a single venue's must last for some polls."""

JUMP_LOOKS = 3
TOLERANCE_RANGE = (0.01, 0.10)
"""Log distances: venues that are closer than the first always agree, those further apart than the second never do."""

TOLERANCE_SPREADS = 10.0
BAND_RANGE = (0.0005, 0.005)
BAND_SPREADS = 4.0
SPREAD_WEIGHT = 0.02
"""Weight of a new observation of the spread: about the last fifty count."""

FIRST_SPREAD = 0.0005
CONTRACTS_JUMP = math.log(1.3)
CONTRACTS_STILL = math.log(1.1)
ALONE_JUMP = math.log(3.0)
"""CONTRACTS_JUMP of a market without another venue's to compare with."""

RATE_APART = 0.0005
"""Difference of two rates per 8 hours above which we do not average them."""


@dataclass
class Spread:
    """How far venues' prices usually are from their median, as a running mean of log distances."""

    usual: float = FIRST_SPREAD

    def see(self, prices: Sequence[float]) -> None:
        """Update the spread from prices of one moment, by the median so that outliers do not count."""
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
    """The consensus price of several venues.

    Attributes:
        value: USD, 0 if there is none.
        far: venues whose price is beyond the tolerance, with the ratio of that price to value.
        disputed: two venues, or two halves of them, disagree, and value moves only as far as both confirm.
    """

    value: float
    far: Mapping[str, float] = field(default_factory=dict)
    disputed: bool = False


def agreed_price(marks: Mapping[str, float], last: float, tolerance: float) -> Price:
    """Return the consensus price of several venues.

    Args:
        marks: fresh marks by venue, USD.
        last: the previous consensus price, USD, 0 if there was none.
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
    """Return the weighted mean of venues' rates, so that none decides alone, or None without rates.

    Args:
        rates: fractions per 8 hours, by venue.
        weights: weight by venue, such as open interest in USD.
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
    """Return the keys of markets whose price is that of another coin with the same name.

    Args:
        prices: USD by market.
        sizes: open interest in USD by market, each at its own price.
        last: the previous consensus price, USD, 0 if there was none.
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
    """Return each venue's vote: the value of its largest market.

    Args:
        rows: a market, its open interest in USD, and its value.
    """
    votes: dict[str, Said] = {}
    for market, _, vote in sorted(rows, key=lambda row: (row[1], row[0].key)):
        votes[market.venue] = vote
    return votes


Row = tuple[Market, Bar]


@dataclass
class VettedBars:
    """Bars of one closing time, vetted against the other venues.

    Attributes:
        rows: bars that count, with unconfirmed extremes cut back.
        refused: markets whose bar is a gap, with the reason.
        wicks: markets with an extreme that only they showed, USD.
    """

    rows: list[Row] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    wicks: dict[str, float] = field(default_factory=dict)


def vet_bars(rows: Sequence[Row], last: float, spread: Spread) -> VettedBars:
    """Compare bars that closed together across venues. Return those that count, with gaps and wicks.

    Args:
        rows: one bar per market.
        last: the previous consensus close, USD, 0 if there was none.
        spread: the venues' usual spread.
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
    """Return the prices that bars of one closing time confirm together, in their assumed order.

    Args:
        rows: at least one bar, as returned by vet_bars.
        last: the previous consensus close, USD, 0 if there was none.
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
    """Return whether a bar opens or closes near the last price: a crash bar does, one in a wrong unit does not."""
    return not last or min(abs(math.log(bar.open / last)), abs(math.log(bar.close / last))) <= math.log(FAR_FACTOR)


def contracts_doubtful(change: float, others: Sequence[float], *, price_change: float = 0.0) -> bool:
    """Return whether a market's contract count jumped while the others' did not.

    Args:
        change: ln of the count over the previous one.
        others: the same for the other venues in the same bar.
        price_change: ln of the price over the previous one: in a crash contracts fall with it.
    """
    if not others:
        return abs(change) > ALONE_JUMP and abs(price_change) < CONTRACTS_STILL
    return abs(change) > CONTRACTS_JUMP and abs(median(others)) < CONTRACTS_STILL


def _far_voices(voices: Mapping[str, Bar], last: float, tolerance: float) -> set[str]:
    """Return venues whose close is so far from the others' that their bar is a gap."""
    if len(voices) < 2:
        return set()
    closes = {venue: bar.close for venue, bar in voices.items()}
    centre = agreed_price(closes, last, tolerance)
    # In a fast market venues' closes differ in proportion to the bar's range.
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
    """Return the bar with extremes cut back to a second venue's if they exceed them by more than the band."""
    low, high = bar.low, bar.high
    if low < floor * math.exp(-band):
        low = min(max(low, floor), bar.open, bar.close)
    if high > ceiling * math.exp(band):
        high = max(min(high, ceiling), bar.open, bar.close)
    return bar if (low, high) == (bar.low, bar.high) else replace(bar, low=low, high=high)


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
