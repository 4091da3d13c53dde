"""The seams: what the engine needs from outside, and what the outside needs from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from engine.alerts.decide import StateKey
from engine.alerts.near import NearState
from engine.board import AssetUpdate
from engine.market import Bar, Liquidation, Market


class Clock(Protocol):
    """Where the time comes from. speed is how many of its seconds pass in one of the machine's."""

    @property
    def speed(self) -> float: ...

    def now(self) -> int:
        """UTC epoch milliseconds."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """One tick's worth of market, by asset. late: what was missed while the program was down, told as such."""

    now: int
    updates: Mapping[str, AssetUpdate]
    liquidations: tuple[Liquidation, ...] = ()
    late: bool = False
    silent: bool = False


class Feed(Protocol):
    """A market: live venues, the loopback exchange through ccxt, or a recorded file."""

    def ticks(self) -> AsyncIterator[Delivered]:
        """Ticks in order of time, until the feed ends."""
        ...


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert to be stored and sent.

    Attributes:
        key: never made twice; a store drops a second one.
        facts: what the message is rendered from, JSON values only.
    """

    key: str
    kind: str
    asset: str
    chat_id: int
    rule_id: int | None
    at: int
    facts: dict[str, Any]


@dataclass(slots=True)
class TickRecord:
    """All that one tick changes, stored in one transaction before anything is sent."""

    now: int
    states: dict[StateKey, NearState | None] = field(default_factory=dict)
    alerts: list[AlertRecord] = field(default_factory=list)
    bars: list[tuple[Market, Bar]] = field(default_factory=list)
    liquidations: list[Liquidation] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.states or self.alerts or self.bars or self.liquidations)


class TickStore(Protocol):
    """Where ticks go."""

    async def commit(self, record: TickRecord) -> None:
        """Store all of a tick or nothing of it.

        Raises:
            StorageError: when it could not; the process must then end and start again from what is stored.
        """
        ...


OutcomeKind = Literal["sent", "retry", "plain", "gone", "moved", "dead", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a platform answered.

    Attributes:
        kind: sent; retry (later); plain (once more as plain text); gone (switch the chat off); moved (the chat has
            a new id); dead (give up); unknown (cut off after sending: it may have arrived).
        error: a short word for it, never with an address or a token in it.
        retry_after: seconds, at least, before anything of this bucket may be sent.
        remote_id: the message's id on the platform.
        moved_to: the chat's new id.
    """

    kind: OutcomeKind
    error: str = ""
    retry_after: float | None = None
    remote_id: str = ""
    moved_to: str = ""
