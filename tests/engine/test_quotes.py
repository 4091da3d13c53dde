"""Looks at venues put together: what waits for a second one, what is told, and what a liar can do."""

from __future__ import annotations

import math

import pytest

from engine.consensus import Spread
from engine.market import MINUTE_MS, Market, Sample
from engine.quotes import Quorum, Quotes
from tests.engine.liars import FRESH_MS, LIES, runs

NOW = 1_764_000_000_000
POLL_MS = 20_000


def sample(
    venue: str,
    mark: float,
    at: int = NOW,
    low: float | None = None,
    high: float | None = None,
    contracts: float = 1000.0,
    watched_from: int = 0,
) -> Sample:
    lowest, highest = low or mark, high or mark
    market = Market(venue, "BTC/USDT:USDT", "BTC")
    return Sample(market, at, at, mark, highest, lowest, highest, lowest, contracts, watched_from=watched_from)


class Desk:
    """Quotes asked every twenty seconds."""

    def __init__(self) -> None:
        self.quotes, self.spread, self.last, self.now = Quotes(FRESH_MS), Spread(), 0.0, NOW

    def take(self, *seen: tuple[str, float] | Sample, step: int = POLL_MS) -> Quorum:
        self.now += step
        samples = [
            row if isinstance(row, Sample) else sample(*row, at=self.now, contracts=1000.0 + self.now % 997)
            for row in seen
        ]
        quorum = self.quotes.take(samples, self.now, self.last, self.spread)
        self.last = quorum.path[-1] if quorum.path else self.last
        return quorum


def test_a_lone_venue_is_followed() -> None:
    desk = Desk()
    first = desk.take(("a", 100.0))
    assert first.path == (100.0, 100.0, 100.0)
    seen = sample("a", 99.0, desk.now + POLL_MS, low=95.0, watched_from=desk.now)
    assert desk.take(seen).path == (99.0, 95.0, 99.0)


def test_a_low_that_one_venue_shows_waits_for_a_second() -> None:
    """Venues are asked at different moments: the second look may come with the next tick."""
    desk = Desk()
    for _ in range(2):
        desk.take(("a", 100.0), ("b", 100.0), ("c", 100.0))
    dip = sample("a", 100.0, desk.now + POLL_MS, low=80.0)
    quorum = desk.take(dip, ("b", 100.0), ("c", 100.0))
    assert min(quorum.path) == 100.0
    assert quorum.wicks == {dip.market.key: 80.0}
    assert min(s.bar_low for s in quorum.samples) == 100.0, "and its own levels are not swept by it"
    second = sample("b", 100.0, desk.now + 5_000, low=80.5)
    assert min(desk.take(dip, second, ("c", 100.0), step=5_000).path) == 80.5
    assert min(desk.take(dip, second, ("c", 100.0), step=5_000).path) == 100.0, "told once"


def test_two_venues_that_disagree_fire_nothing_that_one_alone_shows() -> None:
    desk = Desk()
    desk.take(("a", 100.0), ("b", 100.0))
    quorum = desk.take(("a", 100.0), ("b", 70.0))
    assert set(quorum.path) == {100.0}
    assert quorum.disputed == {"a": 100.0, "b": 70.0}
    assert not desk.take(("a", 69.9), ("b", 70.0)).disputed
    assert desk.last == 70.0


def test_of_two_the_one_that_stands_still_while_the_other_moves_has_no_vote() -> None:
    """A leader that repeats itself with fresh times must not delay everybody's alerts."""
    desk = Desk()
    desk.take(("a", 100.0), sample("b", 100.0))
    price = 100.0
    for _ in range(6):
        price -= 0.2
        quorum = desk.take(("a", price), sample("b", 100.0, desk.now + POLL_MS))
    assert quorum.doubts == {"b BTC/USDT:USDT": "its figures do not move"}
    assert desk.last == pytest.approx(price)
    assert not desk.take(("a", price), ("b", price)).doubts


def test_a_lone_venues_jump_is_believed_once_it_has_stood() -> None:
    desk = Desk()
    desk.take(("a", 100.0))
    assert not desk.take(("a", 30.0)).path
    assert not desk.take(("a", 31.0)).path
    assert desk.take(("a", 30.5)).path[-1] == 30.5


@pytest.mark.parametrize("factor", [1.6, 3.0, 0.4])
def test_a_jump_that_two_venues_show_is_believed_at_once(factor: float) -> None:
    desk = Desk()
    desk.take(("a", 100.0), ("b", 100.0))
    assert desk.take(("a", 100.0 * factor), ("b", 100.1 * factor)).path
    assert desk.last == pytest.approx(100.0 * factor, rel=0.01)


def test_a_venue_that_stays_far_from_the_others_leaves_the_sum_and_is_named() -> None:
    desk = Desk()
    for _ in range(4):
        quorum = desk.take(("a", 100.0), ("b", 100.0), ("c", 109.0))
    assert quorum.doubts == {"c BTC/USDT:USDT": "its price is +9.0% off the others'"}
    assert {s.market.venue for s in quorum.samples} == {"a", "b"}
    assert desk.last == 100.0


def test_another_coin_of_the_same_name_is_left_out_by_the_last_price() -> None:
    desk = Desk()
    desk.take(("a", 1.0))
    quorum = desk.take(("a", 1.0), ("b", 100.0), ("c", 101.0))
    assert set(quorum.doubts) == {"b BTC/USDT:USDT", "c BTC/USDT:USDT"}
    assert desk.last == 1.0


def test_when_the_clock_is_put_back_what_was_known_is_forgotten() -> None:
    desk = Desk()
    desk.take(("a", 100.0), step=3_600_000)
    desk.now -= 3_600_000
    assert desk.take(("a", 99.0)).path[-1] == 99.0


def test_bars_tell_what_no_look_has_shown_and_nothing_twice() -> None:
    desk = Desk()
    desk.take(("a", 100.0), ("b", 100.0))
    opened = desk.now + 1
    desk.take(("a", 100.0), ("b", 100.0))
    now = desk.now + 5 * MINUTE_MS
    assert desk.quotes.confirm(97.0, 100.0, opened, now, 100.0) == (97.0, 100.0)
    assert desk.quotes.confirm(97.0, 100.0, opened, now, 100.0) == ()
    assert desk.quotes.confirm(90.0, 100.0, NOW, now, 100.0) == (), "the bar began before anybody looked"


def test_a_liar_among_truthful_venues_fires_and_loses_nothing() -> None:
    """Factor, spike, frozen, unit, late: nothing is told that no truthful one showed, nothing they bear out is lost.

    `make bench ARGS=liars` walks a thousand seeds.
    """
    seen = set()
    for seed, kind, lied, truthful in runs(range(120)):
        seen.add(kind)
        assert lied.too_far <= 1e-9, seed
        assert math.log(lied.low / truthful.low) <= 5e-4, seed
        assert math.log(truthful.high / lied.high) <= 5e-4, seed
    assert seen == set(LIES)
