"""How much one person and one chat may ask for: a bucket each that fills again, and one notice when it is empty."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

PERSON = (12.0, 20.0)
CHAT = (30.0, 60.0)
"""Answers at once, and answers a minute after that. A group is allowed more than a person: many ask in it."""

PICTURE_COST = 3.0
MOST_KEPT = 50_000

Verdict = Literal["yes", "notice", "silence"]


@dataclass(slots=True)
class _Bucket:
    left: float
    at: int
    told: bool = False


class Budget:
    """Buckets by person and by chat, in memory. Times are the machine's."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def spend(self, person: tuple[str, str], chat_id: int, now: int, cost: float = 1.0) -> Verdict:
        """Whether somebody is answered: yes, with the one notice that it was too much, or not at all.

        Args:
            person: platform and user id; without an id only the chat counts.
            now: UTC ms.
        """
        mine = [(self._bucket(("chat", str(chat_id)), now, CHAT), CHAT)]
        if person[1]:
            mine.append((self._bucket(person, now, PERSON), PERSON))
        if all(bucket.left >= cost for bucket, _ in mine):
            for bucket, _ in mine:
                bucket.left -= cost
                bucket.told = False
            return "yes"
        empty = [bucket for bucket, _ in mine if bucket.left < cost]
        if all(bucket.told for bucket in empty):
            return "silence"
        for bucket in empty:
            bucket.told = True
        return "notice"

    def _bucket(self, key: tuple[str, str], now: int, allowed: tuple[float, float]) -> _Bucket:
        at_once, a_minute = allowed
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(at_once, now)
            while len(self._buckets) > MOST_KEPT:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.left = min(at_once, bucket.left + max(now - bucket.at, 0) / 60_000 * a_minute)
        bucket.at = now
        return bucket
