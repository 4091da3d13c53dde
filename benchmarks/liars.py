"""One lying venue among truthful ones, a thousand times: how often a false price passes or a true one is lost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from tests.engine.liars import runs

SEEDS = 1000
LOST = 5e-4
"""Log distance by which an extreme must fall short to count as lost: the venues' own spread."""


def run() -> Iterator[tuple[str, float, str]]:
    """Run all seeds and yield failures by kind of lie. Tests run the first few."""
    seen: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for _, kind, lied, truthful in runs(range(SEEDS)):
        seen[kind] += 1
        lost = max(math.log(lied.low / truthful.low), math.log(truthful.high / lied.high))
        bad[kind] += lied.too_far > 1e-9 or lost > LOST
    yield "liars.seeds", float(sum(seen.values())), "runs"
    for kind in sorted(seen):
        yield f"liars.{kind}", float(bad[kind]), f"of {seen[kind]} reported or lost an extreme"
