"""A simulated market, polled at staggered times at truthful venues and at one liar. For tests and benchmarks."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from engine.consensus import Spread
from engine.market import Market, Sample
from engine.quotes import Quotes

START = 1_764_000_000_000
POLL = 20
STEP = 5
FRESH_MS = 60_000
PRICES = ("mark", "high", "low", "bar_high", "bar_low")
LIES = ("factor", "spike", "frozen", "unit", "late")


@dataclass(frozen=True)
class Outcome:
    """Price range published during one run.

    Attributes:
        low, high: lowest and highest published price, USD.
        too_far: how far it went beyond anything a truthful venue had shown by then, as a log distance.
    """

    low: float
    high: float
    too_far: float


def prices(chance: random.Random, seconds: int) -> list[float]:
    """Return one price per second: a random walk, three times in four with a crash or a squeeze."""
    price, walk = 90_000.0, []
    at, size = chance.randrange(60, seconds - 90), chance.choice((0.0, -0.06, 0.06, -0.4))
    for second in range(seconds):
        drift = size / 30 if at <= second < at + 30 else -size / 60 if at + 30 <= second < at + 60 else 0.0
        price *= math.exp(drift + chance.gauss(0, 0.0001))
        walk.append(price)
    return walk


def looks(name: str, truth: Sequence[float], offset: int, bias: float) -> dict[int, Sample]:
    """Return a truthful venue's samples by the second of the poll."""
    samples, before = {}, 0
    market = Market(name, "BTC/USDT:USDT", "BTC")
    for second in range(offset, len(truth), POLL):
        seen = [p * bias for p in truth[before : second + 1]] or [truth[second] * bias]
        bar = [p * bias for p in truth[second // 300 * 300 : second + 1]]
        at = START + second * 1000
        samples[second] = Sample(
            market,
            at,
            at,
            seen[-1],
            max(seen),
            min(seen),
            max(bar),
            min(bar),
            1000.0 + second,
            watched_from=START if not before else START + before * 1000,
        )
        before = second
    return samples


def lie(kind: str, honest: dict[int, Sample], chance: random.Random) -> dict[int, Sample]:
    """Return the samples of a venue that starts to lie at a random poll."""
    seconds = sorted(honest)
    begins = chance.randrange(1, len(seconds) - 1)
    factor = math.exp(chance.choice((-1, 1)) * chance.uniform(0.0, 1.0) ** 2 * 2)
    factor = 1000.0 if kind == "unit" else factor
    samples = {}
    for number, second in enumerate(seconds):
        sample = honest[second]
        if number >= begins:
            match kind:
                case "factor" | "unit":
                    sample = replace(
                        sample,
                        **{
                            name: getattr(sample, name) * factor
                            for name in ("mark", "high", "low", "bar_high", "bar_low")
                        },
                    )
                case "spike" if number == begins:
                    low, high = min(sample.low, sample.mark * factor), max(sample.high, sample.mark * factor)
                    sample = replace(
                        sample,
                        low=low,
                        high=high,
                        bar_low=min(low, sample.bar_low),
                        bar_high=max(high, sample.bar_high),
                    )
                case "frozen":
                    sample = replace(honest[seconds[begins - 1]], at=sample.at, received_at=sample.received_at)
                case "late":
                    earlier = honest[seconds[max(number - 3, 0)]]
                    sample = replace(earlier, at=sample.at, received_at=sample.received_at)
                case _:
                    pass
        samples[second] = sample
    return samples


def price_range(venues: Sequence[dict[int, Sample]], honest: Sequence[dict[int, Sample]], seconds: int) -> Outcome:
    """Return the price range published over a run, compared with what the honest venues had shown by then."""
    quotes, spread, last = Quotes(FRESH_MS), Spread(), 0.0
    low = shown_low = math.inf
    high = shown_high = -math.inf
    too_far = 0.0
    for second in range(0, seconds, STEP):
        early = second < POLL  # the first tick waits for every venue
        fresh = [sample for venue in venues if (sample := _latest(venue, second)) is not None]
        for venue in honest:
            for at in range(max(second - STEP + 1, 0), second + 1):
                if at in venue:
                    shown_low, shown_high = min(shown_low, venue[at].low), max(shown_high, venue[at].high)
        path = () if early else quotes.take(fresh, START + second * 1000, last, spread).path
        if not path:
            continue
        last = path[-1]
        low, high = min(low, *path), max(high, *path)
        too_far = max(too_far, math.log(shown_low / low), math.log(high / shown_high))
    return Outcome(low, high, too_far)


def _latest(venue: dict[int, Sample], second: int) -> Sample | None:
    at = max((at for at in venue if at <= second), default=None)
    return venue[at] if at is not None and second - at <= FRESH_MS / 1000 else None


def runs(seeds: Iterator[int] | Sequence[int]) -> Iterator[tuple[int, str, Outcome, Outcome]]:
    """Yield each seed, its kind of lie, and the outcomes with and without the liar."""
    for seed in seeds:
        chance = random.Random(seed)
        seconds, kind = 480, chance.choice(LIES)
        truth = prices(chance, seconds)
        count = chance.choice((3, 3, 4, 10))
        honest = [looks(f"v{i}", truth, chance.randrange(POLL), 1 + chance.uniform(-1, 1) * 1e-4) for i in range(count)]
        liar = lie(kind, looks("liar", truth, chance.randrange(POLL), 1.0), chance)
        yield seed, kind, price_range([*honest, liar], honest, seconds), price_range(honest, honest, seconds)
