"""Events (facts, once), alerts (event, rule, chat) and messages (what goes out)."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from sqlite_utils import Database

from engine.alerts.delivery_policy import GROUP_FROM, disposition
from engine.market import HOUR_MS, MINUTE_MS
from engine.messages import AlertLogEntry, AlertRecord, DeadLetter, Message
from engine.preferences import Preferences, day_start, quiet_until
from storage import chats
from storage.aside import set_aside
from storage.chats import PREFERENCES, read_preferences

EXPIRES_MS = {"near": 30 * MINUTE_MS, "entered": 30 * MINUTE_MS}
OTHERS_EXPIRE_MS = 12 * HOUR_MS
"""How long a message is still worth sending, by kind of alert."""

COUNTED_LATER = frozenset({"swept", "fresh", "move"})
COUNTED_AFTER_MS = HOUR_MS
"""A sweep's message is changed then to say what was reported in all."""

MAX_TOLD = 12
"""Alerts that a message about several names; the rest are counted."""

FOR_RULE = "#"
"""Within the key of a row that only says that a rule has spoken by another alert."""

LONGEST_PAUSE_MS = HOUR_MS

KIND = "CASE WHEN json_valid(body) THEN json_extract(body, '$.kind') END"
"""What a message is of, in SQL; nothing of one whose facts are damaged."""

NONCE_BYTES = 12
"""24 hexadecimal characters: Discord takes 25 at most."""


def add_alerts(db: Database, alerts: Iterable[AlertRecord], now: int) -> int:
    """Store events and alerts, and the messages that their chats' wishes make of them; how many alerts were new.

    now is the machine's time. A chat that is gone or switched off gets none. Many alerts of one tick are one message;
    those of quiet hours wait together; those beyond a day's cap are kept without a message, which one note says.
    """
    known: dict[int, str] = {}
    by_chat: dict[int, list[AlertRecord]] = {}
    for alert in alerts:
        by_chat.setdefault(alert.chat_id, []).append(alert)
    preferences = chats.preferences_of(db, by_chat)
    added = 0
    for chat_id, rows in by_chat.items():
        if chat_id in preferences:
            try:
                with savepoint(db):
                    new = [(number, alert) for alert in rows if (number := _add_alert(db, alert, known)) is not None]
                    _tell(db, chat_id, preferences[chat_id], new, now)
                added += len(new)
            except UNREADABLE as error:
                set_aside(db, f"an alert of chat #{chat_id}", error)
    return added


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, ZoneInfoNotFoundError)
"""What a damaged row of one chat may raise. What SQLite refuses is everybody's trouble, and ends the tick."""


@contextlib.contextmanager
def savepoint(db: Database) -> Iterator[None]:
    """Store all that is done within or nothing of it, inside the transaction that is on."""
    db.conn.execute("SAVEPOINT one_chat")
    try:
        yield
    except BaseException:
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK TO one_chat")
            db.conn.execute("RELEASE one_chat")
        raise
    db.conn.execute("RELEASE one_chat")


def _add_alert(db: Database, alert: AlertRecord, known: dict[int, str]) -> int | None:
    """The new alert's id, None where there is one of that key already.

    Args:
        known: facts as JSON by the identity of what they came from: many alerts of a tick share theirs.
    """
    facts = _json(alert.facts, known)
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
        (alert.key, alert.rule_id, alert.chat_id, alert.at, int(alert.begins), event_key),
    )
    return cursor.lastrowid if cursor.rowcount == 1 else None


def _json(facts: dict[str, Any], known: dict[int, str]) -> str:
    if id(facts) not in known:
        known[id(facts)] = as_json(facts)
    return known[id(facts)]


def as_json(facts: dict[str, Any]) -> str:
    """Return facts as JSON. A number that is none is left out by itself: the message says the rest."""
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


Row = tuple[int, AlertRecord]


