"""Events (facts, stored once), alerts (event, rule, chat), and the messages that deliver them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlite_utils import Database

from engine.alerts.delivery_policy import EXPIRES_MS, OTHERS_EXPIRE_MS, plan_messages
from engine.messages import AlertLogEntry, AlertRecord, DeliveryStatus, MessageState
from engine.preferences import Preferences, day_start, quiet_until
from storage import chats
from storage.aside import UNREADABLE, savepoint, set_aside
from storage.outbox import DEAD, KIND, PERHAPS, READY, as_json, insert_message
from storage.repository import Repository, read

FOR_RULE = "#"
"""In the key of a row that only counts another rule's alert against this rule's repeat interval."""


def add_alerts(db: Database, alerts: Iterable[AlertRecord], now: int) -> int:
    """Store events, alerts and their messages, by the chats' preferences. Return how many alerts were new.

    now is the machine's time, UTC ms. Alerts of chats that are gone or switched off are dropped. Many alerts of one
    tick share a message, and those of quiet hours a digest. Those over the daily cap get one note for all of them.
    """
    encoded: dict[int, str] = {}
    by_chat: dict[int, list[AlertRecord]] = {}
    for alert in alerts:
        by_chat.setdefault(alert.chat_id, []).append(alert)
    preferences = chats.preferences_of(db, by_chat)
    added = 0
    for chat_id, rows in by_chat.items():
        if chat_id in preferences:
            try:
                with savepoint(db):
                    new = [(number, alert) for alert in rows if (number := _add_alert(db, alert, encoded)) is not None]
                    _add_messages(db, chat_id, preferences[chat_id], new, now)
                added += len(new)
            except UNREADABLE as error:
                set_aside(db, f"an alert of chat #{chat_id}", error)
    return added


def _add_alert(db: Database, alert: AlertRecord, encoded: dict[int, str]) -> int | None:
    """Store an alert and its event. Return the alert's id, or None if its key exists already.

    Args:
        encoded: JSON by the id() of the facts it was made from, which many alerts of a tick share.
    """
    facts = _json(alert.facts, encoded)
    cluster = alert.facts.get("cluster", {}).get("id", "")
    event_key = f"{alert.kind}/{alert.asset}/{cluster}/{alert.at}/{alert.facts.get('price', 0):.10g}"
    if alert.rule_id is None:
        event_key = alert.key
    db.conn.execute(
        "INSERT OR IGNORE INTO event (key, kind, asset, at, facts) VALUES (?, ?, ?, ?, ?)",
        (event_key, alert.kind, alert.asset, alert.at, facts),
    )
    cursor = db.conn.execute(
        "INSERT OR IGNORE INTO alert (key, event_id, rule_id, chat_id, at, begins) "
        "SELECT ?, id, ?, ?, ?, ? FROM event WHERE key = ?",
        (alert.key, alert.rule_id, alert.chat_id, alert.at, int(alert.opens_incident), event_key),
    )
    return cursor.lastrowid if cursor.rowcount == 1 else None


def _json(facts: dict[str, Any], encoded: dict[int, str]) -> str:
    if id(facts) not in encoded:
        encoded[id(facts)] = as_json(facts)
    return encoded[id(facts)]


def _add_messages(db: Database, chat_id: int, preferences: Preferences, new: Sequence[Row], now: int) -> None:
    """Store the messages that a chat's new alerts of one tick make."""
    if not new:
        return
    digest = _waiting_digest(db, chat_id) if quiet_until(preferences, now) is not None else None
    sent_today = _sent_since(db, chat_id, day_start(preferences, now))
    alerts = [alert for _, alert in new]
    for planned in plan_messages(preferences, alerts, now, sent_today, digest[1] if digest else None):
        rows = [new[i] for i in planned.alerts]
        match planned.disposition:
            case "held" if digest is not None:
                db.conn.execute("UPDATE message SET body = ? WHERE id = ?", (as_json(planned.body), digest[0]))
                _link(db, rows, digest[0])
            case "capped" if _cap_notice_since(db, chat_id, day_start(preferences, now)):
                pass
            case _:
                message_id = insert_message(db, chat_id, as_json(planned.body), now, planned.expires, planned.due)
                _link(db, rows, message_id)
                if planned.final_count_at is not None:
                    _add_final_count(db, chat_id, message_id, planned.body, now, planned.final_count_at)


Row = tuple[int, AlertRecord]
"""A stored alert with its id."""


def change_alerts(db: Database, changes: Mapping[str, dict[str, Any]], now: int) -> None:
    """Update the messages of alerts: edit those already sent, rewrite those that are not.

    Args:
        changes: the new facts by the alert's key.
    """
    for key, facts in changes.items():
        try:
            with savepoint(db):
                _change_alert(db, key, facts, now)
        except UNREADABLE as error:
            set_aside(db, f"a change of alert {key[:60]}", error)


