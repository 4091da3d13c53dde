"""Liquidation orders of both Binance futures venues: finds the part of an order that is new in a frame.

The stream sends an order's latest state at most once a second per symbol. `z` is the total filled so far, `l` only the
last fill (Binance's documentation of liquidation order streams). Other fills within the same second appear in no
frame, so we use `z`. An order that shows up again has grown, and only the growth is new.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORGET_MS = 60_000
"""An order is filled or gone within moments: after this, one with the same size and price is a different order."""

MAX_ORDERS = 2_000


@dataclass(slots=True)
class _Seen:
    filled: float
    at: int
    done: bool


class Fills:
    """Tracks orders from frame to frame. They carry no id: market, side, size and price identify them."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()

    def new_amount(self, order: Mapping[str, Any]) -> float:
        """Return the amount a frame adds to what we counted of its order, 0 for a repeated frame.

        Raises:
            KeyError, ValueError: when the frame has another shape.
        """
        key = tuple(str(order.get(name)) for name in ("s", "S", "q", "p"))
        filled, at, done = float(order["z"]), int(order["T"]), str(order.get("X", "FILLED")) == "FILLED"
        seen = self._seen.pop(key, None)
        if seen is not None and (at - seen.at > FORGET_MS or (seen.done and at != seen.at)):
            seen = None
        before = seen.filled if seen is not None else 0.0
        self._seen[key] = _Seen(max(filled, before), at, done or (seen is not None and seen.done))
        while len(self._seen) > MAX_ORDERS:
            self._seen.popitem(last=False)
        return max(filled - before, 0.0)
