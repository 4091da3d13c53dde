"""Fresh figures of one asset's venues put together: one price, one path, and what is left out of them. Pure.

The rules are engine.consensus's; here is what they need to remember from look to look. Venues are asked at different
moments: what one shows waits for a second one for as long as figures count as fresh.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from engine.consensus import (
    JUMP,
    JUMP_LOOKS,
    Spread,
    agreed_price,
    other_coins,
    second_highest,
    second_lowest,
    voices_of,
)
from engine.market import MINUTE_MS, Sample

FAR_LOOKS = 3
"""A venue leaves the sum when its price has been far from the others' for so many looks."""

FROZEN_MOVE = 0.002
"""Log distance that the others must have gone while a venue's figures stood still, for it to be called frozen."""

MEMORY_MS = 12 * MINUTE_MS
"""How long it is remembered which extremes were told: longer than a bar, which may bring them again."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """What venues' figures come to.

    Attributes:
        path: prices since the look before that venues bear out, oldest first; empty without news.
        samples: the figures that count, with extremes no further than a second venue bears out.
        doubts: markets that do not count, with why.
        disputed: the marks of venues that say different things, by venue; empty while they agree.
        wicks: markets with what they alone showed, USD.
        received_at: of the newest of the figures, UTC ms.
    """

    path: tuple[float, ...] = ()
    samples: tuple[Sample, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)
    disputed: Mapping[str, float] = field(default_factory=dict)
    wicks: Mapping[str, float] = field(default_factory=dict)
    received_at: int = 0


@dataclass(slots=True)
class _Motion:
    """Since when a market's figures have not changed, and where the others' price was then."""

    mark: float
    contracts: float
    since: int
    others: float


@dataclass(slots=True)
class _Look:
    """What one venue showed in one look."""

    at: int
    low: float
    high: float


class Quotes:
    """One asset's figures from look to look.

    Args:
        fresh_ms: how long figures count as fresh.
    """

    def __init__(self, fresh_ms: int) -> None:
        self._fresh_ms = fresh_ms
        self._looks: dict[str, deque[_Look]] = {}
        self._told: deque[_Look] = deque()
        self._motions: dict[str, _Motion] = {}
        self._far: dict[str, tuple[int, int]] = {}
        self._jump: tuple[int, float, int] = (0, 0.0, 0)
        self._priced_at = 0

    def take(
        self, samples: Sequence[Sample], now: int, last: float, spread: Spread, *, resumed: bool = False
    ) -> Quorum:
        """Put fresh figures together.

        Args:
            samples: the latest of each market, fresh ones only.
            now: UTC ms.
            last: the price that was agreed on before, USD; 0 where there was none.
            spread: how far the venues usually are apart.
            resumed: the price was followed before this run: what came since the running bar began is news.
        """
        if now < self._priced_at:
            self._forget()  # the clock was put back: what is known is of no time
        doubts = self._doubts(samples, now, last)
        believed = [sample for sample in samples if sample.market.key not in doubts]
        voices = voices_of((s.market, s.market.usd(s.contracts, s.mark), s) for s in believed)
        price = agreed_price({venue: s.mark for venue, s in voices.items()}, last, spread.tolerance)
        spread.see([sample.mark for sample in voices.values()])
        far = self._far_from(price.far, voices)
        for sample in believed:
            if sample.market.venue in far:
                doubts[sample.market.key] = f"its price is {far[sample.market.venue] - 1:+.1%} off the others'"
        believed = [sample for sample in believed if sample.market.key not in doubts]
        received_at = max((sample.received_at for sample in voices.values()), default=0)
        if not price.value or received_at <= self._priced_at or self._must_wait(voices, price.value, last, received_at):
            return Quorum((), tuple(believed), doubts, received_at=received_at)
        witnesses = {venue: s for venue, s in voices.items() if venue not in price.far}
        witnesses = witnesses if len(witnesses) >= 2 else voices
        self._note(voices, now, resumed=resumed)
        path, wicks = self._path(witnesses, price.value, last, now)
        self._priced_at = received_at
        disputed = {venue: sample.mark for venue, sample in voices.items()} if price.disputed else {}
        return Quorum(path, _cut_back(believed, witnesses), doubts, disputed, wicks, received_at)

    def confirm(self, low: float, high: float, opened_at: int, now: int, last: float) -> tuple[float, ...]:
        """Return extremes that closed bars bear out and no look has shown, as the path that they add.

        Args:
            low, high: of the bars that closed, as venues bear them out, USD.
            opened_at: when the bars began; what began before the first look is told otherwise.
            now: UTC ms.
            last: the price that was agreed on last, USD.
        """
        if not self._told or self._told[0].at > opened_at or not last:
            return ()
        lowest, highest = self._told_range(now)
        added = tuple(
            price for price, news in ((low, low < min(lowest, last)), (high, high > max(highest, last))) if news
        )
        if not added:
            return ()
        self._told.append(_Look(now, min(added), max(added)))
        return (*added, last)

    # -- what does not count

    def _doubts(self, samples: Sequence[Sample], now: int, last: float) -> dict[str, str]:
        """Markets whose figures do not count, with why."""
        marks = {sample.market.key: sample.mark for sample in samples}
        sizes = {s.market.key: s.market.usd(s.contracts, s.mark) for s in samples}
        doubts = dict.fromkeys(other_coins(marks, sizes, last), "another coin of that name")
        for sample in samples:
            key = sample.market.key
            if key in doubts:
                continue
            others = [s.mark for s in samples if s.market.venue != sample.market.venue and s.market.key not in doubts]
            if others and self._stands_still(sample, median(others), now):
                doubts[key] = "its figures do not move"
        return doubts

    def _stands_still(self, sample: Sample, others: float, now: int) -> bool:
        """Whether a market's figures have not changed for long while the others' have."""
        known = self._motions.get(sample.market.key)
        if known is None or (known.mark, known.contracts) != (sample.mark, sample.contracts) or known.since > now:
            self._motions[sample.market.key] = _Motion(sample.mark, sample.contracts, now, others)
            return False
        return now - known.since >= self._fresh_ms and abs(math.log(others / known.others)) > FROZEN_MOVE

    def _far_from(self, far: Mapping[str, float], voices: Mapping[str, Sample]) -> dict[str, float]:
        """Venues that have been far from the others for some looks, with how far."""
        found = {}
        for venue, sample in voices.items():
            if venue not in far:
                self._far.pop(venue, None)
                continue
            looks, seen_at = self._far.get(venue, (0, 0))
            if sample.received_at != seen_at:
                self._far[venue] = looks, _ = looks + 1, sample.received_at
            if looks >= FAR_LOOKS:
                found[venue] = far[venue]
        return found

    def _must_wait(self, voices: Mapping[str, Sample], price: float, last: float, received_at: int) -> bool:
        """Whether a jump that one venue alone shows has not stood for long enough."""
        if len(voices) > 1 or not last or abs(math.log(price / last)) <= JUMP:
            self._jump = (0, 0.0, 0)
            return False
        looks, where, seen_at = self._jump
        same = where and abs(math.log(price / where)) <= JUMP
        looks = looks if same and seen_at == received_at else (looks + 1 if same else 1)
        self._jump = (looks, price, received_at)
        return looks < JUMP_LOOKS

    # -- the path

    def _note(self, voices: Mapping[str, Sample], now: int, *, resumed: bool) -> None:
        """Keep what each venue has shown while it is fresh, also of one that is far from the others just now."""
        for venue in [venue for venue in self._looks if venue not in voices]:
            del self._looks[venue]
        for venue, sample in voices.items():
            looks = self._looks.setdefault(venue, deque())
            before = looks[-1].at if looks else 0
            if sample.received_at > before:
                whole = sample.watched_from <= before if before else not (resumed or self._priced_at)
                low, high = (sample.low, sample.high) if whole else (sample.bar_low, sample.bar_high)
                looks.append(_Look(sample.received_at, low, high))
            while looks[0].at <= now - self._fresh_ms and len(looks) > 1:
                looks.popleft()

    def _path(
        self, witnesses: Mapping[str, Sample], price: float, last: float, now: int
    ) -> tuple[tuple[float, ...], dict[str, float]]:
        """Prices since the look before, in the order they are taken to have come; and what one venue alone showed."""
        lows = {venue: min(look.low for look in self._looks[venue]) for venue in witnesses}
        highs = {venue: max(look.high for look in self._looks[venue]) for venue in witnesses}
        low, high = second_lowest(lows.values()), second_highest(highs.values())
        told_low, told_high = self._told_range(now)
        low, high = (low if low < told_low else price), (high if high > told_high else price)
        low, high = min(low, price), max(high, price)
        self._told.append(_Look(now, low, high))
        wicks = {
            witnesses[venue].market.key: extreme
            for venue, extreme in (*lows.items(), *highs.items())
            if len(lows) > 1 and (extreme < min(low, told_low) or extreme > max(high, told_high))
        }
        path = (low, high, price) if not last or price >= last else (high, low, price)
        return path, wicks

    def _told_range(self, now: int) -> tuple[float, float]:
        """The lowest and highest price that were told of late."""
        while self._told and self._told[0].at < now - max(MEMORY_MS, 2 * self._fresh_ms):
            self._told.popleft()
        return (
            min((look.low for look in self._told), default=math.inf),
            max((look.high for look in self._told), default=-math.inf),
        )

    def _forget(self) -> None:
        self._looks.clear()
        self._told.clear()
        self._motions.clear()
        self._far.clear()
        self._priced_at = 0


def _cut_back(samples: Sequence[Sample], witnesses: Mapping[str, Sample]) -> tuple[Sample, ...]:
    """Samples whose extremes go no further than a second venue's."""
    if len(witnesses) < 2:
        return tuple(samples)
    floor = second_lowest(sample.bar_low for sample in witnesses.values())
    ceiling = second_highest(sample.bar_high for sample in witnesses.values())
    return tuple(
        replace(
            sample,
            low=max(sample.low, floor),
            high=min(sample.high, ceiling),
            bar_low=max(sample.bar_low, floor),
            bar_high=min(sample.bar_high, ceiling),
        )
        for sample in samples
    )