def _change_alert(db: Database, key: str, facts: dict[str, Any], now: int) -> None:
    """Update the message of one alert, if it delivers no other alert and can still be changed."""
    row = db.conn.execute(
        f"SELECT message.id, message.chat_id, state, rendered, {KIND}, "
        "(SELECT COUNT(*) FROM alert AS other WHERE other.message_id = message.id) "
        "FROM alert JOIN message ON message.id = message_id WHERE alert.key = ?",
        (key,),
    ).fetchone()
    if row is None:
        return  # over the daily cap
    message_id, chat_id, state, rendered, kind, alerts = row
    if state == DEAD or kind != facts["kind"] or alerts != 1:
        return  # given up, or one of several in its message
    body = as_json(facts)
    if state == READY and rendered is None:
        db.conn.execute("UPDATE message SET body = ? WHERE id = ?", (body, message_id))
        return
    db.conn.execute(f"DELETE FROM message WHERE edits = ? AND state = '{READY}'", (message_id,))
    number = insert_message(db, chat_id, body, now, now + EXPIRES_MS["near"], due=now)
    db.conn.execute("UPDATE message SET edits = ? WHERE id = ?", (message_id, number))


def _add_final_count(db: Database, chat_id: int, message_id: int, body: dict[str, Any], now: int, at: int) -> None:
    """Store an edit of a message that gives the final count, due once the last reports are in."""
    final = as_json({**body, "final": True})
    number = insert_message(db, chat_id, final, now, at + OTHERS_EXPIRE_MS, due=at)
    db.conn.execute("UPDATE message SET edits = ? WHERE id = ?", (message_id, number))


def _waiting_digest(db: Database, chat_id: int) -> tuple[int, dict[str, Any]] | None:
    """Return id and body of the digest that waits for the end of a chat's quiet hours, or None."""
    row = db.conn.execute(
        f"SELECT id, body FROM message WHERE chat_id = ? AND held AND state = '{READY}' AND rendered IS NULL "
        f"AND {KIND} = 'digest'",
        (chat_id,),
    ).fetchone()
    return None if row is None else (row[0], json.loads(row[1]))


def _cap_notice_since(db: Database, chat_id: int, since: int) -> bool:
    """Return whether a chat has had the note that its daily cap is reached since then."""
    query = f"SELECT 1 FROM message WHERE chat_id = ? AND created_at >= ? AND {KIND} = 'full'"
    return db.conn.execute(query, (chat_id, since)).fetchone() is not None


def _sent_since(db: Database, chat_id: int, since: int) -> int:
    """Return how many messages with rules' alerts a chat has since then, waiting ones included, dead ones not."""
    query = (
        "SELECT COUNT(DISTINCT message.id) FROM alert JOIN message ON message.id = message_id "
        f"WHERE message.chat_id = ? AND rule_id IS NOT NULL AND message.created_at >= ? AND message.state <> '{DEAD}'"
    )
    return int(db.conn.execute(query, (chat_id, since)).fetchone()[0])


def _link(db: Database, unit: list[Row], message_id: int) -> None:
    """Link alerts to their message, and add rows for the rules whose repeat intervals they also count against."""
    db.conn.executemany("UPDATE alert SET message_id = ? WHERE id = ?", [(message_id, number) for number, _ in unit])
    also = [(rule_id, rule_id, message_id, number) for number, alert in unit for rule_id in alert.counts_for]
    db.conn.executemany(
        f"INSERT OR IGNORE INTO alert (key, event_id, rule_id, chat_id, at, begins, message_id) "
        f"SELECT key || '{FOR_RULE}' || ?, event_id, ?, chat_id, at, 1, ? FROM alert WHERE id = ?",
        also,
    )


def _delivery_status(state: str | None, held: int | None, error: str | None) -> DeliveryStatus:
    match state:
        case None:
            return DeliveryStatus.OVER_CAP
        case MessageState.DEAD:
            return DeliveryStatus.FAILED
        case MessageState.SENT:
            return DeliveryStatus.UNCONFIRMED if error == PERHAPS else DeliveryStatus.DELIVERED
        case _:
            return DeliveryStatus.HELD if held else DeliveryStatus.WAITING


class AlertRepository(Repository):
    """Alerts that have been made."""

    @read
    def rules_of_message(self, db: Database, message_id: int) -> list[int]:
        """Return ids of the rules whose alerts a message delivers."""
        query = "SELECT DISTINCT rule_id FROM alert WHERE message_id = ? AND rule_id IS NOT NULL"
        return [row[0] for row in db.conn.execute(query, (message_id,))]

    @read
    def recent(self, db: Database, chat_id: int, count: int) -> list[AlertLogEntry]:
        """Return a chat's last alerts, newest first."""
        query = (
            "SELECT alert.at, event.asset, event.kind, message.state, message.error, message.held FROM alert "
            "JOIN event ON event.id = event_id LEFT JOIN message ON message.id = message_id "
            f"WHERE alert.chat_id = ? AND instr(alert.key, '{FOR_RULE}') = 0 ORDER BY alert.id DESC LIMIT ?"
        )
        rows = db.conn.execute(query, (chat_id, count))
        return [
            AlertLogEntry(at, asset, kind, _delivery_status(state, held, error), error or "")
            for at, asset, kind, state, error, held in rows
        ]
