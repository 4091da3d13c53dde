"""Binance's forced orders, on both of its futures venues: what of an order is new in a snapshot of it.

The stream shows an order's latest state at most once a second and symbol. `z` is all that has been filled of it, `l`
only the last part (Binance's documentation of liquidation order streams): parts that fell within the same second are
in no frame, so `z` counts. An order that shows up again has grown, and only the growth is new.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORGET_MS = 60_000
"""An order is filled or gone within moments: another of the same size and price after that is another order."""

MAX_ORDERS = 2_000


@dataclass(slots=True)
class _Seen:
    filled: float
    at: int
    done: bool


class Fills:
    """Follows orders from frame to frame. They carry no number: market, side, size and price tell them apart."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()

    def new_amount(self, order: Mapping[str, Any]) -> float:
        """Return what a frame adds to what was counted of its order, 0 for a frame that came twice.

        Raises:
            KeyError, ValueError: when the frame is not of that shape.
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
