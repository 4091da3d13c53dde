"""Unreadable rows: set aside one by one, so that a chat's damage affects no other, and shown to operators."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from zoneinfo import ZoneInfoNotFoundError

from sqlite_utils import Database

log = logging.getLogger(__name__)

MAX_NAMED = 200


class Aside:
    """Rows set aside since the start, each with the reason. Each is logged once."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def note(self, what: str, why: object) -> None:
        """Record a row that cannot be read or written."""
        text = str(why)[:120] or type(why).__name__
        if self.rows.get(what) != text and len(self.rows) < MAX_NAMED:
            self.rows[what] = text
            log.warning("%s is set aside: %s", what, text)


class Connection(sqlite3.Connection):
    """A connection with the Aside that its unreadable rows are recorded in."""

    aside: Aside | None = None


def set_aside(db: Database, what: str, why: object) -> None:
    """Record that a row cannot be read or written.

    Args:
        what: the row in a few words, such as "chat #7: its time zone".
        why: the error, or a reason.
    """
    aside = getattr(db.conn, "aside", None)
    if aside is None:
        log.warning("%s is set aside: %s", what, why)
    else:
        aside.note(what, why)


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, ZoneInfoNotFoundError)
"""Exceptions that one chat's damaged row may raise. SQLite's own errors affect everyone, and end the tick."""


@contextlib.contextmanager
def savepoint(db: Database) -> Iterator[None]:
    """Store all of the block's changes or none of them, inside the current transaction."""
    db.conn.execute("SAVEPOINT one_chat")
    try:
        yield
    except BaseException:
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK TO one_chat")
            db.conn.execute("RELEASE one_chat")
        raise
    db.conn.execute("RELEASE one_chat")
