"""Boards as of their last checkpoint."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlite_utils import Database

from engine.market import DAY_MS
from storage import chats, market, outbox, rules
from storage.aside import set_aside
from storage.meta import set_meta
from storage.repository import Repository, read, write

KEEP_STATES_MS = 14 * DAY_MS
KEEP_MARKET_MS = 40 * DAY_MS
KEEP_SENT_MS = 90 * DAY_MS
KEEP_STRANGERS_MS = 7 * DAY_MS
KEEP_TEXT_MS = 7 * DAY_MS
MAX_SLICES = 40
"""Slices of one round of housekeeping: the rest is done with the next hour's."""


def save_checkpoint(db: Database, asset: str, at: int, state: dict[str, Any]) -> None:
    """Store a board's snapshot, replacing the previous one."""
    data = zlib.compress(json.dumps(state, default=_encode).encode(), level=1)
    db.conn.execute(
        "INSERT INTO checkpoint (asset, at, data) VALUES (?, ?, ?) "
        "ON CONFLICT (asset) DO UPDATE SET at = excluded.at, data = excluded.data",
        (asset, at, data),
    )


def forget_checkpoint(db: Database, asset: str) -> None:
    """Delete a board's snapshot."""
    db.conn.execute("DELETE FROM checkpoint WHERE asset = ?", (asset,))


class CheckpointRepository(Repository):
    """Boards as of their last checkpoint."""

    async def save(self, states: Mapping[str, tuple[int, dict[str, Any]]]) -> None:
        """Store boards' snapshots, and delete data that is no longer needed.

        Args:
            states: by asset, when the snapshot was taken, UTC ms of the market, and what it holds.
        """
        now = max((at for at, _ in states.values()), default=0)
        wall = self.wall.now()

        def work(db: Database) -> None:
            for asset, (at, state) in states.items():
                save_checkpoint(db, asset, at, state)
            rules.forget_states(db, now - KEEP_STATES_MS)
            rules.forget_mutes(db, now)
            rules.forget_expired(db, now)
            market.forget_before(db, now - KEEP_MARKET_MS)
            market.forget_after(db, now + 2 * DAY_MS)
            chats.forget_strangers(db, wall - KEEP_STRANGERS_MS)

        await self.database.write(work)
        await self.tidy(wall)

    async def tidy(self, wall: int) -> None:
        """Delete old texts and messages slice by slice, so that ticks need not wait, and truncate the log."""
        for _ in range(MAX_SLICES):
            if not await self.database.write(lambda db: outbox.thin_out(db, wall - KEEP_TEXT_MS)):
                break
        for _ in range(MAX_SLICES):
            if not await self.database.write(lambda db: outbox.delete_sent(db, wall - KEEP_SENT_MS)):
                break
        await self.database.tidy()

    @write
    def delete(self, db: Database, asset: str) -> None:
        """Delete an asset's checkpoint and times, so that its return does not look like a long outage."""
        forget_checkpoint(db, asset)
        for prefix in (market.PRICED_UNTIL, market.STALE_SINCE):
            set_meta(db, prefix + asset, None)

    @read
    def load(self, db: Database, asset: str) -> dict[str, Any] | None:
        """Return a board's last snapshot; None if there is none or it is unreadable: history is then read again."""
        row = db.conn.execute("SELECT data FROM checkpoint WHERE asset = ?", (asset,)).fetchone()
        if row is None:
            return None
        try:
            state = json.loads(zlib.decompress(row[0]), object_hook=_decode)
        except (ValueError, TypeError, KeyError, zlib.error) as error:
            set_aside(db, f"the map of {asset[:20]}", f"{error}; its history will be read again")
            return None
        return state if isinstance(state, dict) else None


def _encode(value: object) -> Any:
    if isinstance(value, np.ndarray):
        packed = np.ascontiguousarray(value)
        data = base64.b64encode(packed.tobytes()).decode()
        return {"__array__": data, "dtype": packed.dtype.str, "shape": list(packed.shape)}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot go into a checkpoint")


def _decode(row: dict[str, Any]) -> Any:
    if "__array__" not in row:
        return row
    data = np.frombuffer(base64.b64decode(row["__array__"]), dtype=np.dtype(row["dtype"]))
    return data.reshape(row["shape"]).copy()
