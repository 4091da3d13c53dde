"""Chats, operators, and small facts about the installation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlite_utils import Database

from engine.chats import AuditEntry, Chat, ChatKind
from engine.errors import InputError
from engine.preferences import CAP, Preferences, is_timezone, parse_quiet, quiet_text
from storage.aside import set_aside
from storage.repository import Repository, read, write

PREFERENCES = ("timezone", "quiet", "loud", "cap", "language", "locale", "light", "role", "room")
"""Columns that hold a chat's preferences."""

_UNSET = {
    "timezone": "'UTC'",
    "quiet": "''",
    "loud": "0",
    "cap": "NULL",
    "language": "''",
    "light": "0",
    "role": "''",
    "room": "'public'",
}
"""Columns that users set, with their defaults, in SQL."""

MAX_CAP = 100_000
"""The cap of this machine's own chats: NO_CAP in handlers.platforms.factory."""

_COLUMNS = "id, platform, remote_id, kind, title, approved, active, off_reason, refused_since, person, " + ", ".join(
    PREFERENCES
)


def _chat(db: Database, row: tuple[Any, ...]) -> Chat:
    number, platform, remote_id, kind, title, approved, active, off_reason, refused_since, person, *preferences = row
    kept = read_preferences(db, number, kind, preferences)
    off = (bool(approved), bool(active), off_reason)
    return Chat(number, platform, remote_id, kind, title, *off, kept, refused_since, person)


def read_preferences(db: Database, chat_id: int, kind: ChatKind, columns: Sequence[Any]) -> Preferences:
    """Return preferences from their columns, in the order of PREFERENCES. Unreadable ones become the default."""
    timezone, quiet, loud, cap, language, locale, light, role, room = columns
    hours = None
    try:
        hours = parse_quiet(quiet) if quiet else None
    except InputError as error:
        set_aside(db, f"chat #{chat_id}: its quiet hours", error)
    if not is_timezone(timezone):
        set_aside(db, f"chat #{chat_id}: its time zone", f"{timezone[:30]!r} is not a time zone here; using UTC")
        timezone = Preferences().timezone
    most = cap if isinstance(cap, int) and 0 <= cap <= MAX_CAP else CAP.get(kind, CAP["private"])
    if cap is not None and most != cap:
        set_aside(db, f"chat #{chat_id}: its cap", f"{cap} is not a valid cap")
    role = role if role.isdecimal() else ""
    return Preferences(timezone, hours, bool(loud), most, language, locale, bool(light), role, room)


def preferences_of(db: Database, chat_ids: Iterable[int]) -> dict[int, Preferences]:
    """Return the preferences of active chats, by id. Chats that are gone or switched off are omitted."""
    numbers = ", ".join(str(int(chat_id)) for chat_id in chat_ids)
    query = f"SELECT id, kind, {', '.join(PREFERENCES)} FROM chat WHERE active AND id IN ({numbers})"
    return {row[0]: read_preferences(db, row[0], row[1], row[2:]) for row in db.conn.execute(query).fetchall()}


def upsert_chat(
    db: Database,
    platform: str,
    remote_id: str,
    kind: ChatKind,
    title: str,
    now: int,
    locale: str = "",
    parent: str = "",
    person: str = "",
) -> Chat:
    """Return the chat with that id on a platform, created if it is new. Its title follows the platform's.

    A topic is approved if its group is when we first see the topic.
    """
    over = find_chat(db, platform, parent) if parent else None
    db.conn.execute(
        "INSERT INTO chat (platform, remote_id, kind, title, created_at, locale, approved, person) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (platform, remote_id) DO UPDATE SET kind = excluded.kind, "
        "title = CASE WHEN excluded.title <> '' THEN excluded.title ELSE title END, "
        "locale = CASE WHEN excluded.locale <> '' THEN excluded.locale ELSE locale END, "
        "person = CASE WHEN excluded.person <> '' THEN excluded.person ELSE person END",
        (platform, remote_id, kind, title, now, locale, int(over is not None and over.approved), person),
    )
    chat = find_chat(db, platform, remote_id)
    assert chat is not None  # noqa: S101  # it was just written, in this transaction
    return chat


def find_chat(db: Database, platform: str, remote_id: str) -> Chat | None:
    query = f"SELECT {_COLUMNS} FROM chat WHERE platform = ? AND remote_id = ?"
    row = db.conn.execute(query, (platform, remote_id)).fetchone()
    return _chat(db, row) if row else None


CHANGES_KEPT = 200


