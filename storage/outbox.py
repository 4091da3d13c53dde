"""Messages between being stored and being sent: leases, retries, dead letters, housekeeping."""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from sqlite_utils import Database

from engine.alerts.delivery_policy import OTHERS_EXPIRE_MS
from engine.market import HOUR_MS
from engine.messages import DeadLetter, Message, MessageState
from storage.aside import set_aside
from storage.chats import PREFERENCES, read_preferences
from storage.repository import Repository, read, write

LONGEST_PAUSE_MS = HOUR_MS

READY, SENDING, SENT, DEAD = MessageState.READY, MessageState.SENDING, MessageState.SENT, MessageState.DEAD
DONE, WAITING = f"('{SENT}', '{DEAD}')", f"('{READY}', '{SENDING}')"
"""For `IN` in SQL: states of finished messages, and of those still to be sent."""

KIND = "CASE WHEN json_valid(body) THEN json_extract(body, '$.kind') END"
"""A message's kind, in SQL; NULL if its facts are damaged."""

NONCE_BYTES = 12
"""24 hexadecimal characters: Discord takes 25 at most."""


def as_json(facts: dict[str, Any]) -> str:
    """Return facts as JSON. A number that is not finite becomes null, so that the rest can still be sent."""
    try:
        return json.dumps(facts, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(facts), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def insert_message(db: Database, chat_id: int, body: str, now: int, expires: int, due: int | None = None) -> int:
    """Store a message and return its id. With a due time it is held until then."""
    cursor = db.conn.execute(
        "INSERT INTO message (chat_id, body, due, expires, nonce, created_at, held) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            chat_id,
            body,
            due if due is not None else now,
            expires,
            secrets.token_hex(NONCE_BYTES),
            now,
            int(due is not None),
        ),
    )
    return int(cursor.lastrowid or 0)


CLAIM = f"""
    SELECT message.id, chat_id, chat.remote_id, chat.kind, body, rendered, attempts, nonce, expires,
        message.created_at, plain, repeat, copies, tried_at, edits,
        (SELECT target.remote_id FROM message AS target WHERE target.id = message.edits) AS edits_remote_id,
        {", ".join(PREFERENCES)}
    FROM message INDEXED BY message_by_due CROSS JOIN chat ON chat.id = chat_id
    WHERE state = '{READY}' AND due <= :now AND expires >= :now AND chat.platform = :platform AND chat.active
        AND chat_id NOT IN (SELECT value FROM json_each(:busy))
        -- A change of a message waits for the message, and makes way for a newer change of it.
        AND (edits IS NULL OR EXISTS (SELECT 1 FROM message AS target
                WHERE target.id = message.edits AND target.state = '{SENT}' AND target.remote_id <> '')
            AND NOT EXISTS (SELECT 1 FROM message AS newer
                WHERE newer.edits = message.edits AND newer.id > message.id))
        -- Within a chat the oldest unsent message goes first; one that is held until later is in nobody's way.
        AND NOT EXISTS (SELECT 1 FROM message AS other WHERE other.chat_id = message.chat_id
            AND other.id < message.id AND other.state IN {WAITING} AND NOT other.held)
    ORDER BY due, message.id LIMIT 1
"""
"""Selects the message that has been due longest, of a chat that is not busy, reading in the order of an index."""


def _message(db: Database, row: sqlite3.Row, now: int) -> Message:
    """Return the message of a row of CLAIM.

    Raises:
        ValueError: when its facts cannot be read.
    """
    facts = json.loads(row["body"])
    if not isinstance(facts, dict) or "kind" not in facts:
        raise ValueError("its facts are not valid")
    return Message(
        id=row["id"],
        chat_id=row["chat_id"],
        remote_chat=row["remote_id"],
        chat_kind=row["kind"],
        body=facts,
        rendered=json.loads(row["rendered"]) if row["rendered"] else None,
        attempts=row["attempts"] + 1,
        nonce=row["nonce"],
        expires=row["expires"],
        created_at=row["created_at"],
        plain=bool(row["plain"]),
        repeat=bool(row["repeat"]),
        edits=str(row["edits_remote_id"]) if row["edits"] is not None else None,
        preferences=read_preferences(db, row["chat_id"], row["kind"], [row[name] for name in PREFERENCES]),
        copies=row["copies"],
        tried_at=row["tried_at"] or now,
    )


