"""Quotes combine venues' samples: an extreme waits for a second venue, and a liar can neither add nor hide one."""

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
    """Quotes that take samples every 20 seconds."""

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


def test_a_low_on_one_venue_waits_for_a_second() -> None:
    """Polls are staggered: the second venue may show it on the next tick."""
    desk = Desk()
    for _ in range(2):
        desk.take(("a", 100.0), ("b", 100.0), ("c", 100.0))
    dip = sample("a", 100.0, desk.now + POLL_MS, low=80.0)
    quorum = desk.take(dip, ("b", 100.0), ("c", 100.0))
    assert min(quorum.path) == 100.0
    assert quorum.wicks == {dip.market.key: 80.0}
    assert min(s.bar_low for s in quorum.samples) == 100.0, "nor are levels of its own map swept"
    second = sample("b", 100.0, desk.now + 5_000, low=80.5)
    assert min(desk.take(dip, second, ("c", 100.0), step=5_000).path) == 80.5
    assert min(desk.take(dip, second, ("c", 100.0), step=5_000).path) == 100.0, "published once"


def test_two_venues_that_disagree_do_not_move_the_price() -> None:
    desk = Desk()
    desk.take(("a", 100.0), ("b", 100.0))
    quorum = desk.take(("a", 100.0), ("b", 70.0))
    assert set(quorum.path) == {100.0}
    assert quorum.disputed == {"a": 100.0, "b": 70.0}
    assert not desk.take(("a", 69.9), ("b", 70.0)).disputed
    assert desk.last == 70.0


def test_of_two_venues_one_that_is_stuck_has_no_vote() -> None:
    """A reference market that repeats itself with fresh times must not delay alerts."""
    desk = Desk()
    desk.take(("a", 100.0), sample("b", 100.0))
    price = 100.0
    for _ in range(6):
        price -= 0.2
        quorum = desk.take(("a", price), sample("b", 100.0, desk.now + POLL_MS))
    assert quorum.doubts == {"b BTC/USDT:USDT": "its figures do not move"}
    assert desk.last == pytest.approx(price)
    assert not desk.take(("a", price), ("b", price)).doubts


def test_a_lone_venues_jump_is_accepted_once_it_lasts() -> None:
    desk = Desk()
    desk.take(("a", 100.0))
    assert not desk.take(("a", 30.0)).path
    assert not desk.take(("a", 31.0)).path
    assert desk.take(("a", 30.5)).path[-1] == 30.5


@pytest.mark.parametrize("factor", [1.6, 3.0, 0.4])
def test_a_jump_on_two_venues_is_accepted_at_once(factor: float) -> None:
    desk = Desk()
    desk.take(("a", 100.0), ("b", 100.0))
    assert desk.take(("a", 100.0 * factor), ("b", 100.1 * factor)).path
    assert desk.last == pytest.approx(100.0 * factor, rel=0.01)


def test_a_venue_that_stays_far_from_the_others_is_left_out_and_named() -> None:
    desk = Desk()
    for _ in range(4):
        quorum = desk.take(("a", 100.0), ("b", 100.0), ("c", 109.0))
    assert quorum.doubts == {"c BTC/USDT:USDT": "its price is +9.0% off the others'"}
    assert {s.market.venue for s in quorum.samples} == {"a", "b"}
    assert desk.last == 100.0


def test_the_last_price_excludes_another_coin_of_the_same_name() -> None:
    desk = Desk()
    desk.take(("a", 1.0))
    quorum = desk.take(("a", 1.0), ("b", 100.0), ("c", 101.0))
    assert set(quorum.doubts) == {"b BTC/USDT:USDT", "c BTC/USDT:USDT"}
    assert desk.last == 1.0


def test_setting_the_clock_back_clears_the_quotes() -> None:
    desk = Desk()
    desk.take(("a", 100.0), step=3_600_000)
    desk.now -= 3_600_000
    assert desk.take(("a", 99.0)).path[-1] == 99.0


def test_bars_add_extremes_that_polls_missed_once() -> None:
    desk = Desk()
    desk.take(("a", 100.0), ("b", 100.0))
    opened = desk.now + 1
    desk.take(("a", 100.0), ("b", 100.0))
    now = desk.now + 5 * MINUTE_MS
    assert desk.quotes.confirm(97.0, 100.0, opened, now, 100.0) == (97.0, 100.0)
    assert desk.quotes.confirm(97.0, 100.0, opened, now, 100.0) == ()
    assert desk.quotes.confirm(90.0, 100.0, NOW, now, 100.0) == (), "the bar opened before the first poll"


def test_a_liar_adds_no_price_and_hides_none() -> None:
    """Factor, spike, frozen, unit, late: no price is published that only the liar showed, and none is lost.

    `make bench ARGS=liars` runs a thousand seeds.
    """
    seen = set()
    for seed, kind, lied, truthful in runs(range(120)):
        seen.add(kind)
        assert lied.too_far <= 1e-9, seed
        assert math.log(lied.low / truthful.low) <= 5e-4, seed
        assert math.log(truthful.high / lied.high) <= 5e-4, seed
    assert seen == set(LIES)