def _tell(db: Database, chat_id: int, preferences: Preferences, new: list[Row], now: int) -> None:
    """Make messages of a chat's new alerts of one tick, the worst first."""
    new.sort(key=lambda row: (-row[1].top_tier, -_size(row[1].facts)))
    # What is no rule's, such as what happened while the program was down, says more than its first line.
    own = [[row] for row in new if row[1].rule_id is None]
    rest = [row for row in new if row[1].rule_id is not None]
    units = own + ([rest] if len(rest) >= GROUP_FROM else [[row] for row in rest])
    told = _told_since(db, chat_id, day_start(preferences, now)) if units else 0
    for unit in units:
        first = unit[0][1]
        # What is no rule's, such as that figures are missing, fills no day; nor does a single wish.
        counted = told if first.rule_id is not None and not any(alert.only for _, alert in unit) else 0
        match disposition(preferences, now, counted, first.kind, top_tier=first.top_tier):
            case "now":
                kinds = {alert.kind for _, alert in unit}
                lives = max(EXPIRES_MS.get(kind, OTHERS_EXPIRE_MS) for kind in kinds)
                body = first.facts if len(unit) == 1 else _together("group", unit, now)
                message_id = _add(db, chat_id, as_json(body), now, now + lives)
                _link(db, unit, message_id)
                if body["kind"] in COUNTED_LATER:
                    _count_later(db, chat_id, message_id, body, now)
                told += 1
            case "held":
                told += _hold(db, chat_id, unit, now, quiet_until(preferences, now) or now)
            case "capped":
                _say_full(db, chat_id, preferences, now)


def change_alerts(db: Database, changes: Mapping[str, dict[str, Any]], now: int) -> None:
    """Let the messages of alerts say something newer: in their place where they were sent, else before they are.

    Args:
        changes: facts by the alert's key.
    """
    for key, facts in changes.items():
        try:
            with savepoint(db):
                _change_alert(db, key, facts, now)
        except UNREADABLE as error:
            set_aside(db, f"a change of alert {key[:60]}", error)


def _change_alert(db: Database, key: str, facts: dict[str, Any], now: int) -> None:
    """Let the message of one alert say something newer, if it was told alone and still can be changed."""
    row = db.conn.execute(
        f"SELECT message.id, message.chat_id, state, rendered, {KIND}, "
        "(SELECT COUNT(*) FROM alert AS other WHERE other.message_id = message.id) "
        "FROM alert JOIN message ON message.id = message_id WHERE alert.key = ?",
        (key,),
    ).fetchone()
    if row is None or row[2] == "dead" or row[4] != facts["kind"] or row[5] != 1:
        return  # never told, given up, or told among others
    body = as_json(facts)
    if row[2] == "ready" and row[3] is None:
        db.conn.execute("UPDATE message SET body = ? WHERE id = ?", (body, row[0]))
        return
    db.conn.execute("DELETE FROM message WHERE edits = ? AND state = 'ready'", (row[0],))
    number = _add(db, row[1], body, now, now + EXPIRES_MS["near"], due=now)
    db.conn.execute("UPDATE message SET edits = ? WHERE id = ?", (row[0], number))


def _count_later(db: Database, chat_id: int, message_id: int, body: dict[str, Any], now: int) -> None:
    """Have a message changed once the last reports of its happening are in."""
    final = as_json({**body, "final": True})
    number = _add(db, chat_id, final, now, now + COUNTED_AFTER_MS + OTHERS_EXPIRE_MS, due=now + COUNTED_AFTER_MS)
    db.conn.execute("UPDATE message SET edits = ? WHERE id = ?", (message_id, number))


def _size(facts: dict[str, Any]) -> float:
    return float(facts.get("forced_usd") or facts.get("cluster", {}).get("forced_usd") or 0.0)


def _together(kind: str, unit: list[Row], now: int) -> dict[str, Any]:
    """The body of a message that tells several alerts."""
    items = [alert.facts for _, alert in unit]
    return {
        "kind": kind,
        "asset": items[0].get("asset", ""),
        "at": now,
        "count": len(items),
        "items": items[:MAX_TOLD],
    }


