"""A kit for handler tests: services on the board of a small synthetic market, and a way to send commands."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, field, replace
from functools import lru_cache

from engine.board import AssetBoard
from engine.chats import Chat, ChatKind
from engine.clock import ManualClock, SystemClock
from engine.market import HOUR_MS, AssetUpdate, Bar, Market
from engine.pipeline import AlertPipeline
from handlers.answers import Answer
from handlers.commands.dispatch import answer
from handlers.context import Request, Services
from storage.store import Store

HOURS = 400
START = 1_765_000_000_000 // HOUR_MS * HOUR_MS
MARKETS = (
    Market("binanceusdm", "BTC/USDT:USDT", "BTC"),
    Market("bybit", "BTC/USDT:USDT", "BTC", "linear", 1.0, 0.005),
)


def filled_board(asset: str = "BTC", level: float = 90_000.0) -> AssetBoard:
    """Return a board after 400 hours of a swinging price, with clusters of fresh positions below and above it."""
    board: AssetBoard = pickle.loads(_filled(asset, level))  # noqa: S301  # made below, in this process
    return board


@lru_cache
def _filled(asset: str, level: float) -> bytes:
    """Return the board pickled. Cached, as building it takes half a second and hundreds of tests need one."""
    return pickle.dumps(lived_board(asset, level))


def lived_board(asset: str = "BTC", level: float = 90_000.0) -> AssetBoard:
    """Build such a board hour by hour, without the cache."""
    board = AssetBoard(asset)
    before = level
    for hour in range(HOURS):
        price = level * math.exp(0.02 * math.sin(hour / 37) + 0.008 * math.sin(hour / 5))
        contracts = 80_000 + 4_000 * math.sin(hour / 11) + (15_000 if hour % 90 > 60 else 0)
        bars = []
        for market in MARKETS:
            high, low = max(before, price) * 1.002, min(before, price) * 0.998
            bar = Bar(START + hour * HOUR_MS, HOUR_MS, before, high, low, price, contracts, None, None, 1e-4, 2e5, 1e5)
            bars.append((replace(market, asset=asset, symbol=f"{asset}/USDT:USDT"), bar))
        board.advance(AssetUpdate(path=bars[0][1].path, bars=tuple(bars)), START + (hour + 1) * HOUR_MS)
        before = price
    return board


@dataclass
class People:
    """A fake directory of a platform: its admins, members and channels."""

    admins: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    channels: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    """Membership lookups return None, as if the platform did not answer."""
    asked: int = 0
    """Number of membership lookups."""

    async def is_admin(self, remote_chat: str, user_id: str, kind: ChatKind) -> bool:
        return user_id in self.admins

    async def is_member(self, remote_chat: str, user_id: str) -> bool | None:
        self.asked += 1
        return None if self.silent else user_id in self.members

    async def resolve(self, name: str) -> tuple[str, str, ChatKind] | None:
        return (self.channels[name], name, "channel") if name in self.channels else None

    async def private_chat(self, user_id: str) -> str | None:
        return user_id

    def user_of(self, remote_chat: str) -> str | None:
        return remote_chat


@dataclass
class Kit:
    """A store in memory, services, and people."""

    services: Services
    store: Store
    clock: ManualClock
    people: People = field(default_factory=People)

    @classmethod
    async def make(cls, access: str = "open", boards: dict[str, AssetBoard] | None = None) -> Kit:
        store = Store(None, SystemClock())
        await store.open()
        boards = boards or {"BTC": filled_board()}
        clock = ManualClock(max(board.closed_at for board in boards.values()))
        pipeline = AlertPipeline(boards, await store.rules.load(), store)
        services = Services(pipeline, store, clock, access)
        services.ready.set()
        return cls(services, store, clock)

    async def chat(self, remote_id: str = "7", kind: str = "private") -> Chat:
        await self.store.chats.upsert("telegram", remote_id, kind, "")  # type: ignore[arg-type]  # one of the three
        return next(chat for chat in await self.store.chats.all() if chat.remote_id == remote_id)

    async def ask(
        self,
        text: str,
        user: str = "7",
        chat: Chat | None = None,
        *,
        as_chat: bool = False,
        patience: float = 20.0,
        locale: str = "",
    ) -> Answer:
        chat = chat or await self.chat(user)
        chat = next(c for c in await self.store.chats.all() if c.id == chat.id)
        request = Request("telegram", user, chat, text, self.services, self.people, as_chat, patience, locale)
        return await answer(request)

    async def close(self) -> None:
        await self.store.close()
