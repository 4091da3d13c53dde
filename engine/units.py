"""Numbers and lengths of time as people write them in rules: one parser and one writer each."""

from __future__ import annotations

import re

from engine.errors import InputError
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS

GROUPED = r"[1-9]\d{0,2}(?:[.,' ]\d{3})+"
"""A number grouped by thousands, as a pattern."""

MULTIPLES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_SPAN = re.compile(r"(\d{1,5})([mhd])")


def parse_number(digits: str) -> float:
    """Return a number written with a decimal point or comma, or grouped by thousands."""
    if re.fullmatch(GROUPED, digits):
        return float(re.sub(r"\D", "", digits))
    return float(digits.replace(",", "."))


def usd_text(value: float) -> str:
    """Return a size as users write it: 20m, 1.5b, 750k."""
    for unit, letter in ((1e9, "b"), (1e6, "m"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def parse_span(word: str, bounds: tuple[int, int], example: str) -> int:
    """Return a length of time such as 30m, 4h or 7d in ms.

    Raises:
        InputError: when it is not one, or out of bounds.
    """
    match = _SPAN.fullmatch(word)
    if not match:
        raise InputError("Time must look like 30m, 4h or 7d, not {word!r}.", example, word=word[:20])
    span_ms = int(match[1]) * {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}[match[2]]
    if not bounds[0] <= span_ms <= bounds[1]:
        low, high = map(time_text, bounds)
        raise InputError("Time must be {low} to {high} here.", example, low=low, high=high)
    return span_ms


def time_text(span_ms: int) -> str:
    """Return a length of time as users write it: 30m, 4h, 7d."""
    for unit, letter in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m")):
        if span_ms >= unit and span_ms % unit == 0:
            return f"{span_ms // unit}{letter}"
    return f"{span_ms / MINUTE_MS:g}m"
