"""Rules, what they remember of clusters, and mutes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace

from sqlite_utils import Database

from engine.alerts.decide import StateKey
from engine.alerts.near import NearState
from engine.alerts.rules import Rule


def add_rule(db: Database, rule: Rule) -> Rule:
    """Store a rule; returned with the id it got."""
    cursor = db.conn.execute(
        "INSERT INTO rule (chat_id, kind, asset, distance, size, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (rule.chat_id, rule.kind, rule.asset, rule.distance, json.dumps(rule.size), rule.created_at),
    )
    return replace(rule, id=int(cursor.lastrowid or 0))


def remove_rules(db: Database, rule_ids: list[int]) -> None:
    db.conn.executemany("DELETE FROM rule WHERE id = ?", [(rule_id,) for rule_id in rule_ids])


def all_rules(db: Database) -> list[Rule]:
    """Rules of chats that are switched on, in the order they were made."""
    query = (
        "SELECT rule.id, chat_id, rule.kind, asset, distance, size, rule.created_at FROM rule "
        "JOIN chat ON chat.id = chat_id WHERE chat.active ORDER BY rule.id"
    )
    return [
        Rule(i, chat, kind, asset, d, json.loads(size), at)
        for i, chat, kind, asset, d, size, at in db.conn.execute(query)
    ]


def rules_of_chat(db: Database, chat_id: int) -> list[Rule]:
    """All rules of one chat, switched on or not."""
    query = "SELECT id, chat_id, kind, asset, distance, size, created_at FROM rule WHERE chat_id = ? ORDER BY id"
    rows = db.conn.execute(query, (chat_id,))
    return [Rule(i, chat, kind, asset, d, json.loads(size), at) for i, chat, kind, asset, d, size, at in rows]


def save_states(db: Database, states: Mapping[StateKey, NearState | None]) -> None:
    """Store what rules remember; None forgets. States of rules that were deleted meanwhile are dropped."""
    for (rule_id, cluster_id), state in states.items():
        if state is None:
            db.conn.execute("DELETE FROM rule_state WHERE rule_id = ? AND cluster_id = ?", (rule_id, cluster_id))
            continue
        db.conn.execute(
            "INSERT INTO rule_state SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM rule WHERE id = ?) "
            "ON CONFLICT (rule_id, cluster_id) DO UPDATE SET state = excluded.state",
            (rule_id, cluster_id, json.dumps(asdict(state)), rule_id),
        )


def all_states(db: Database) -> dict[StateKey, NearState]:
    rows = db.conn.execute("SELECT rule_id, cluster_id, state FROM rule_state")
    return {(rule_id, cluster_id): NearState(**json.loads(state)) for rule_id, cluster_id, state in rows}


def forget_states(db: Database, before: int) -> None:
    """Delete what rules remember of clusters that ended long ago."""
    db.conn.execute("DELETE FROM rule_state WHERE json_extract(state, '$.since') < ?", (before,))


def save_mute(db: Database, chat_id: int, asset: str, until: int) -> None:
    db.conn.execute(
        "INSERT INTO mute VALUES (?, ?, ?) ON CONFLICT (chat_id, asset) DO UPDATE SET until = excluded.until",
        (chat_id, asset, until),
    )


def forget_mutes(db: Database, before: int) -> None:
    db.conn.execute("DELETE FROM mute WHERE until < ?", (before,))


def unmute(db: Database, chat_id: int) -> None:
    """Let a chat hear everything again."""
    db.conn.execute("DELETE FROM mute WHERE chat_id = ?", (chat_id,))


def all_mutes(db: Database) -> dict[tuple[int, str], int]:
    return {(chat, asset): until for chat, asset, until in db.conn.execute("SELECT chat_id, asset, until FROM mute")}