_EXPORTED = {
    "chat": "SELECT * FROM chat WHERE id = ?",
    "rules": "SELECT * FROM rule WHERE chat_id = ? ORDER BY id",
    "mutes": "SELECT * FROM mute WHERE chat_id = ?",
    "alerts": "SELECT alert.id, alert.at, event.asset, event.kind, rule_id, message_id FROM alert "
    "JOIN event ON event.id = event_id WHERE alert.chat_id = ? ORDER BY alert.id",
    "messages": "SELECT id, state, created_at, body, rendered, error FROM message WHERE chat_id = ? ORDER BY id",
    "changes": "SELECT at, who, what FROM change WHERE chat_id = ? ORDER BY id",
}


def forget_strangers(db: Database, before: int) -> int:
    """Delete chats that are not approved, have set nothing and have not asked since. Return how many."""
    return db.conn.execute(
        "DELETE FROM chat WHERE NOT approved AND created_at < ? AND asked_at < ? "
        "AND platform IN ('telegram', 'discord') AND off_reason = '' "
        f"AND {' AND '.join(f'{name} IS {value}' for name, value in _UNSET.items())} "
        "AND NOT EXISTS (SELECT 1 FROM rule WHERE chat_id = chat.id) "
        "AND NOT EXISTS (SELECT 1 FROM message WHERE chat_id = chat.id) "
        "AND NOT EXISTS (SELECT 1 FROM mute WHERE chat_id = chat.id)",
        (before, before),
    ).rowcount