def _hold(db: Database, chat_id: int, unit: list[Row], now: int, until: int) -> int:
    """Let alerts wait for the end of quiet hours, all in one message; how many messages that made."""
    waiting = db.conn.execute(
        "SELECT id, body FROM message WHERE chat_id = ? AND held AND state = 'ready' AND rendered IS NULL "
        f"AND {KIND} = 'digest'",
        (chat_id,),
    ).fetchone()
    if waiting is None:
        body = as_json(_together("digest", unit, now))
        _link(db, unit, _add(db, chat_id, body, now, until + OTHERS_EXPIRE_MS, due=until))
        return 1
    body = json.loads(waiting[1])
    before = [item for item in body.get("items") or () if isinstance(item, dict)]
    body["count"] = int(body.get("count") or len(before)) + len(unit)
    items = [*before, *(alert.facts for _, alert in unit)]
    body["items"] = sorted(items, key=lambda facts: -_size(facts))[:MAX_TOLD]
    db.conn.execute("UPDATE message SET body = ? WHERE id = ?", (as_json(body), waiting[0]))
    _link(db, unit, waiting[0])
    return 0


def _say_full(db: Database, chat_id: int, preferences: Preferences, now: int) -> None:
    """The closing note of a day, once."""
    said = db.conn.execute(
        f"SELECT 1 FROM message WHERE chat_id = ? AND created_at >= ? AND {KIND} = 'full'",
        (chat_id, day_start(preferences, now)),
    ).fetchone()
    if said is None:
        body = {"kind": "full", "cap": preferences.cap, "timezone": preferences.timezone}
        due = quiet_until(preferences, now)
        _add(db, chat_id, json.dumps(body), now, (due or now) + OTHERS_EXPIRE_MS, due=due)


def _told_since(db: Database, chat_id: int, since: int) -> int:
    """Messages with rules' alerts for a chat, those that wait included and those given up left out."""
    query = (
        "SELECT COUNT(DISTINCT message.id) FROM alert JOIN message ON message.id = message_id "
        "WHERE message.chat_id = ? AND rule_id IS NOT NULL AND message.created_at >= ? AND message.state <> 'dead'"
    )
    return int(db.conn.execute(query, (chat_id, since)).fetchone()[0])


def _link(db: Database, unit: list[Row], message_id: int) -> None:
    """Say which message tells alerts, for the rules that speak by them too."""
    db.conn.executemany("UPDATE alert SET message_id = ? WHERE id = ?", [(message_id, number) for number, _ in unit])
    also = [(rule_id, rule_id, message_id, number) for number, alert in unit for rule_id in alert.counts_for]
    db.conn.executemany(
        f"INSERT OR IGNORE INTO alert (key, event_id, rule_id, chat_id, at, begins, message_id) "
        f"SELECT key || '{FOR_RULE}' || ?, event_id, ?, chat_id, at, 1, ? FROM alert WHERE id = ?",
        also,
    )


def add_message(db: Database, chat_id: int, body: dict[str, Any], now: int) -> None:
    """Store a message that is no alert, such as a test alert; not a second one of its kind while one waits."""
    if has_unsent(db, chat_id, body["kind"]):
        return
    _add(db, chat_id, as_json(body), now, now + OTHERS_EXPIRE_MS)


def _add(db: Database, chat_id: int, body: str, now: int, expires: int, due: int | None = None) -> int:
    """A message's id; with a due time it is held until then."""
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


def rules_of_message(db: Database, message_id: int) -> list[int]:
    """The rules whose alerts a message tells."""
    query = "SELECT DISTINCT rule_id FROM alert WHERE message_id = ? AND rule_id IS NOT NULL"
    return [row[0] for row in db.conn.execute(query, (message_id,))]


def recent_alerts(db: Database, chat_id: int, count: int) -> list[AlertLogEntry]:
    """A chat's last alerts, newest first."""
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


def _delivery_status(state: str | None, held: int | None, error: str | None) -> str:
    if state == "sent" and error == PERHAPS:
        return PERHAPS
    if state is None:
        return "not sent, the day was full"
    if state == "dead":
        return "not delivered"
    if state == "sent":
        return "told"
    return "waits for the end of quiet hours" if held else "on its way"


