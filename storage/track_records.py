"""Track records, one a day."""

from __future__ import annotations

import json
from typing import Any

from sqlite_utils import Database

from storage.aside import set_aside
from storage.repository import Repository, read, write


class TrackRecordRepository(Repository):
    """How maps have done, a row a day."""

    @write
    def save(self, db: Database, asset: str, day: str, figures: dict[str, Any]) -> None:
        """Store the track record of an asset's map as of a day."""
        query = "INSERT OR REPLACE INTO track_record (asset, day, figures) VALUES (?, ?, ?)"
        db.conn.execute(query, (asset, day, json.dumps(figures)))

    @read
    def all(self, db: Database, asset: str) -> list[dict[str, Any]]:
        """Return an asset's track records, one a day, oldest first."""
        rows = db.conn.execute("SELECT figures FROM track_record WHERE asset = ? ORDER BY day", (asset,))
        records = []
        for (figures,) in rows.fetchall():
            try:
                records.append(dict(json.loads(figures)))
            except (ValueError, TypeError) as error:
                set_aside(db, f"a track record of {asset[:20]}", error)
        return records
