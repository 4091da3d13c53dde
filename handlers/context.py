"""What a command is handed: who asks, from where, and the services that answer. No globals."""

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


class Membership(Protocol):
    """What a platform can say about people and chats. Answers are asked for anew at each use."""

    async def is_admin(self, remote_chat: str, user_id: str, kind: ChatKind) -> bool:
        """Whether somebody may decide what is sent to a chat: an admin with a right that this takes there."""
        ...

    async def is_member(self, remote_chat: str, user_id: str) -> bool | None:
        """Whether somebody is a member of a chat; None when the platform does not say."""
        ...

    async def resolve(self, name: str) -> tuple[str, str, ChatKind] | None:
        """Remote id, title and kind of a chat that somebody named, None where there is none or the bot is not in it."""
        ...

    async def private_chat(self, user_id: str) -> str | None:
        """Remote id of the private chat with a person, None where there can be none."""
        ...

    def user_of(self, remote_chat: str) -> str | None:
        """Id of the person whose private chat that is, None where the platform's ids do not tell."""
        ...


class NoMembership:
    """A face with one chat and one person, who may do everything in it."""

    async def is_admin(self, remote_chat: str, user_id: str, kind: ChatKind) -> bool:  # noqa: ARG002  # the protocol's names
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
        age_seconds: of its oldest figures.
        liquidations: how its feed of them is, empty where it has none.
        history: how much is still to read.
        requests, budget_share: of the last minute.
        refused: how much was not believed, by what it was.
        dropped: forced orders that came faster than they could be read.
        timed: whether the age is by the venue's own time rather than by when it was received.
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
    """How the program itself is doing.

    Attributes:
        wicks: extremes that one venue alone showed.
        clock_ahead: of this machine against the venues', seconds; None where none has said.
        doubts: markets that are not believed now, with why.
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
        clock: the market's time; wall: the machine's, by which messages go.
        access: open, chats or list.
        simulated: the market is not real; every message says so.
        wake: tells the dispatchers that messages are waiting.
        records: track records by asset, as they were last made; recording: held while one is made.
        ready: set once there is a first map; commands wait for it before they say that it is not.
        budget: how much each person and chat may ask for.
        people: who can say who is who, by platform.
        let_in: what platforms said of who shares a group that was let in: when, and whether, by platform and user.
        members_at: when each private chat was last found to be a member's.
        ticked_at: when the last tick was stored, by the time that passes, seconds.
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
    let_in: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)
    members_at: dict[int, int] = field(default_factory=dict)
    ticked_at: float = field(default_factory=time.monotonic)

    @property
    def assets(self) -> tuple[str, ...]:
        return tuple(self.pipeline.boards)

    def board(self, asset: str) -> AssetBoard:
        """The board of an asset.

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
    """One command as somebody gave it.

    Attributes:
        text: the command line, such as /liq 88000.
        user_id: empty for a post in a channel, which only its admins can make.
        patience_seconds: how long a command waits for the first map before it says that there is none.
        acts_as_chat: the platform says that the sender speaks as the chat itself (anonymous admin, channel post).
        locale: the platform's, of whoever asks; empty where it does not say.
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
        """Whether whoever asks administers this chat, asked of the platform now."""
        if self.chat.kind == "private" or self.acts_as_chat:
            return True
        return await self.membership.is_admin(self.chat.remote_id, self.user_id, self.chat.kind)

    async def by_operator(self) -> bool:
        known = await self.services.store.operators() | self.services.configured_operators
        return (self.platform, self.user_id) in known
