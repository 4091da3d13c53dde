"""Rules, their states, and mutes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlite_utils import Database

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rules import Rule
from engine.alerts.state import RuleState, StateKey, from_row, to_row
from engine.errors import InputError
from storage.aside import set_aside
from storage.repository import Repository, read, write

LAST_ID = "last_rule_id"
_COLUMNS = "chat_id, kind, asset, distance, size, created_at, level, every_ms, expires_at, paused, side"
_NAMED = "id, " + _COLUMNS


def _rule(row: tuple[Any, ...]) -> Rule:
    """Return a rule from its columns.

    Raises:
        ValueError: when it is not a possible rule.
    """
    number, chat, kind, asset, distance, size, at, level, every_ms, expires_at, paused, side = row
    size = json.loads(size)
    checked_rule = Rule(number, chat, kind, asset, distance, size, at, level, every_ms, expires_at, bool(paused), side)
    why = checked_rule.why_impossible()
    if why:
        raise ValueError(why)
    return checked_rule


def _rules(db: Database, rows: Iterable[tuple[Any, ...]]) -> list[Rule]:
    """Return rules from their rows. Unreadable ones are set aside."""
    rules = []
    for row in rows:
        try:
            rules.append(_rule(row))
        except (ValueError, TypeError, OverflowError) as error:
            set_aside(db, f"alert #{row[0]} of chat #{row[1]}", error)
    return rules


def add_rule(db: Database, rule: Rule) -> Rule:
    """Store a rule. Return it with an id that no rule had before: stored data must never refer to another rule."""
    highest = db.conn.execute(
        "SELECT max(coalesce((SELECT max(id) FROM rule), 0), coalesce((SELECT max(rule_id) FROM alert), 0), "
        "coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?), 0))",
        (LAST_ID,),
    ).fetchone()[0]
    db.conn.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (LAST_ID, str(highest + 1)),
    )
    rule = replace(rule, id=highest + 1)
    _insert(db, rule)
    return rule


def _insert(db: Database, rule: Rule) -> None:
    db.conn.execute(
        f"INSERT INTO rule (id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            rule.id,
            *(rule.chat_id, rule.kind, rule.asset, rule.distance, json.dumps(rule.size), rule.created_at),
            *(rule.level, rule.every_ms, rule.expires_at, int(rule.paused), rule.side),
        ),
    )


def add_in_place(db: Database, rule: Rule, gone: Iterable[Rule]) -> Rule:
    """Store a rule that replaces others, and keep those for undo. Return it."""
    added = add_rule(db, rule)
    kept = json.dumps([asdict(each) for each in gone])
    db.conn.execute("UPDATE rule SET replaced = ? WHERE id = ?", (kept, added.id))
    return added


def remove_rules(db: Database, rule_ids: Iterable[int]) -> None:
    db.conn.executemany("DELETE FROM rule WHERE id = ?", [(rule_id,) for rule_id in rule_ids])


def all_rules(db: Database) -> list[Rule]:
    """Return rules that are not paused, of active chats, in the order they were created."""
    active = "SELECT id FROM chat WHERE active"
    rows = db.conn.execute(f"SELECT {_NAMED} FROM rule WHERE NOT paused AND chat_id IN ({active}) ORDER BY id")
    return _rules(db, rows.fetchall())


def rules_of_chat(db: Database, chat_id: int) -> list[Rule]:
    """Return all rules of one chat, paused or not."""
    return _rules(
        db, db.conn.execute(f"SELECT {_NAMED} FROM rule WHERE chat_id = ? ORDER BY id", (chat_id,)).fetchall()
    )


def forget_expired(db: Database, now: int) -> None:
    """Delete expired rules."""
    db.conn.execute("DELETE FROM rule WHERE expires_at <= ?", (now,))


def last_fired(db: Database, rule_ids: Iterable[int] | None = None) -> dict[int, int]:
    """Return when each rule (of these, or all) last fired an alert that was or may still be delivered, UTC ms.

    Alerts that were given up do not count, so that they suppress no later one. Follow-ups do not count either.
    """
    only = "" if rule_ids is None else f"AND rule_id IN ({', '.join(str(int(i)) for i in rule_ids)}) "
    query = (
        "SELECT rule_id, MAX(alert.at) FROM alert JOIN message ON message.id = message_id "
        f"WHERE rule_id IS NOT NULL AND message.state <> 'dead' AND alert.begins {only}GROUP BY rule_id"
    )
    return dict(db.conn.execute(query).fetchall())


def save_states(db: Database, states: Mapping[StateKey, RuleState | None]) -> None:
    """Store states of rules; None deletes one. States of rules deleted meanwhile are dropped."""
    gone = [key for key, state in states.items() if state is None]
    kept = ((*key, json.dumps(to_row(state)), key[0]) for key, state in states.items() if state is not None)
    db.conn.executemany("DELETE FROM rule_state WHERE rule_id = ? AND cluster_id = ?", gone)
    db.conn.executemany(
        "INSERT INTO rule_state SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM rule WHERE id = ?) "
        "ON CONFLICT (rule_id, cluster_id) DO UPDATE SET state = excluded.state",
        kept,
    )


def all_states(db: Database) -> dict[StateKey, RuleState]:
    states = {}
    for rule_id, cluster_id, text in db.conn.execute("SELECT rule_id, cluster_id, state FROM rule_state").fetchall():
        try:
            states[rule_id, cluster_id] = from_row(json.loads(text))
        except (ValueError, TypeError, AttributeError) as error:
            set_aside(db, f"the state of alert #{rule_id} for {cluster_id[:40]}", error)
    return states


def forget_states(db: Database, before: int) -> None:
    """Delete states of clusters from before a time. States of metrics and market events stay."""
    db.conn.execute(
        "DELETE FROM rule_state WHERE CASE WHEN json_valid(state) THEN json_extract(state, '$.since') < ? ELSE 1 END "
        "AND cluster_id NOT LIKE '@%'",
        (before,),
    )


def forget_mutes(db: Database, before: int) -> None:
    db.conn.execute("DELETE FROM mute WHERE until < ?", (before,))


def all_mutes(db: Database) -> dict[tuple[int, str], int]:
    return {(chat, asset): until for chat, asset, until in db.conn.execute("SELECT chat_id, asset, until FROM mute")}


class RuleRepository(Repository):
    """Rules, their states, and mutes."""

    @read
    def load(self, db: Database) -> ActiveRules:
        """Return all rules of active chats, with their states, mutes and last alerts."""
        return ActiveRules(all_rules(db), all_states(db), all_mutes(db), last_fired(db))

    @write
    def replace(
        self, db: Database, chat_id: int, new: Sequence[Rule], kinds: Sequence[str], max_rules: int | None = None
    ) -> tuple[list[Rule], list[Rule]]:
        """Replace a chat's rules of those kinds and assets. Return the new rules and the old ones.

        Raises:
            InputError: when the chat would have more than max_rules.
        """
        assets = {rule.asset for rule in new}
        levels = {rule.level for rule in new}
        sides = {rule.side for rule in new} | {None}  # a rule for both sides makes way for one of a side
        mine = rules_of_chat(db, chat_id)
        old = [
            rule
            for rule in mine
            if rule.kind in kinds
            and (rule.asset in assets or None in assets)
            and (rule.kind != "price" or rule.level in levels)  # several prices are awaited side by side
            and (rule.side in sides or None in {rule.side for rule in new})
        ]
        if max_rules is not None and len(mine) - len(old) + len(new) > max_rules:
            raise InputError(
                "This chat has {count} alerts already. /alerts lists them; remove one first.",
                "/alerts",
                count=max_rules,
            )
        remove_rules(db, [rule.id for rule in old])
        return [add_in_place(db, rule, old) for rule in new], old

    @read
    def of_chat(self, db: Database, chat_id: int) -> list[Rule]:
        """Return all rules of one chat, paused or not."""
        return rules_of_chat(db, chat_id)

    @write
    def restore_replaced(self, db: Database, rule_id: int) -> list[Rule]:
        """Delete a rule and restore those it replaced, under their own ids. Return these."""
        row = db.conn.execute("SELECT replaced, chat_id FROM rule WHERE id = ?", (rule_id,)).fetchone()
        before: list[Rule] = []
        try:
            before = [Rule(**{**each, "chat_id": row[1]}) for each in json.loads(row[0] or "[]")] if row else []
        except (ValueError, TypeError) as error:
            set_aside(db, f"the rules that alert #{rule_id} replaced", error)
        remove_rules(db, [rule_id])
        back = [rule for rule in before if not rule.why_impossible()]
        taken = (
            {row[0] for row in db.conn.execute("SELECT id FROM rule WHERE chat_id = ?", (row[1],))} if row else set()
        )
        # Undoing another rule of the same command may have restored them.
        back = [rule for rule in back if rule.id not in taken]
        for rule in back:
            _insert(db, rule)
        return back

    @write
    def pause(self, db: Database, rule_id: int, *, paused: bool) -> None:
        """Pause or resume a rule."""
        db.conn.execute("UPDATE rule SET paused = ? WHERE id = ?", (int(paused), rule_id))

    @read
    def last_fired(self, db: Database, rule_ids: Iterable[int] | None = None) -> dict[int, int]:
        """Return when each rule (of these, or all) last fired an alert that was or may still be delivered, UTC ms.

        Alerts that were given up do not count, so that they suppress no later one. Follow-ups do not count either.
        """
        return last_fired(db, rule_ids)

    @write
    def remove(self, db: Database, rule_ids: Sequence[int]) -> None:
        """Delete rules; their states go with them."""
        remove_rules(db, rule_ids)

    @write
    def mute(self, db: Database, chat_id: int, asset: str, until: int) -> None:
        db.conn.execute(
            "INSERT INTO mute VALUES (?, ?, ?) ON CONFLICT (chat_id, asset) DO UPDATE SET until = excluded.until",
            (chat_id, asset, until),
        )

    @write
    def unmute(self, db: Database, chat_id: int) -> None:
        """Delete all mutes of a chat."""
        db.conn.execute("DELETE FROM mute WHERE chat_id = ?", (chat_id,))
