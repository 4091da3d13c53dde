"""Events (facts, once), alerts (event, rule, chat) and messages (what goes out)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any

from sqlite_utils import Database

from engine.market import HOUR_MS, MINUTE_MS
from engine.ports import AlertRecord, Message

EXPIRES_MS = {"near": 30 * MINUTE_MS, "entered": 30 * MINUTE_MS}
OTHERS_EXPIRE_MS = 12 * HOUR_MS
"""How long a message is still worth sending, by kind of alert."""

NONCE_BYTES = 12
"""24 hexadecimal characters: Discord takes 25 at most."""


def add_alerts(db: Database, alerts: Iterable[AlertRecord], now: int) -> int:
    """Store events, alerts and their messages; how many alerts were new. now is the machine's time.

    A chat that is gone or switched off gets none.
    """
    added = 0
    for alert in alerts:
        facts = json.dumps(alert.facts, allow_nan=False)
        cluster = alert.facts.get("cluster", {}).get("id", "")
        event_key = f"{alert.kind}/{alert.asset}/{cluster}/{alert.at}/{alert.facts.get('price', 0):.10g}"
        if alert.rule_id is None:
            event_key = alert.key
        db.conn.execute(
            "INSERT OR IGNORE INTO event (key, kind, asset, at, facts) VALUES (?, ?, ?, ?, ?)",
            (event_key, alert.kind, alert.asset, alert.at, facts),
        )
        cursor = db.conn.execute(
            "INSERT OR IGNORE INTO alert (key, event_id, rule_id, chat_id, at) "
            "SELECT ?, (SELECT id FROM event WHERE key = ?), ?, id, ? FROM chat WHERE id = ? AND active",
            (alert.key, event_key, alert.rule_id, alert.at, alert.chat_id),
        )
        if cursor.rowcount == 1:
            added += 1
            expires = now + EXPIRES_MS.get(alert.kind, OTHERS_EXPIRE_MS)
            _add(db, alert.chat_id, cursor.lastrowid, facts, now, expires)
    return added


def add_message(db: Database, chat_id: int, body: dict[str, Any], now: int) -> None:
    """Store a message that is no alert, such as a test alert; not a second one of its kind while one waits."""
    if has_unsent(db, chat_id, body["kind"]):
        return
    _add(db, chat_id, None, json.dumps(body, allow_nan=False), now, now + OTHERS_EXPIRE_MS)


def _add(db: Database, chat_id: int, alert_id: int | None, body: str, now: int, expires: int) -> None:
    db.conn.execute(
        "INSERT INTO message (chat_id, alert_id, body, due, expires, nonce, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (chat_id, alert_id, body, now, expires, secrets.token_hex(NONCE_BYTES), now),
    )


def recover_leases(db: Database, platform: str) -> int:
    """After a start: what was being sent when the process ended goes out again, marked as a possible repeat."""
    return db.conn.execute(
        "UPDATE message SET state = 'ready', repeat = 1 WHERE state = 'sending' "
        "AND chat_id IN (SELECT id FROM chat WHERE platform = ?)",
        (platform,),
    ).rowcount


def claim(db: Database, platform: str, now: int, lease_ms: int, busy: Iterable[int] = ()) -> Message | None:
    """The oldest message that is due, of a chat that is not busy; leased so that nobody else sends it.

    Only the oldest unsent message of each chat is offered: order is kept within a chat. A lease that ran out
    counts as cut off.
    """
    db.conn.execute(
        "UPDATE message SET state = 'ready', repeat = 1 WHERE state = 'sending' AND lease_until < ?", (now,)
    )
    db.conn.execute(
        "UPDATE message SET state = 'dead', error = 'expired' WHERE state = 'ready' AND expires < ?", (now,)
    )
    left_out = ", ".join(str(int(chat_id)) for chat_id in busy)
    row = db.conn.execute(
        "SELECT message.id, chat_id, chat.remote_id, chat.kind, body, rendered, attempts, nonce, expires, "
        "message.created_at, plain, repeat FROM message JOIN chat ON chat.id = chat_id "
        "WHERE chat.platform = ? AND chat.active AND state = 'ready' AND due <= ? "
        f"AND chat_id NOT IN ({left_out}) "
        "AND NOT EXISTS (SELECT 1 FROM message AS other WHERE other.chat_id = message.chat_id "
        "  AND other.id < message.id AND other.state IN ('ready', 'sending')) "
        "ORDER BY message.id LIMIT 1",
        (platform, now),
    ).fetchone()
    if row is None:
        return None
    db.conn.execute(
        "UPDATE message SET state = 'sending', attempts = attempts + 1, lease_until = ? WHERE id = ?",
        (now + lease_ms, row[0]),
    )
    number, chat_id, remote_chat, kind, body, rendered, attempts, nonce, expires, created_at, plain, repeat = row
    return Message(
        id=number,
        chat_id=chat_id,
        remote_chat=remote_chat,
        chat_kind=kind,
        body=json.loads(body),
        rendered=json.loads(rendered) if rendered else None,
        attempts=attempts + 1,
        nonce=nonce,
        expires=expires,
        created_at=created_at,
        plain=bool(plain),
        repeat=bool(repeat),
    )


def keep_rendered(db: Database, message_id: int, rendered: dict[str, Any]) -> None:
    """The text as it goes out, kept before it is sent."""
    db.conn.execute("UPDATE message SET rendered = ? WHERE id = ?", (json.dumps(rendered), message_id))


def mark_sent(db: Database, message_id: int, remote_id: str, now: int) -> None:
    """The platform said it has it."""
    db.conn.execute(
        "UPDATE message SET state = 'sent', remote_id = ?, sent_at = ?, error = '' WHERE id = ?",
        (remote_id, now, message_id),
    )


def put_back(db: Database, message_id: int, due: int, error: str, *, plain: bool = False, repeat: bool = False) -> None:
    """It goes out again, not before due."""
    db.conn.execute(
        "UPDATE message SET state = 'ready', due = ?, error = ?, plain = MAX(plain, ?), repeat = MAX(repeat, ?) "
        "WHERE id = ?",
        (due, error, int(plain), int(repeat), message_id),
    )


def give_up(db: Database, message_id: int, error: str) -> None:
    """It will not be sent; kept, with the reason, for the operator."""
    db.conn.execute("UPDATE message SET state = 'dead', error = ? WHERE id = ?", (error, message_id))


def forget_sent(db: Database, created_before: int) -> None:
    """Delete old messages that were sent or given up, their alerts and the events nobody refers to any more."""
    done = "SELECT id FROM message WHERE state IN ('sent', 'dead') AND created_at < ?"
    alerts = f"SELECT alert_id FROM message WHERE id IN ({done}) AND alert_id IS NOT NULL"
    gone = [row[0] for row in db.conn.execute(alerts, (created_before,))]
    db.conn.execute(f"DELETE FROM message WHERE id IN ({done})", (created_before,))
    db.conn.executemany("DELETE FROM alert WHERE id = ?", [(alert_id,) for alert_id in gone])
    db.conn.execute("DELETE FROM event WHERE id NOT IN (SELECT event_id FROM alert)")


def has_unsent(db: Database, chat_id: int, kind: str) -> bool:
    """Whether a message of a kind waits for a chat."""
    query = (
        "SELECT 1 FROM message WHERE chat_id = ? AND state IN ('ready', 'sending') "
        "AND json_extract(body, '$.kind') = ? LIMIT 1"
    )
    return db.conn.execute(query, (chat_id, kind)).fetchone() is not None


def counts(db: Database) -> dict[str, int]:
    """How many messages are in each state."""
    return {state: int(n) for state, n in db.conn.execute("SELECT state, COUNT(*) FROM message GROUP BY state")}