def dead_letters(db: Database, count: int) -> list[DeadLetter]:
    """The last messages that were given up, newest first."""
    query = (
        f"SELECT message.id, coalesce({KIND}, '?'), "
        "coalesce(CASE WHEN json_valid(body) THEN json_extract(body, '$.asset') END, ''), platform, "
        "chat_id, message.created_at, error FROM message JOIN chat ON chat.id = chat_id "
        "WHERE state = 'dead' AND edits IS NULL ORDER BY message.id DESC LIMIT ?"
    )
    return [DeadLetter(*row) for row in db.conn.execute(query, (count,))]


def resend(db: Database, message_ids: Sequence[int], now: int) -> int:
    """Let messages that were given up go out again, rendered anew so that they say how late they are; how many."""
    numbers = ", ".join(str(int(number)) for number in message_ids)
    return db.conn.execute(
        "UPDATE message SET state = 'ready', due = ?, expires = ?, attempts = 0, plain = 0, error = '', "
        f"rendered = NULL WHERE state = 'dead' AND id IN ({numbers})",
        (now, now + OTHERS_EXPIRE_MS),
    ).rowcount


def recover_leases(db: Database, platform: str) -> int:
    """After a start: what was being sent when the process ended goes out again, marked as a possible repeat."""
    return db.conn.execute(
        "UPDATE message SET state = 'ready', repeat = 1 WHERE state = 'sending' "
        "AND chat_id IN (SELECT id FROM chat WHERE platform = ?)",
        (platform,),
    ).rowcount


def expire(db: Database, platform: str, now: int) -> list[int]:
    """Give up what is not worth sending any more; the messages' ids."""
    rows = db.conn.execute(
        "UPDATE message SET state = 'dead', error = 'expired' WHERE state = 'ready' AND expires < ? "
        "AND chat_id IN (SELECT id FROM chat WHERE platform = ?) RETURNING id",
        (now, platform),
    )
    return [row[0] for row in rows.fetchall()]


CLAIM = f"""
    SELECT message.id, chat_id, chat.remote_id, chat.kind, body, rendered, attempts, nonce, expires,
        message.created_at, plain, repeat, copies, tried_at, edits,
        (SELECT target.remote_id FROM message AS target WHERE target.id = message.edits), {", ".join(PREFERENCES)}
    FROM message INDEXED BY message_by_due CROSS JOIN chat ON chat.id = chat_id
    WHERE state = 'ready' AND due <= :now AND expires >= :now AND chat.platform = :platform AND chat.active
        AND chat_id NOT IN (SELECT value FROM json_each(:busy))
        -- A change of a message waits for the message, and makes way for a newer change of it.
        AND (edits IS NULL OR EXISTS (SELECT 1 FROM message AS target
                WHERE target.id = message.edits AND target.state = 'sent' AND target.remote_id <> '')
            AND NOT EXISTS (SELECT 1 FROM message AS newer
                WHERE newer.edits = message.edits AND newer.id > message.id))
        -- Within a chat the oldest unsent message goes first; one that is held until later is in nobody's way.
        AND NOT EXISTS (SELECT 1 FROM message AS other WHERE other.chat_id = message.chat_id
            AND other.id < message.id AND other.state IN ('ready', 'sending') AND NOT other.held)
    ORDER BY due, message.id LIMIT 1
"""
"""The message that has been due longest, of a chat that is not busy: read in the order of an index, whatever waits."""


def claim(db: Database, platform: str, now: int, lease_ms: int, busy: Iterable[int] = ()) -> Message | None:
    """Lease the message that has been due longest, of a chat that is not busy, so that nobody else sends it.

    Only the oldest unsent message of each chat is offered: order is kept within a chat. A lease that ran out
    counts as cut off. A message that cannot be read is given up, and takes no other with it.
    """
    db.conn.execute(
        "UPDATE message SET state = 'ready', repeat = 1 WHERE state = 'sending' AND lease_until < ?", (now,)
    )
    wanted = {"platform": platform, "now": now, "busy": json.dumps([int(chat_id) for chat_id in busy])}
    while (row := db.conn.execute(CLAIM, wanted).fetchone()) is not None:
        try:
            message = _message(db, row, now)
        except (ValueError, TypeError, KeyError) as error:
            set_aside(db, f"message {row[0]} to chat #{row[1]}", error)
            give_up(db, row[0], "cannot be read")
            continue
        db.conn.execute(
            "UPDATE message SET state = 'sending', attempts = attempts + 1, lease_until = ?, "
            "tried_at = coalesce(tried_at, ?) WHERE id = ?",
            (now + lease_ms, now, message.id),
        )
        return message
    return None


