"""Argument parsing shared by several commands."""

from __future__ import annotations

import re
from typing import Any

from engine.board import AssetBoard
from engine.errors import CliffwatchError, InputError
from engine.facts import source_facts
from handlers import wording
from handlers.answers import Answer
from handlers.context import Request
from handlers.i18n import _
from handlers.numbers import find_asset, span

FIGURE = re.compile(r"[~≈<>=$€£₿]*[+-]?[$€£₿]?\d")
"""Start of a word that is meant as a number, even a malformed one, and so not as an unknown coin."""


class WithheldError(CliffwatchError):
    """The data is too old to answer from. Send the attribute answer instead."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.headline)
        self.answer = answer


def fresh(request: Request, asset: str) -> tuple[AssetBoard, dict[str, Any]]:
    """Return an asset's board and the sources of its data.

    Raises:
        NotReadyError: before its first map.
        WithheldError: when its data is over an hour old.
    """
    board = request.services.board(asset)
    source = source_facts(board, request.now)
    age = source["age_seconds"]
    if age <= wording.WITHHELD_SECONDS:
        return board, source
    answer = Answer(
        _("{asset}: data is {span} old, too stale to quote.", asset=asset, span=span(age)),
        (_("/status shows which sources are down."), wording.sources(source)),
        data={"asset": asset, "age_seconds": age, "withheld": True},
    )
    raise WithheldError(answer)


def asset_and_rest(request: Request, arguments: str) -> tuple[str, str]:
    """Return the asset that is named, or the default one, and the other words.

    A number in the asset's place is not an asset.

    Raises:
        InputError: when two assets are named, or a word before the first number is no watched asset.
    """
    known = request.services.assets
    rest: list[str] = []
    coin: str | None = None
    arguments = re.sub(r"(?<=\d)\s*usdt?\b", "", arguments, flags=re.IGNORECASE)
    for word in re.sub(r"([+-])\s+(?=\d)", r"\1", arguments).split():
        if word.upper() in known or not (FIGURE.match(word) or rest):
            if coin is not None:
                raise InputError(
                    "One coin at a time: {asset} or {word}?", f"/liq {coin.lower()}", asset=coin, word=word[:20]
                )
            coin = find_asset(word, known)
        else:
            rest.append(word)
    return coin or default_asset(request), " ".join(rest)


def default_asset(request: Request) -> str:
    """Return the asset of a group or channel whose alerts are all about one asset, else the first watched."""
    known = request.services.assets
    named = {rule.asset for rule in request.services.subscriptions.of_chat(request.chat.id)}
    only = next(iter(named)) if len(named) == 1 and request.chat.kind != "private" else None
    return only if only in known else known[0]


def only_asset(request: Request, arguments: str, example: str) -> str:
    """Return the asset, for commands that take nothing else.

    Raises:
        InputError: when there are other words, or no such asset.
    """
    asset, rest = asset_and_rest(request, arguments)
    if rest:
        raise unexpected(rest, example)
    return asset


def unexpected(words: str, example: str) -> InputError:
    """Return the error for words that a command does not take."""
    return InputError("Didn't expect {word!r} here.", example, word=words[:20])
