"""Everything a command receives: the sender, the chat, and the services it uses. No globals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from engine.board import AssetBoard
from engine.calibration.track_record import TrackRecord
from engine.chats import Chat, ChatKind
from engine.clock import SystemClock
from engine.errors import NotReadyError
from engine.pipeline import AlertPipeline
from engine.ports import Clock, Store
from handlers.budget import Budget
from handlers.subscriptions import Subscriptions


class Membership(Protocol):
    """Queries to a platform about people and chats. Callers query again at each use."""

    async def is_admin(self, remote_chat: str, user_id: str, kind: ChatKind) -> bool:
        """Return whether a person is an admin with the right to decide what is sent to a chat."""
        ...

    async def is_member(self, remote_chat: str, user_id: str) -> bool | None:
        """Return whether a person is a member of a chat, or None if the platform does not say."""
        ...

    async def resolve(self, name: str) -> tuple[str, str, ChatKind] | None:
        """Return remote id, title and kind of a named chat, or None if it does not exist or the bot is not in it."""
        ...

    async def private_chat(self, user_id: str) -> str | None:
        """Return the remote id of the private chat with a person, or None if there can be none."""
        ...

    def user_of(self, remote_chat: str) -> str | None:
        """Return the id of the person whose private chat it is, or None if the platform's ids do not show it."""
        ...


class NoMembership:
    """A platform with one chat and one person, who may do everything."""

    async def is_admin(self, remote_chat: str, user_id: str, kind: ChatKind) -> bool:  # noqa: ARG002  # protocol names
        return True

    async def is_member(self, remote_chat: str, user_id: str) -> bool:  # noqa: ARG002
        return True

    async def resolve(self, name: str) -> tuple[str, str, ChatKind] | None:  # noqa: ARG002
        return None

    async def private_chat(self, user_id: str) -> str | None:
        return user_id

    def user_of(self, remote_chat: str) -> str | None:
        return remote_chat


@dataclass(frozen=True, slots=True)
class SourceState:
    """One venue as /status shows it.

    Attributes:
        age_seconds: age of its oldest sample.
        liquidations: state of its liquidation feed, empty without one.
        history: amount of history still to be read.
        requests, budget_share: requests in the last minute, and the share of the rate limit that they used.
        refused: number of implausible values that were discarded, by kind.
        dropped: frames of its liquidation feed lost because they arrived faster than they could be read.
        timed: whether the age is based on the venue's timestamps rather than on the time of receipt.
    """

    venue: str
    state: str
    age_seconds: float | None
    detail: str = ""
    liquidations: str = ""
    history: str = ""
    requests: int = 0
    budget_share: float = 0.0
    refused: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """Health of the program itself.

    Attributes:
        wicks: number of price extremes that only one venue showed.
        clock_ahead: how far this machine's clock is ahead of the venues', seconds; None if unknown.
        doubts: reasons by market, for markets whose data is implausible now.
    """

    started_at: int
    sources: tuple[SourceState, ...] = ()
    platforms: Mapping[str, str] = field(default_factory=dict)
    late_runs: int = 0
    skipped_runs: int = 0
    history_note: str = ""
    prices_refused: int = 0
    clock_set_back: int = 0
    wicks: int = 0
    clock_ahead: float | None = None
    doubts: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Services:
    """Everything commands use.

    Attributes:
        clock: market time.
        wall: wall-clock time, used for messages.
        access: open, chats or list.
        simulated: whether the market is simulated, so that every message is marked.
        wake: wakes the dispatchers, because messages are waiting.
        records: latest track record by asset.
        recording: lock held while a track record is computed.
        ready: set once there is a first map; commands wait for it before they report that there is none.
        budget: rate limits of people and chats.
        people: membership queries by platform.
        let_in: cached UTC ms and answer by platform and user: whether they are in an approved group.
        members_at: UTC ms of the last successful membership check, by private chat.
        ticked_at: monotonic time at which the last tick was stored, seconds.
    """

    pipeline: AlertPipeline
    store: Store
    clock: Clock
    access: str = "chats"
    simulated: bool = False
    health: Callable[[], Health] = lambda: Health(0)
    wake: Callable[[], None] = lambda: None
    records: dict[str, TrackRecord] = field(default_factory=dict)
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)
    configured_operators: frozenset[tuple[str, str]] = frozenset()
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    wall: Clock = field(default_factory=SystemClock)
    budget: Budget = field(default_factory=Budget)
    people: dict[str, Membership] = field(default_factory=dict)
    group_members: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)
    members_at: dict[int, int] = field(default_factory=dict)
    ticked_at: float = field(default_factory=time.monotonic)
    subscriptions: Subscriptions = field(init=False)

    def __post_init__(self) -> None:
        self.subscriptions = Subscriptions(self.store, self.pipeline.rules)

    @property
    def assets(self) -> tuple[str, ...]:
        return tuple(self.pipeline.boards)

    def board(self, asset: str) -> AssetBoard:
        """Return the board of an asset.

        Raises:
            NotReadyError: before its first map.
        """
        board = self.pipeline.boards[asset]
        if not board.ready:
            raise NotReadyError(
                "Still building the first {asset} map{note}. Try again in a minute.",
                asset=asset,
                note=self.health().history_note,
            )
        return board


@dataclass(frozen=True, slots=True)
class Request:
    """One command from a user.

    Attributes:
        text: the command line, such as /liq 88000.
        user_id: empty for a post in a channel, which only its admins can make.
        patience_seconds: how long a command waits for the first map before it reports that there is none.
        acts_as_chat: whether the sender acts as the chat itself (anonymous admin, channel post).
        locale: the sender's locale on the platform, empty if unknown.
    """

    platform: str
    user_id: str
    chat: Chat
    text: str
    services: Services
    membership: Membership
    acts_as_chat: bool = False
    patience_seconds: float = 20.0
    locale: str = ""

    @property
    def now(self) -> int:
        return self.services.clock.now()

    async def by_admin(self) -> bool:
        """Return whether the sender is an admin of this chat, queried from the platform now."""
        if self.chat.kind == "private" or self.acts_as_chat:
            return True
        return await self.membership.is_admin(self.chat.remote_id, self.user_id, self.chat.kind)

    async def by_operator(self) -> bool:
        all_operators = await self.services.store.operators.all() | self.services.configured_operators
        return (self.platform, self.user_id) in all_operators
