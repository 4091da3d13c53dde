"""What a venue's coin is called here: multiplier coins are one asset at one price, whatever lot a venue quotes."""

from __future__ import annotations

import re

from engine.errors import ImplausibleError

_LOT_BEFORE = re.compile(r"(10{3,7}|1M|k)(?=[A-Z][A-Z0-9]+$)")
"""1000PEPE, 1000000MOG, 1MBABYDOGE, kPEPE; 1INCH and 1000X are coins of that name."""

_LOT_BEHIND = re.compile(r"^([A-Z]{3,})(10{3,7})$")
"""SHIB1000."""

MAX_NAME = 20

METALS = frozenset({"PAXG", "XAUT", "XAU", "XAG", "GOLD", "SILVER", "XPT", "XPD", "KAU"})
"""Tokens of metals: listed like coins, and not what a ranking of coins means."""


def coin_of(base: str) -> tuple[str, float]:
    """Return the asset that a market's base stands for, and how many of it one priced unit is.

    Raises:
        ImplausibleError: when it is no name: messages, pictures and terminals show it, so it is letters and digits.
    """
    if not is_name(base):
        raise ImplausibleError("a coin's name that is none")
    before = _LOT_BEFORE.match(base)
    if before:
        lot = before[1]
        return base[before.end() :], {"k": 1e3, "1M": 1e6}.get(lot) or float(lot)
    behind = _LOT_BEHIND.match(base)
    if behind:
        return behind[1], float(behind[2])
    return base.upper(), 1.0


def is_name(text: str) -> bool:
    """Whether a text can be a coin's ticker: 1 to 20 letters and digits of any script."""
    return 0 < len(text) <= MAX_NAME and text.isalnum()