class ChatRepository(Repository):
    """Chats that may use the bot, and what was changed in them."""

    async def upsert(
        self,
        platform: str,
        remote_id: str,
        kind: ChatKind,
        title: str,
        locale: str = "",
        parent: str = "",
        person: str = "",
    ) -> Chat:
        """Return the chat with that id, created if it is new; nothing is written where nothing changed."""
        title = "".join(c for c in title if c.isprintable())[:200]
        stored = await self.find(platform, remote_id)
        if stored is not None:
            wanted = (title or stored.title, kind, locale or stored.preferences.locale, person or stored.person)
            if (stored.title, stored.kind, stored.preferences.locale, stored.person) == wanted:
                return stored
        return await self.database.write(
            lambda db: upsert_chat(db, platform, remote_id, kind, title, self.wall.now(), locale, parent, person)
        )

    @read
    def find(self, db: Database, platform: str, remote_id: str) -> Chat | None:
        return find_chat(db, platform, remote_id)

    @read
    def get(self, db: Database, chat_id: int) -> Chat | None:
        """Return a chat by its own number."""
        row = db.conn.execute(f"SELECT {_COLUMNS} FROM chat WHERE id = ?", (chat_id,)).fetchone()
        return _chat(db, row) if row else None

    @read
    def all(self, db: Database, platform: str | None = None) -> list[Chat]:
        """Return all chats, or those of one platform, oldest first."""
        query = f"SELECT {_COLUMNS} FROM chat WHERE platform = ? OR ? IS NULL ORDER BY id"
        return [_chat(db, row) for row in db.conn.execute(query, (platform, platform)).fetchall()]

    @write
    def approve(self, db: Database, chat_id: int, *, approved: bool) -> None:
        """Approve a chat or withdraw approval. Either way its request for access is settled."""
        db.conn.execute("UPDATE chat SET approved = ?, asked_at = 0 WHERE id = ?", (int(approved), chat_id))

    @write
    def mark_refused(self, db: Database, chat_id: int) -> tuple[int, bool]:
        """Record that a chat refuses messages now. Return since when, UTC ms, and whether that is new."""
        now = self.wall.now()
        new = db.conn.execute(
            "UPDATE chat SET refused_since = ? WHERE id = ? AND NOT refused_since", (now, chat_id)
        ).rowcount
        row = db.conn.execute("SELECT refused_since FROM chat WHERE id = ?", (chat_id,)).fetchone()
        return (min(int(row[0]), now) if row else now), bool(new)

    @write
    def mark_reachable(self, db: Database, chat_id: int) -> None:
        """Record that a chat accepts messages."""
        db.conn.execute("UPDATE chat SET refused_since = 0 WHERE id = ? AND refused_since", (chat_id,))

    @write
    def set_active(self, db: Database, chat_id: int, *, active: bool, reason: str = "") -> None:
        """Switch a chat off, keeping its rules, or on again."""
        db.conn.execute(
            "UPDATE chat SET active = ?, off_reason = ?, refused_since = 0 WHERE id = ?", (int(active), reason, chat_id)
        )

    @write
    def save_preferences(self, db: Database, chat_id: int, preferences: Preferences) -> None:
        """Store a chat's preferences, except the locale, which its platform reports."""
        db.conn.execute(
            "UPDATE chat SET timezone = ?, quiet = ?, loud = ?, cap = ?, language = ?, light = ?, role = ?, room = ? "
            "WHERE id = ?",
            (
                *(preferences.timezone, quiet_text(preferences.quiet), int(preferences.loud), preferences.cap),
                *(preferences.language, int(preferences.light), preferences.role, preferences.room, chat_id),
            ),
        )

    @write
    def log_change(self, db: Database, chat_id: int, who: str, what: str) -> None:
        """Log who changed what in a chat. The last 200 entries are kept."""
        now = self.wall.now()
        db.conn.execute("INSERT INTO change (chat_id, at, who, what) VALUES (?, ?, ?, ?)", (chat_id, now, who, what))
        db.conn.execute(
            "DELETE FROM change WHERE chat_id = ? AND id NOT IN "
            "(SELECT id FROM change WHERE chat_id = ? ORDER BY id DESC LIMIT ?)",
            (chat_id, chat_id, CHANGES_KEPT),
        )

    @read
    def changes(self, db: Database, chat_id: int, count: int) -> list[AuditEntry]:
        """Return the last changes of a chat's settings, newest first."""
        query = "SELECT at, who, what FROM change WHERE chat_id = ? ORDER BY id DESC LIMIT ?"
        return [AuditEntry(*row) for row in db.conn.execute(query, (chat_id, count))]

    @read
    def export(self, db: Database, chat_id: int) -> dict[str, Any]:
        """Return everything that we store about a chat, by table, as JSON values."""
        tables: dict[str, Any] = {}
        for name, query in _EXPORTED.items():
            cursor = db.conn.execute(query, (chat_id,))
            columns = [column[0] for column in cursor.description]
            tables[name] = [dict(zip(columns, row, strict=True)) for row in cursor]
        return tables

    @write
    def delete(self, db: Database, chat_id: int) -> int:
        """Delete a chat's rules, states, mutes, alerts, messages and preferences. Return how many rows.

        The row of a chat that is approved or was switched off stays, with its id and that status only.
        """
        count = 0
        for table in ("mute", "alert", "message", "rule", "change"):
            count += db.conn.execute(f"DELETE FROM {table} WHERE chat_id = ?", (chat_id,)).rowcount
        db.conn.execute("DELETE FROM event WHERE id NOT IN (SELECT event_id FROM alert)")
        # Also remove the user's id from the change logs of groups, if it is stored with their private chat.
        count += db.conn.execute(
            "UPDATE change SET who = '' WHERE who <> '' AND who = (SELECT CASE WHEN person <> '' THEN person "
            "ELSE remote_id END FROM chat WHERE id = ? AND kind = 'private') "
            "AND chat_id IN (SELECT id FROM chat WHERE platform = (SELECT platform FROM chat WHERE id = ?))",
            (chat_id, chat_id),
        ).rowcount
        count += db.conn.execute(
            "DELETE FROM chat WHERE id = ? AND NOT approved AND off_reason = ''", (chat_id,)
        ).rowcount
        unset = ", ".join(f"{name} = {value}" for name, value in _UNSET.items())
        db.conn.execute(f"UPDATE chat SET title = '', locale = '', person = '', {unset} WHERE id = ?", (chat_id,))
        return count

    @write
    def move(self, db: Database, chat_id: int, remote_id: str) -> None:
        """Give a chat the new id that its platform assigned (a group that became a supergroup).

        A chat stored under that id already is merged into it.
        """
        taken = db.conn.execute(
            "SELECT old.id FROM chat AS old JOIN chat AS new ON old.platform = new.platform "
            "WHERE new.id = ? AND old.remote_id = ? AND old.id <> new.id",
            (chat_id, remote_id),
        ).fetchone()
        if taken:
            for table in ("rule", "message", "alert", "change"):
                db.conn.execute(f"UPDATE {table} SET chat_id = ? WHERE chat_id = ?", (chat_id, taken[0]))
            db.conn.execute("UPDATE OR IGNORE mute SET chat_id = ? WHERE chat_id = ?", (chat_id, taken[0]))
            db.conn.execute("DELETE FROM chat WHERE id = ?", (taken[0],))
        db.conn.execute("UPDATE chat SET remote_id = ? WHERE id = ?", (remote_id, chat_id))

    @write
    def note_asked(self, db: Database, chat_id: int) -> None:
        """Record that a user asked for something in a chat that is not approved."""
        now = self.wall.now()
        db.conn.execute("UPDATE chat SET asked_at = ? WHERE id = ? AND NOT approved", (now, chat_id))

    @read
    def waiting_for_approval(self, db: Database, count: int) -> list[Chat]:
        """Return chats that are not approved and asked for something, the latest first."""
        query = f"SELECT {_COLUMNS} FROM chat WHERE NOT approved AND asked_at ORDER BY asked_at DESC, id LIMIT ?"
        return [_chat(db, row) for row in db.conn.execute(query, (count,)).fetchall()]
