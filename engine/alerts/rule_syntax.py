"""Rules as people write them: text to rule. Rule.text is the way back."""

from __future__ import annotations

import re
from dataclasses import replace

from engine.alerts.rules import (
    DISTANCE_RANGE,
    EXAMPLES,
    LEVEL_RANGE,
    LIFE_RANGE_MS,
    METRIC_KINDS,
    ONCE,
    REPEAT_RANGE_MS,
    RULE_EXAMPLE,
    RULE_KINDS,
    SIZE_RANGE_USD,
    TIERS,
    Rule,
    RuleKind,
    Tier,
)
from engine.errors import InputError
from engine.market import Side
from engine.units import GROUPED, MULTIPLES, parse_number, parse_span

SIDE_WORDS: dict[str, Side] = {"long": "long", "longs": "long", "short": "short", "shorts": "short"}
_SIZE = re.compile(r"\$?\s*(\d{1,3}(?:[.,' ]\d{3})+|\d+(?:[.,]\d+)?)\s*([kmb]?)\s*(?:usd|\$)?", re.IGNORECASE)
_DISTANCE = re.compile(r"(\d+(?:[.,]\d+)?)\s*%")
_LEVEL = re.compile(rf"\$?({GROUPED}|\d+(?:[.,]\d+)?)([kmb]?)(%?)")


def parse_rule(text: str, now: int = 0) -> Rule:
    """Return the rule of a text such as `near 1% normal`, `price 95k` or `funding 0.05% every 8h for 7d`.

    It has no id and no chat yet.

    Args:
        now: time from which its expiry is counted, UTC ms.

    Raises:
        InputError: naming the word that is not valid.
    """
    words = re.sub(r"(\d)\s+%", r"\1%", text.lower()).split()
    if not words or words[0] not in RULE_KINDS:
        given, kinds = words[0][:20] if words else "?", ", ".join(RULE_KINDS)
        raise InputError("A rule starts with one of {kinds}, not {word}.", RULE_EXAMPLE, kinds=kinds, word=given)
    kind: RuleKind = words[0]
    words, every_ms, expires_at = _lifecycle(words[1:], now)
    rule = _value_rule(kind, words) if kind in METRIC_KINDS else _cluster_rule(kind, words)
    if every_ms is None:
        every_ms = ONCE if kind == "price" else 0
    return replace(rule, every_ms=every_ms, expires_at=expires_at)


def _cluster_rule(kind: RuleKind, words: list[str]) -> Rule:
    distance: float | None = None
    size: Tier | float = "normal"
    side: Side | None = None
    for word in words:
        if _DISTANCE.fullmatch(word):
            distance = parse_distance(word)
        elif word in SIDE_WORDS:
            side = SIDE_WORDS[word]
        else:
            size = parse_size(word)
    if kind != "near" and distance is not None:
        raise InputError("Only near takes a distance; {kind} fires at the cluster itself.", f"{kind} normal", kind=kind)
    return Rule(0, 0, kind, distance=distance, size=size, side=side)


def _value_rule(kind: RuleKind, words: list[str]) -> Rule:
    example = EXAMPLES[kind]
    if len(words) != 1:
        raise InputError("A {kind} rule takes exactly one level.", example, kind=kind)
    match = _LEVEL.fullmatch(words[0])
    if not match or (kind in ("funding", "oi")) != (match[3] == "%"):
        raise InputError("{word!r} is not a level for {kind}.", example, word=words[0][:20], kind=kind)
    value = parse_number(match[1]) * (0.01 if match[3] == "%" else MULTIPLES[match[2]])
    low, high = LEVEL_RANGE[kind]  # type: ignore[index]  # a metric kind, see parse_rule
    if not low <= value <= high:
        raise InputError("{word} is out of range for {kind}.", example, word=words[0][:20], kind=kind)
    return Rule(0, 0, kind, level=value)


def _lifecycle(words: list[str], now: int) -> tuple[list[str], int | None, int | None]:
    """Return the other words, the repeat interval (None: not given) and the expiry, UTC ms."""
    other_words: list[str] = []
    every_ms: int | None = None
    expires_at: int | None = None
    remaining = iter(words)
    for word in remaining:
        if word == "once":
            every_ms = ONCE
        elif word == "always":
            every_ms = 0
        elif word in ("every", "for"):
            length = next(remaining, "")
            span_ms = parse_span(length, REPEAT_RANGE_MS if word == "every" else LIFE_RANGE_MS, f"{word} 4h")
            every_ms, expires_at = (span_ms, expires_at) if word == "every" else (every_ms, now + span_ms)
        else:
            other_words.append(word)
    return other_words, every_ms, expires_at


def parse_distance(word: str) -> float:
    """Return a distance such as 1% or 1,5% as a fraction of price.

    Raises:
        InputError: when it is not a percentage between 0.1 and 20.
    """
    match = _DISTANCE.fullmatch(word.strip())
    if not match:
        raise InputError("{word!r} is not a distance.", "1%", word=word[:20])
    value = float(match[1].replace(",", ".")) / 100
    if not DISTANCE_RANGE[0] <= value <= DISTANCE_RANGE[1]:
        raise InputError("Distance must be 0.1% to 20%, not {word}.", "1%", word=word[:20])
    return value


def parse_size(word: str) -> Tier | float:
    """Return a tier, or a size such as $20m in USD.

    Raises:
        InputError: when it is neither.
    """
    for tier in TIERS:
        if word.strip().lower() == tier:
            return tier
    match = _SIZE.fullmatch(word.strip())
    if not match:
        raise InputError("Size must be calm, normal, busy or USD, not {word!r}.", "$20m", word=word[:20])
    value = parse_number(match[1]) * MULTIPLES[match[2].lower()]
    if not SIZE_RANGE_USD[0] <= value <= SIZE_RANGE_USD[1]:
        raise InputError("Size must be $1k to $1000b, not {word}.", "$20m", word=word[:20])
    return value
