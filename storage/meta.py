"""Single values of the installation, by key."""

from __future__ import annotations

from sqlite_utils import Database

from storage.repository import Repository, read, write


def get_meta(db: Database, key: str) -> str | None:
    row = db.conn.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def meta_with(db: Database, prefix: str) -> dict[str, str]:
    """Return the small facts whose keys begin with a prefix, by the rest of the key."""
    rows = db.conn.execute("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
    return {key[len(prefix) :]: value for key, value in rows}


def set_meta(db: Database, key: str, value: str | None) -> None:
    """Store a small fact, or delete it if the value is None."""
    if value is None:
        db.conn.execute("DELETE FROM meta WHERE key = ?", (key,))
    else:
        db.conn.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )


class MetaRepository(Repository):
    """Single values of the installation."""

    @read
    def get(self, db: Database, key: str) -> str | None:
        return get_meta(db, key)

    @write
    def set(self, db: Database, key: str, value: str | None) -> None:
        """Store a small fact, or delete it if the value is None."""
        set_meta(db, key, value)
