"""Operators: who runs this bot."""

from __future__ import annotations

import hmac

from sqlite_utils import Database

from engine.chats import CLAIM_CODE
from storage.meta import get_meta, set_meta
from storage.repository import Repository, read, write


def operators(db: Database) -> set[tuple[str, str]]:
    """Return platform and user id of every operator."""
    return {(platform, user_id) for platform, user_id in db.conn.execute("SELECT platform, user_id FROM operator")}


def add_operator(db: Database, platform: str, user_id: str, now: int) -> None:
    db.conn.execute("INSERT OR IGNORE INTO operator VALUES (?, ?, ?)", (platform, user_id, now))


class OperatorRepository(Repository):
    """Who runs this bot."""

    @read
    def all(self, db: Database) -> set[tuple[str, str]]:
        """Return platform and user id of every operator."""
        return operators(db)

    @write
    def add(self, db: Database, platform: str, user_id: str) -> None:
        add_operator(db, platform, user_id, self.wall.now())

    @write
    def claim(self, db: Database, code: str, platform: str, user_id: str) -> bool:
        """Make a user operator if they gave the claim code; it is deleted. Return whether they did."""
        now = self.wall.now()
        wanted = get_meta(db, CLAIM_CODE)
        if wanted is None or not hmac.compare_digest(wanted.encode(), code.encode()):
            return False
        set_meta(db, CLAIM_CODE, None)
        add_operator(db, platform, user_id, now)
        return True

    @write
    def remove(self, db: Database, platform: str, user_id: str, *, may_be_last: bool) -> bool:
        """Remove an operator. Return whether that was done.

        Args:
            may_be_last: the settings name others, so none has to be left here.
        """
        if not may_be_last and operators(db) <= {(platform, user_id)}:
            return False
        query = "DELETE FROM operator WHERE platform = ? AND user_id = ?"
        return bool(db.conn.execute(query, (platform, user_id)).rowcount)