def _message(db: Database, row: tuple[Any, ...], now: int) -> Message:
    """A message from its columns in the order of CLAIM.

    Raises:
        ValueError: when what it holds cannot be read.
    """
    number, chat_id, remote_chat, kind, body, rendered, attempts, nonce, expires, *rest = row
    created_at, plain, repeat, copies, tried_at, *rest = rest
    facts = json.loads(body)
    if not isinstance(facts, dict) or "kind" not in facts:
        raise ValueError("its facts are none")
    return Message(
        id=number,
        chat_id=chat_id,
        remote_chat=remote_chat,
        chat_kind=kind,
        body=facts,
        rendered=json.loads(rendered) if rendered else None,
        attempts=attempts + 1,
        nonce=nonce,
        expires=expires,
        created_at=created_at,
        plain=bool(plain),
        repeat=bool(repeat),
        edits=str(rest[1]) if rest[0] is not None else None,
        preferences=read_preferences(db, chat_id, kind, rest[2:]),
        copies=copies,
        tried_at=tried_at or now,
    )


def keep_rendered(db: Database, message_id: int, rendered: dict[str, Any]) -> None:
    """The text as it goes out, kept before it is sent."""
    db.conn.execute("UPDATE message SET rendered = ? WHERE id = ?", (json.dumps(rendered), message_id))


def mark_sent(db: Database, message_id: int, remote_id: str, now: int) -> None:
    """The platform said it has it."""
    db.conn.execute(
        "UPDATE message SET state = 'sent', remote_id = ?, sent_at = ?, error = '' WHERE id = ? AND state = 'sending'",
        (remote_id, now, message_id),
    )


def put_back(
    db: Database,
    message_id: int,
    due: int,
    error: str,
    *,
    plain: bool = False,
    repeat: bool = False,
    copy: bool = False,
) -> None:
    """It goes out again, not before due. copy: it may have arrived once more."""
    db.conn.execute(
        "UPDATE message SET state = 'ready', due = ?, error = ?, plain = MAX(plain, ?), repeat = MAX(repeat, ?), "
        "copies = copies + ? WHERE id = ?",
        (due, error, int(plain), int(repeat), int(copy), message_id),
    )


PERHAPS = "perhaps delivered"
"""The error of a message that counts as sent, of which the platform never said that it has it."""


def mark_perhaps(db: Database, message_id: int, now: int) -> None:
    """It may have arrived, as often as it may: it is not sent again, and counts as told."""
    db.conn.execute(
        "UPDATE message SET state = 'sent', copies = copies + 1, sent_at = ?, error = ? WHERE id = ?",
        (now, PERHAPS, message_id),
    )


def revive(db: Database, message_ids: Sequence[int], now: int) -> int:
    """Let messages that were given up go on, as far as they are worth sending; return how many."""
    numbers = json.dumps([int(number) for number in message_ids])
    return db.conn.execute(
        "UPDATE message SET state = 'ready', due = ?, error = '' "
        "WHERE state = 'dead' AND expires >= ? AND id IN (SELECT value FROM json_each(?))",
        (now, now, numbers),
    ).rowcount


def give_up(db: Database, message_id: int, error: str) -> None:
    """It will not be sent; kept, with the reason, for the operator."""
    db.conn.execute("UPDATE message SET state = 'dead', error = ? WHERE id = ?", (error, message_id))


SLICE = 500
"""Rows that housekeeping touches in one transaction: alerts are not kept waiting for it."""


def thin_out(db: Database, created_before: int) -> int:
    """Drop the texts of old messages that are done, a slice at a time, keeping what became of them; return how many."""
    return db.conn.execute(
        "UPDATE message SET rendered = NULL, body = json_object('kind', coalesce("
        f"{KIND}, '?'), 'asset', CASE WHEN json_valid(body) THEN json_extract(body, '$.asset') END, 'thin', 1) "
        "WHERE id IN (SELECT id FROM message INDEXED BY message_by_text "
        "WHERE state IN ('sent', 'dead') AND rendered IS NOT NULL AND created_at < ? LIMIT ?)",
        (created_before, SLICE),
    ).rowcount


