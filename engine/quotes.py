"""Combines fresh samples of one asset's venues into one price and one path, without doubtful samples. Pure.

The rules are in engine.consensus; this module keeps their state from poll to poll. We poll venues at different
moments, so an extreme of one waits for a second venue's confirmation as long as samples count as fresh.
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
"""Number of polls after which a venue whose price is far from the others' is left out of the sum."""

FROZEN_MOVE = 0.002
"""Log distance that the others must move while a market's figures do not change, for it to count as frozen."""

MEMORY_MS = 12 * MINUTE_MS
"""How long we keep extremes that were already in a path: longer than a bar, which may show them again."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """The combined samples of one asset's venues.

    Attributes:
        path: confirmed prices since the previous poll, oldest first, empty without new samples.
        samples: samples that count, with extremes cut back to a second venue's.
        doubts: markets that do not count, with the reason.
        disputed: marks by venue if the venues disagree, else empty.
        wicks: markets with an extreme that only they showed, USD.
        received_at: when the newest sample was received, UTC ms.
    """

    path: tuple[float, ...] = ()
    samples: tuple[Sample, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)
    disputed: Mapping[str, float] = field(default_factory=dict)
    wicks: Mapping[str, float] = field(default_factory=dict)
    received_at: int = 0


@dataclass(slots=True)
class _Motion:
    """A market's figures, since when they have not changed, UTC ms, and the others' price then."""

    mark: float
    contracts: float
    since: int
    others: float


@dataclass(slots=True)
class _Look:
    """Extremes of one poll."""

    at: int
    low: float
    high: float


class Quotes:
    """Combines one asset's samples from poll to poll.

    Args:
        fresh_ms: how long samples count as fresh.
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
        """Combine fresh samples into a quorum.

        Args:
            samples: the latest of each market, fresh ones only.
            now: UTC ms.
            last: the previous consensus price, USD, 0 if there was none.
            spread: the venues' usual spread, updated in place.
            resumed: the price was followed before this run, so all moves since the running bar opened are news.
        """
        if now < self._priced_at:
            self._forget()  # the clock was set back: stored times are wrong
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
        """Return extremes that closed bars confirm and no poll has shown, as the path that they add.

        Args:
            low, high: confirmed extremes of the closed bars, USD.
            opened_at: when the bars opened, UTC ms. Those from before the first poll add nothing here.
            now: UTC ms.
            last: the last consensus price, USD.
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

    # -- doubts

    def _doubts(self, samples: Sequence[Sample], now: int, last: float) -> dict[str, str]:
        """Return the markets whose samples do not count, with the reason."""
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
        """Return whether a market's figures have not changed for fresh_ms while the others moved."""
        motion = self._motions.get(sample.market.key)
        if motion is None or (motion.mark, motion.contracts) != (sample.mark, sample.contracts) or motion.since > now:
            self._motions[sample.market.key] = _Motion(sample.mark, sample.contracts, now, others)
            return False
        return now - motion.since >= self._fresh_ms and abs(math.log(others / motion.others)) > FROZEN_MOVE

    def _far_from(self, far: Mapping[str, float], voices: Mapping[str, Sample]) -> dict[str, float]:
        """Return venues that have been far from the others for FAR_LOOKS polls, with the ratio."""
        far_venues = {}
        for venue, sample in voices.items():
            if venue not in far:
                self._far.pop(venue, None)
                continue
            looks, seen_at = self._far.get(venue, (0, 0))
            if sample.received_at != seen_at:
                self._far[venue] = looks, _ = looks + 1, sample.received_at
            if looks >= FAR_LOOKS:
                far_venues[venue] = far[venue]
        return far_venues

    def _must_wait(self, voices: Mapping[str, Sample], price: float, last: float, received_at: int) -> bool:
        """Return whether a jump that only one venue shows has not lasted long enough."""
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
        """Store each venue's fresh extremes, even if the venue is far from the others just now."""
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
        """Return the prices since the previous poll in their assumed order, and the wicks."""
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
        """Return the lowest and highest price of recent paths."""
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
    """Return the samples with extremes cut back to a second venue's."""
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
