"""Everything that outlives a restart: one database, and a repository for each family of tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlite_utils import Database as Connection

from engine.messages import TickRecord
from engine.ports import Clock
from storage.alerts import AlertRepository, add_alerts, change_alerts
from storage.chats import ChatRepository
from storage.checkpoints import CheckpointRepository
from storage.database import Database
from storage.market import PRICED_UNTIL, STALE_SINCE, MarketRepository
from storage.meta import MetaRepository, set_meta
from storage.operators import OperatorRepository
from storage.outbox import OutboxRepository
from storage.rules import RuleRepository, save_states
from storage.track_records import TrackRecordRepository


class Store:
    """The SQLite store.

    Args:
        path: of the database, None for one in memory.
        wall: the machine's clock: it times deliveries, not the market.
        reading: read-only, so that the database of a running process can be opened.
        new: create a new database even where there has been one that is gone.
    """

    def __init__(self, path: Path | None, wall: Clock, *, reading: bool = False, new: bool = False) -> None:
        self._db = Database(path, reading=reading, new=new)
        self._wall = wall
        self.rules = RuleRepository(self._db, wall)
        self.chats = ChatRepository(self._db, wall)
        self.operators = OperatorRepository(self._db, wall)
        self.meta = MetaRepository(self._db, wall)
        self.alerts = AlertRepository(self._db, wall)
        self.outbox = OutboxRepository(self._db, wall)
        self.market = MarketRepository(self._db, wall)
        self.checkpoints = CheckpointRepository(self._db, wall)
        self.track_records = TrackRecordRepository(self._db, wall)

    @property
    def set_aside(self) -> Mapping[str, str]:
        """Rows that could not be read or written since the start, with why."""
        return self._db.aside.rows

    @property
    def trouble(self) -> str:
        """The problem with the database as a whole; empty if there is none."""
        return self._db.lost or ("another program has it locked" if self._db.waiting else "")

    @property
    def lost(self) -> str:
        """Why the path no longer names the open file; empty while it does."""
        return self._db.lost

    async def rescue(self, at: str) -> Path | None:
        """Copy the open database to a file beside the path that no longer names it. Return it, None if in memory."""
        return await self._db.rescue(at)

    async def open(self) -> None:
        """Open and migrate.

        Raises:
            StorageError: when the database is in use, newer, or broken.
        """
        await self._db.open()

    async def close(self) -> None:
        await self._db.close()

    async def commit(self, record: TickRecord) -> None:
        """Store all of a tick in one transaction: states, events, alerts, messages."""
        wall = self._wall.now()

        def work(db: Connection) -> None:
            save_states(db, record.states)
            add_alerts(db, record.alerts, wall)
            change_alerts(db, record.changes, wall)
            for asset, at in record.priced.items():
                set_meta(db, PRICED_UNTIL + asset, str(at))
            for asset, since in record.stale.items():
                set_meta(db, STALE_SINCE + asset, None if since is None else str(since))

        await self._db.write(work)