PERHAPS = "perhaps delivered"
"""Error of a message that counts as sent, though the platform never confirmed it."""


def give_up(db: Database, message_id: int, error: str) -> None:
    """Make a message a dead letter, kept with the reason for the operator."""
    db.conn.execute(f"UPDATE message SET state = '{DEAD}', error = ? WHERE id = ?", (error, message_id))


SLICE = 500
"""Rows that housekeeping touches in one transaction, so that alerts do not wait for it."""


def has_unsent(db: Database, chat_id: int, kind: str) -> bool:
    """Return whether a chat has an unsent message of a kind."""
    query = f"SELECT 1 FROM message WHERE chat_id = ? AND state IN {WAITING} AND {KIND} = ? LIMIT 1"
    return db.conn.execute(query, (chat_id, kind)).fetchone() is not None


def thin_out(db: Database, created_before: int) -> int:
    """Delete the texts of a slice of old finished messages, keeping their outcomes. Return how many."""
    return db.conn.execute(
        "UPDATE message SET rendered = NULL, body = json_object('kind', coalesce("
        f"{KIND}, '?'), 'asset', CASE WHEN json_valid(body) THEN json_extract(body, '$.asset') END, 'thin', 1) "
        "WHERE id IN (SELECT id FROM message INDEXED BY message_by_text "
        f"WHERE state IN {DONE} AND rendered IS NOT NULL AND created_at < ? LIMIT ?)",
        (created_before, SLICE),
    ).rowcount


def delete_sent(db: Database, created_before: int) -> int:
    """Delete a slice of old finished messages, with their alerts and events. Return how many rows."""
    done = db.conn.execute(
        "SELECT id FROM message INDEXED BY message_by_age "
        f"WHERE state IN {DONE} AND created_at < ? ORDER BY created_at LIMIT ?",
        (created_before, SLICE),
    ).fetchall()
    numbers = json.dumps([row[0] for row in done])
    gone = "SELECT value FROM json_each(?)"
    events = db.conn.execute(f"SELECT DISTINCT event_id FROM alert WHERE message_id IN ({gone})", (numbers,)).fetchall()
    count = db.conn.execute(f"DELETE FROM alert WHERE message_id IN ({gone})", (numbers,)).rowcount
    without_message = db.conn.execute(
        "SELECT id, event_id FROM alert WHERE message_id IS NULL AND at < ? LIMIT ?", (created_before, SLICE)
    ).fetchall()
    db.conn.executemany("DELETE FROM alert WHERE id = ?", [(row[0],) for row in without_message])
    count += db.conn.execute(f"DELETE FROM message WHERE id IN ({gone})", (numbers,)).rowcount + len(without_message)
    candidates = json.dumps([*(row[0] for row in events), *(row[1] for row in without_message)])
    db.conn.execute(
        f"DELETE FROM event WHERE id IN ({gone}) AND NOT EXISTS (SELECT 1 FROM alert WHERE event_id = event.id)",
        (candidates,),
    )
    return count


