"""Parsing of rules as users type them: a whole rule, or distance and size, with the coin anywhere."""

from __future__ import annotations

import re
from dataclasses import replace

from engine.alerts.rule_syntax import SIDE_WORDS, parse_distance, parse_rule, parse_size
from engine.alerts.rules import METRIC_KINDS, RULE_KINDS, TIERS, Rule
from engine.errors import InputError
from handlers.context import Request
from handlers.numbers import find_asset, parse_price

EXAMPLE = "/threshold normal"
ALERT_EXAMPLE = "/alert price 95k"
SAVE = "save"
_LIFE = frozenset({"once", "always", "every", "for"})


def read_rule(request: Request, arguments: str, name: str = "threshold") -> tuple[Rule, bool]:
    """Return the rule, and whether to save it without asking about its past alerts.

    Words of the rule grammar take precedence over coins of the same name, unless written with a dollar sign ($NEAR)
    or in a place where the grammar does not allow them.

    Args:
        name: the command. For /threshold a small bare number is a distance, for /alert it is a price.

    Raises:
        InputError: when a word is not understood, naming it.
    """
    asset, words = _coin_and_words(request, re.sub(r"(\d)\s+%", r"\1%", arguments).split())
    sure = words[-1:] == [SAVE]
    words = words[:-1] if sure else words
    if words and words[0] == "off":
        raise InputError("Remove alerts one by one, or all at once.", "/alerts remove all")
    if words and words[0] in ("oi", "funding"):
        words = [words[0], *(re.sub(r"^[+-](?=\d)", "", word) for word in words[1:])]
    if words and words[0] in METRIC_KINDS:
        return _value_rule(request, asset, words), sure
    if words and words[0] in RULE_KINDS:
        return replace(parse_rule(" ".join(words), request.now), asset=asset), sure
    sized = name == "threshold" and words and re.fullmatch(r"\d+([.,]\d+)?[mb]", words[0])
    if words and words[0][:1].isdigit() and not words[0].endswith("%") and not sized:
        if name == "threshold" and re.fullmatch(r"\d{1,2}([.,]\d+)?", words[0]):
            words[0] += "%"
        else:
            return _value_rule(request, asset, ["price", *words]), sure  # a bare number is a price
    rest = []
    for word in words:
        if word.isalpha() and not _belongs(words, word):
            try:
                asset = find_asset(word, request.services.assets)
            except InputError:
                raise InputError(
                    "{word!r} isn't calm, normal, busy or a watched coin.", EXAMPLE, word=word[:20]
                ) from None
        else:
            _check(word, words)
            rest.append(word)
    return replace(parse_rule(" ".join(["near", *rest]), request.now), asset=asset), sure


FILLERS = frozenset(
    {"me", "at", "when", "if", "is", "it", "alert", "hits", "reaches", "above", "below", "over", "under"}
)
"""Words around a price that are ignored; the price itself shows whether it is above or below."""


def _coin_and_words(request: Request, given: list[str]) -> tuple[str | None, list[str]]:
    """Return the coin that the words name (None for all) and the other words in lower case."""
    known = request.services.assets
    asset: str | None = None
    words: list[str] = []
    for at, written in enumerate(given):
        word = re.sub(r"^[<>]=?", "", written.lower())
        if written.startswith("$") and written[1:].upper() in known:
            asset = written[1:].upper()
        elif _is_grammar(word, words, given[at + 1 :]):
            if word != ALL:
                words.append(word)
        elif word.upper() in known:
            asset = word.upper()
        elif word and not (word in FILLERS or (word == "price" and not words)):
            words.append(word)
    return asset, words


ALL = "all"


def _is_grammar(word: str, before: list[str], after: list[str]) -> bool:
    """Return whether a word belongs to the rule grammar at its position."""
    if not before and word in RULE_KINDS:
        return word != "price" or bool(after)
    if word in ("for", "every"):
        return bool(after) and bool(re.fullmatch(r"\d{1,5}[mhd]", after[0].lower()))
    if word == SAVE:
        return not after
    return word in TIERS or word in SIDE_WORDS or word in ("once", "always", ALL)


def _belongs(words: list[str], word: str) -> bool:
    """Return whether a word is a tier, a side, or part of a rule's repetition or lifetime."""
    return word in TIERS or word in SIDE_WORDS or word in _LIFE or _previous_is_life(words, word)


def _previous_is_life(words: list[str], word: str) -> bool:
    at = words.index(word)
    return at > 0 and words[at - 1] in ("every", "for")


def _check(word: str, words: list[str]) -> None:
    """Raise the error for a word that is neither a valid distance nor a valid size."""
    if _belongs(words, word):
        return
    if word.endswith("%"):
        parse_distance(word)
    else:
        parse_size(word)


def _value_rule(request: Request, asset: str | None, words: list[str]) -> Rule:
    """Parse a metric rule. A price may be in any usual notation, read as the one nearest the mark price."""
    if words[0] != "price":
        return replace(parse_rule(" ".join(words), request.now), asset=asset)
    asset = asset or request.services.assets[0]
    board = request.services.board(asset)
    if len(words) < 2:
        raise InputError("A price rule needs a level.", ALERT_EXAMPLE)
    level = parse_price(words[1], board.view.mark)
    life = parse_rule(" ".join(["price", "1", *words[2:]]), request.now)
    return replace(life, asset=asset, level=level)
