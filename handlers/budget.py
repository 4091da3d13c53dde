"""Rate limits: a token bucket per person and per chat, and one notice when it is empty."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

PERSON = (12.0, 20.0)
CHAT = (30.0, 60.0)
"""Burst size, and answers a minute after that. A chat may have more than a person, as many people share it."""

PICTURE_COST = 3.0
MAX_KEPT = 50_000

Verdict = Literal["yes", "notice", "silence"]


@dataclass(slots=True)
class _Bucket:
    left: float
    at: int
    notified: bool = False


class Budget:
    """Buckets by person and by chat, in memory. Times are wall-clock times."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def spend(self, person: tuple[str, str], chat: str, now: int, cost: float = 1.0) -> Verdict:
        """Return whether to answer a request, to send the one rate-limit notice, or to stay silent.

        Args:
            person: platform and user id; without an id only the chat's bucket counts.
            chat: unique key of the chat.
            now: UTC ms.
        """
        buckets = [self._bucket(("chat", chat), now, CHAT)]
        if person[1]:
            buckets.append(self._bucket(person, now, PERSON))
        last = buckets[-1]
        if all(bucket.left >= cost for bucket in buckets):
            for bucket in buckets:
                bucket.left -= cost
            last.notified = False
            return "yes"
        if last.notified:
            return "silence"
        last.notified = True
        return "notice"

    def _bucket(self, key: tuple[str, str], now: int, allowed: tuple[float, float]) -> _Bucket:
        at_once, a_minute = allowed
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(at_once, now)
            while len(self._buckets) > MAX_KEPT:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.left = min(at_once, bucket.left + max(now - bucket.at, 0) / 60_000 * a_minute)
        bucket.at = now
        return bucket