class OutboxRepository(Repository):
    """Messages until they are sent or given up."""

    @write
    def add_message(self, db: Database, chat_id: int, body: dict[str, Any]) -> None:
        """Store a message that is not an alert, such as a test alert, unless one of its kind is unsent."""
        now = self.wall.now()
        if has_unsent(db, chat_id, body["kind"]):
            return
        insert_message(db, chat_id, as_json(body), now, now + OTHERS_EXPIRE_MS)

    @write
    def recover_leases(self, db: Database, platform: str) -> int:
        """Requeue messages that were being sent when the process ended, as possible repeats. Return how many."""
        return db.conn.execute(
            f"UPDATE message SET state = '{READY}', repeat = 1 WHERE state = '{SENDING}' "
            "AND chat_id IN (SELECT id FROM chat WHERE platform = ?)",
            (platform,),
        ).rowcount

    @write
    def expire(self, db: Database, platform: str) -> list[int]:
        """Give up messages that have expired. Return their ids."""
        now = self.wall.now()
        rows = db.conn.execute(
            f"UPDATE message SET state = '{DEAD}', error = 'expired' WHERE state = '{READY}' AND expires < ? "
            "AND chat_id IN (SELECT id FROM chat WHERE platform = ?) RETURNING id",
            (now, platform),
        )
        return [row[0] for row in rows.fetchall()]

    @write
    def claim(self, db: Database, platform: str, lease_ms: int, busy: Iterable[int] = ()) -> Message | None:
        """Lease the message that has been due longest, of a chat that is not busy. Return it, or None.

        Only the oldest unsent message of each chat is eligible, which keeps the order within a chat. A message whose
        lease ran out is requeued as a possible repeat. One that cannot be read is given up, without affecting others.
        """
        now = self.wall.now()
        db.conn.execute(
            f"UPDATE message SET state = '{READY}', repeat = 1 WHERE state = '{SENDING}' AND lease_until < ?", (now,)
        )
        wanted = {"platform": platform, "now": now, "busy": json.dumps([int(chat_id) for chat_id in busy])}
        cursor = db.conn.cursor()
        cursor.row_factory = sqlite3.Row
        while (row := cursor.execute(CLAIM, wanted).fetchone()) is not None:
            try:
                message = _message(db, row, now)
            except (ValueError, TypeError, KeyError) as error:
                set_aside(db, f"message {row['id']} to chat #{row['chat_id']}", error)
                give_up(db, row["id"], "cannot be read")
                continue
            db.conn.execute(
                f"UPDATE message SET state = '{SENDING}', attempts = attempts + 1, lease_until = ?, "
                "tried_at = coalesce(tried_at, ?) WHERE id = ?",
                (now + lease_ms, now, message.id),
            )
            return message
        return None

    @write
    def keep_rendered(self, db: Database, message_id: int, rendered: dict[str, Any]) -> None:
        """Store the rendered message before it is sent."""
        db.conn.execute("UPDATE message SET rendered = ? WHERE id = ?", (json.dumps(rendered), message_id))

    @write
    def mark_sent(self, db: Database, message_id: int, remote_id: str) -> None:
        """Mark a message as sent: the platform confirmed it."""
        now = self.wall.now()
        db.conn.execute(
            f"UPDATE message SET state = '{SENT}', remote_id = ?, sent_at = ?, error = '' "
            f"WHERE id = ? AND state = '{SENDING}'",
            (remote_id, now, message_id),
        )

    @write
    def put_back(
        self,
        db: Database,
        message_id: int,
        due: int,
        error: str,
        *,
        plain: bool = False,
        repeat: bool = False,
        copy: bool = False,
    ) -> None:
        """Requeue a message, due then. copy: one more copy may have arrived."""
        db.conn.execute(
            f"UPDATE message SET state = '{READY}', due = ?, error = ?, plain = MAX(plain, ?), "
            "repeat = MAX(repeat, ?), copies = copies + ? WHERE id = ?",
            (due, error, int(plain), int(repeat), int(copy), message_id),
        )

    @write
    def mark_perhaps(self, db: Database, message_id: int) -> None:
        """Mark a message as sent that may have arrived, after as many copies as are allowed."""
        now = self.wall.now()
        db.conn.execute(
            f"UPDATE message SET state = '{SENT}', copies = copies + 1, sent_at = ?, error = ? WHERE id = ?",
            (now, PERHAPS, message_id),
        )

    @write
    def revive(self, db: Database, message_ids: Sequence[int]) -> int:
        """Requeue dead letters that have not expired. Return how many."""
        now = self.wall.now()
        numbers = json.dumps([int(number) for number in message_ids])
        return db.conn.execute(
            f"UPDATE message SET state = '{READY}', due = ?, error = '' "
            f"WHERE state = '{DEAD}' AND expires >= ? AND id IN (SELECT value FROM json_each(?))",
            (now, now, numbers),
        ).rowcount

    @write
    def give_up(self, db: Database, message_id: int, error: str) -> None:
        """Make a message a dead letter, kept with the reason for the operator."""
        give_up(db, message_id, error)

    @write
    def clock_set_back(self, db: Database, back_ms: int) -> int:
        """Correct messages that were created or postponed by a clock that was ahead. Return how many.

        Args:
            back_ms: by how much it was set back.
        """
        now = self.wall.now()
        moved = db.conn.execute(
            "UPDATE message SET created_at = created_at - ?, due = due - ?, expires = expires - ? "
            f"WHERE state IN {WAITING} AND created_at > ?",
            (back_ms, back_ms, back_ms, now),
        ).rowcount
        # Leases and retry pauses are shorter than this: messages due later were postponed by the wrong clock.
        moved += db.conn.execute(
            f"UPDATE message SET due = ? WHERE state = '{READY}' AND NOT held AND due > ?",
            (now, now + LONGEST_PAUSE_MS),
        ).rowcount
        db.conn.execute(f"UPDATE message SET lease_until = ? WHERE state = '{SENDING}' AND lease_until > ?", (now, now))
        return moved

    @read
    def dead_letters(self, db: Database, count: int) -> list[DeadLetter]:
        """Return the last dead letters, newest first."""
        query = (
            f"SELECT message.id, coalesce({KIND}, '?'), "
            "coalesce(CASE WHEN json_valid(body) THEN json_extract(body, '$.asset') END, ''), platform, "
            "chat_id, message.created_at, error FROM message JOIN chat ON chat.id = chat_id "
            f"WHERE state = '{DEAD}' AND edits IS NULL ORDER BY message.id DESC LIMIT ?"
        )
        return [DeadLetter(*row) for row in db.conn.execute(query, (count,))]

    @write
    def resend(self, db: Database, message_ids: Sequence[int]) -> int:
        """Requeue dead letters and have them rendered again, so that they show how late they are. Return how many."""
        now = self.wall.now()
        numbers = ", ".join(str(int(number)) for number in message_ids)
        return db.conn.execute(
            f"UPDATE message SET state = '{READY}', due = ?, expires = ?, attempts = 0, plain = 0, error = '', "
            f"rendered = NULL WHERE state = '{DEAD}' AND id IN ({numbers})",
            (now, now + OTHERS_EXPIRE_MS),
        ).rowcount

    @read
    def oldest_due(self, db: Database) -> int:
        """Return since when the longest-waiting message has been due, UTC ms; 0 if there is none."""
        now = self.wall.now()
        row = db.conn.execute(
            "SELECT MIN(due) FROM message JOIN chat ON chat.id = chat_id "
            f"WHERE state = '{READY}' AND due <= ? AND expires >= ? AND chat.active AND edits IS NULL",
            (now, now),
        ).fetchone()
        return int(row[0] or 0)

    @read
    def dead_since(self, db: Database, at: int) -> int:
        """Return how many messages created since then were given up, edits excluded."""
        query = f"SELECT COUNT(*) FROM message WHERE state = '{DEAD}' AND created_at >= ? AND edits IS NULL"
        return int(db.conn.execute(query, (at,)).fetchone()[0])

    @read
    def counts(self, db: Database) -> dict[str, int]:
        """Return the number of messages by state, edits excluded."""
        query = (
            f"SELECT CASE WHEN state = '{SENT}' AND error = ? THEN 'perhaps' ELSE state END AS fate, COUNT(*) "
            "FROM message WHERE edits IS NULL GROUP BY fate"
        )
        return {state: int(n) for state, n in db.conn.execute(query, (PERHAPS,))}
