"""Run benchmarks by name, or all: one figure a line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator

from benchmarks import answers, crash, delivery, hostile, liars, rules, start, tick, truth, variants, venues

Figure = tuple[str, float, str]

BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "tick": tick.run,
    "rules": rules.run,
    "crash": crash.run,
    "delivery": delivery.delivery,
    "latency": delivery.latency,
    "answers": answers.run,
    "hostile": hostile.run,
    "liars": liars.run,
    "start": start.run,
    "venues": venues.run,
    "truth": truth.run,
    "variants": variants.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="one object a line")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        print(f"benchmarks: no {unknown[0]}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in options.names or BENCHMARKS:
        for label, value, unit in BENCHMARKS[name]():
            row = {"name": label, "value": round(value, 4), "unit": unit}
            print(json.dumps(row) if options.json else f"{label:40} {value:12.4g} {unit}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
