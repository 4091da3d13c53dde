"""What several commands read from their arguments."""

from __future__ import annotations

import re

from engine.errors import InputError
from handlers.context import Request
from handlers.numbers import find_asset, is_number


def asset_and_rest(request: Request, arguments: str) -> tuple[str, str]:
    """The asset somebody means, the first watched one by default, and the other words.

    A number in the asset's place is not an asset.

    Raises:
        InputError: when a word is neither a watched asset nor a number.
    """
    known = request.services.assets
    rest: list[str] = []
    found: str | None = None
    arguments = re.sub(r"(?<=\d)\s*usdt?\b", "", arguments, flags=re.IGNORECASE)
    for word in re.sub(r"([+-])\s+(?=\d)", r"\1", arguments).split():
        if word.upper() in known or not (is_number(word.lstrip("~≈")) or rest):
            if found is not None:
                raise InputError(f"One asset at a time: {found} or {word[:20]}?", f"/liq {found.lower()}")
            found = find_asset(word, known)
        else:
            rest.append(word)
    return found or known[0], " ".join(rest)


def only_asset(request: Request, arguments: str, example: str) -> str:
    """The asset somebody means where nothing else is expected.

    Raises:
        InputError: when there is more, or no such asset.
    """
    asset, rest = asset_and_rest(request, arguments)
    if rest:
        raise InputError(f"{rest[:20]!r} is not expected here.", example)
    return asset