def forget_sent(db: Database, created_before: int) -> int:
    """Delete a slice of old messages that are done, with their alerts and events; return how many rows went."""
    done = db.conn.execute(
        "SELECT id FROM message INDEXED BY message_by_age "
        "WHERE state IN ('sent', 'dead') AND created_at < ? ORDER BY created_at LIMIT ?",
        (created_before, SLICE),
    ).fetchall()
    numbers = json.dumps([row[0] for row in done])
    gone = "SELECT value FROM json_each(?)"
    events = db.conn.execute(f"SELECT DISTINCT event_id FROM alert WHERE message_id IN ({gone})", (numbers,)).fetchall()
    count = db.conn.execute(f"DELETE FROM alert WHERE message_id IN ({gone})", (numbers,)).rowcount
    untold = db.conn.execute(
        "SELECT id, event_id FROM alert WHERE message_id IS NULL AND at < ? LIMIT ?", (created_before, SLICE)
    ).fetchall()
    db.conn.executemany("DELETE FROM alert WHERE id = ?", [(row[0],) for row in untold])
    count += db.conn.execute(f"DELETE FROM message WHERE id IN ({gone})", (numbers,)).rowcount + len(untold)
    candidates = json.dumps([*(row[0] for row in events), *(row[1] for row in untold)])
    db.conn.execute(
        f"DELETE FROM event WHERE id IN ({gone}) AND NOT EXISTS (SELECT 1 FROM alert WHERE event_id = event.id)",
        (candidates,),
    )
    return count


def clock_set_back(db: Database, now: int, back_ms: int) -> int:
    """Bring messages back that were made, or put off, by a clock that was ahead; return how many.

    Args:
        now: the machine's time as it is now, UTC ms.
        back_ms: by how much it was set back.
    """
    moved = db.conn.execute(
        "UPDATE message SET created_at = created_at - ?, due = due - ?, expires = expires - ? "
        "WHERE state IN ('ready', 'sending') AND created_at > ?",
        (back_ms, back_ms, back_ms, now),
    ).rowcount
    # A lease, or a pause between two tries, is shorter than this: what is due later was put off by the wrong clock.
    moved += db.conn.execute(
        "UPDATE message SET due = ? WHERE state = 'ready' AND NOT held AND due > ?", (now, now + LONGEST_PAUSE_MS)
    ).rowcount
    db.conn.execute("UPDATE message SET lease_until = ? WHERE state = 'sending' AND lease_until > ?", (now, now))
    return moved


def has_unsent(db: Database, chat_id: int, kind: str) -> bool:
    """Whether a message of a kind waits for a chat."""
    query = f"SELECT 1 FROM message WHERE chat_id = ? AND state IN ('ready', 'sending') AND {KIND} = ? LIMIT 1"
    return db.conn.execute(query, (chat_id, kind)).fetchone() is not None


def oldest_due(db: Database, now: int) -> int:
    """Return since when the message has been due that waits longest, UTC ms; 0 where none does."""
    row = db.conn.execute(
        "SELECT MIN(due) FROM message JOIN chat ON chat.id = chat_id "
        "WHERE state = 'ready' AND due <= ? AND expires >= ? AND chat.active AND edits IS NULL",
        (now, now),
    ).fetchone()
    return int(row[0] or 0)


def dead_since(db: Database, at: int) -> int:
    """Return how many messages made since then were given up, changes of messages left out."""
    query = "SELECT COUNT(*) FROM message WHERE state = 'dead' AND created_at >= ? AND edits IS NULL"
    return int(db.conn.execute(query, (at,)).fetchone()[0])


def counts(db: Database) -> dict[str, int]:
    """How many messages are in each state, changes of messages left out."""
    query = (
        "SELECT CASE WHEN state = 'sent' AND error = ? THEN 'perhaps' ELSE state END AS fate, COUNT(*) "
        "FROM message WHERE edits IS NULL GROUP BY fate"
    )
    return {state: int(n) for state, n in db.conn.execute(query, (PERHAPS,))}
