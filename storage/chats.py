"""Chats that may use the bot, its operators, and small facts of the installation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlite_utils import Database

from engine.alerts.policy import CAP, Wishes, parse_quiet, quiet_text
from engine.ports import Chat, ChatKind

_COLUMNS = "id, platform, remote_id, kind, title, approved, active, off_reason, timezone, quiet, loud, cap"


def _chat(row: tuple[Any, ...]) -> Chat:
    number, platform, remote_id, kind, title, approved, active, off_reason, *wishes = row
    return Chat(
        number, platform, remote_id, kind, title, bool(approved), bool(active), off_reason, _wishes(kind, *wishes)
    )


def _wishes(kind: ChatKind, timezone: str, quiet: str, loud: int, cap: int | None) -> Wishes:
    return Wishes(timezone, parse_quiet(quiet) if quiet else None, bool(loud), CAP[kind] if cap is None else cap)


def wishes_of(db: Database, chat_ids: Iterable[int]) -> dict[int, Wishes]:
    """What active chats want of alerts, by their ids; those that are gone or switched off are left out."""
    numbers = ", ".join(str(int(chat_id)) for chat_id in chat_ids)
    query = f"SELECT id, kind, timezone, quiet, loud, cap FROM chat WHERE active AND id IN ({numbers})"
    return {row[0]: _wishes(*row[1:]) for row in db.conn.execute(query)}


def set_wishes(db: Database, chat_id: int, wishes: Wishes) -> None:
    """Keep what a chat wants of alerts."""
    db.conn.execute(
        "UPDATE chat SET timezone = ?, quiet = ?, loud = ?, cap = ? WHERE id = ?",
        (wishes.timezone, quiet_text(wishes.quiet), int(wishes.loud), wishes.cap, chat_id),
    )


def see_chat(db: Database, platform: str, remote_id: str, kind: ChatKind, title: str, now: int) -> Chat:
    """The chat with that id on a platform, made if it is new; its title follows the platform's."""
    db.conn.execute(
        "INSERT INTO chat (platform, remote_id, kind, title, created_at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (platform, remote_id) DO UPDATE SET title = excluded.title, kind = excluded.kind",
        (platform, remote_id, kind, title, now),
    )
    found = find_chat(db, platform, remote_id)
    assert found is not None  # noqa: S101  # it was just written, in this transaction
    return found


def find_chat(db: Database, platform: str, remote_id: str) -> Chat | None:
    query = f"SELECT {_COLUMNS} FROM chat WHERE platform = ? AND remote_id = ?"
    row = db.conn.execute(query, (platform, remote_id)).fetchone()
    return _chat(row) if row else None


def chats(db: Database, platform: str | None = None) -> list[Chat]:
    """All chats, or those of one platform, oldest first."""
    query = f"SELECT {_COLUMNS} FROM chat WHERE platform = ? OR ? IS NULL ORDER BY id"
    return [_chat(row) for row in db.conn.execute(query, (platform, platform))]


def approve_chat(db: Database, chat_id: int, *, approved: bool) -> None:
    db.conn.execute("UPDATE chat SET approved = ? WHERE id = ?", (int(approved), chat_id))


def switch_chat(db: Database, chat_id: int, *, active: bool, reason: str = "") -> None:
    """Switch a chat off, keeping its rules, or on again."""
    db.conn.execute("UPDATE chat SET active = ?, off_reason = ? WHERE id = ?", (int(active), reason, chat_id))


def forget_chat(db: Database, chat_id: int) -> int:
    """Delete a chat's rules with what they remember, its mutes, alerts, messages and wishes; how many rows."""
    count = 0
    for table in ("mute", "alert", "message", "rule"):
        count += db.conn.execute(f"DELETE FROM {table} WHERE chat_id = ?", (chat_id,)).rowcount
    db.conn.execute("DELETE FROM event WHERE id NOT IN (SELECT event_id FROM alert)")
    db.conn.execute(
        "UPDATE chat SET title = '', timezone = 'UTC', quiet = '', loud = 0, cap = NULL WHERE id = ?", (chat_id,)
    )
    return count


def move_chat(db: Database, chat_id: int, remote_id: str) -> None:
    """The platform gave the chat a new id (a group that became a supergroup)."""
    taken = db.conn.execute(
        "SELECT old.id FROM chat AS old JOIN chat AS new ON old.platform = new.platform "
        "WHERE new.id = ? AND old.remote_id = ? AND old.id <> new.id",
        (chat_id, remote_id),
    ).fetchone()
    if taken:
        for table in ("rule", "message", "alert"):
            db.conn.execute(f"UPDATE {table} SET chat_id = ? WHERE chat_id = ?", (chat_id, taken[0]))
        db.conn.execute("DELETE FROM chat WHERE id = ?", (taken[0],))
    db.conn.execute("UPDATE chat SET remote_id = ? WHERE id = ?", (remote_id, chat_id))


def add_operator(db: Database, platform: str, user_id: str, now: int) -> None:
    db.conn.execute("INSERT OR IGNORE INTO operator VALUES (?, ?, ?)", (platform, user_id, now))


def operators(db: Database) -> set[tuple[str, str]]:
    """Platform and user id of everybody who runs this bot."""
    return {(platform, user_id) for platform, user_id in db.conn.execute("SELECT platform, user_id FROM operator")}


def get_meta(db: Database, key: str) -> str | None:
    row = db.conn.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def meta_with(db: Database, prefix: str) -> dict[str, str]:
    """The small facts whose keys begin with a prefix, by the rest of the key."""
    rows = db.conn.execute("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
    return {key[len(prefix) :]: value for key, value in rows}


def set_meta(db: Database, key: str, value: str | None) -> None:
    """Keep a small fact, or forget it."""
    if value is None:
        db.conn.execute("DELETE FROM meta WHERE key = ?", (key,))
    else:
        db.conn.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )
