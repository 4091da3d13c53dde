"""Maps venues' coin names to assets: a multiplier coin is one asset at one price, whatever lot a venue quotes."""

from __future__ import annotations

import re

from engine.errors import ImplausibleError

_LOT_BEFORE = re.compile(r"(10{3,7}|1M|k)(?=[A-Z][A-Z0-9]+$)")
"""Matches 1000PEPE, 1000000MOG, 1MBABYDOGE and kPEPE, but not 1INCH and 1000X, which are names of coins."""

_LOT_BEHIND = re.compile(r"^([A-Z]{3,})(10{3,7})$")
"""Matches SHIB1000."""

MAX_NAME = 20

METALS = frozenset({"PAXG", "XAUT", "XAU", "XAG", "GOLD", "SILVER", "XPT", "XPD", "KAU"})
"""Metals and their tokens: listed like coins, but excluded from the ranking of coins."""


def coin_of(base: str) -> tuple[str, float]:
    """Return the asset of a market's base currency, and how many coins one priced unit is.

    Raises:
        ImplausibleError: when it is not letters and digits only, as messages, pictures and terminals show it.
    """
    if not is_name(base):
        raise ImplausibleError("not a valid coin name")
    before = _LOT_BEFORE.match(base)
    if before:
        lot = before[1]
        return base[before.end() :], {"k": 1e3, "1M": 1e6}.get(lot) or float(lot)
    behind = _LOT_BEHIND.match(base)
    if behind:
        return behind[1], float(behind[2])
    return base.upper(), 1.0


def is_name(text: str) -> bool:
    """Return whether a text can be a coin's ticker: 1 to 20 letters and digits of any script."""
    return 0 < len(text) <= MAX_NAME and text.isalnum()
