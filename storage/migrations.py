"""The schema, as numbered migrations recorded in the database. Never edit a released one: add another."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from engine.errors import StorageError

migrations = Migrations("cliffwatch")

_TABLES_0001 = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE bar (
        market TEXT NOT NULL, opened_at INTEGER NOT NULL, step_ms INTEGER NOT NULL,
        open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL,
        contracts REAL, contracts_high REAL, contracts_low REAL, funding_rate REAL,
        long_liquidations_usd REAL, short_liquidations_usd REAL,
        PRIMARY KEY (market, opened_at)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE liquidation (
        market TEXT NOT NULL, at INTEGER NOT NULL, side TEXT NOT NULL CHECK (side IN ('long', 'short')),
        price REAL NOT NULL, contracts REAL NOT NULL, usd REAL NOT NULL, asset TEXT NOT NULL,
        PRIMARY KEY (market, at, side, price, contracts)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX liquidation_by_asset ON liquidation (asset, at)",
    "CREATE TABLE checkpoint (asset TEXT PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL) STRICT",
    """CREATE TABLE chat (
        id INTEGER PRIMARY KEY, platform TEXT NOT NULL, remote_id TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('private', 'group', 'channel')),
        title TEXT NOT NULL DEFAULT '', approved INTEGER NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 1,
        off_reason TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL, UNIQUE (platform, remote_id)) STRICT""",
    """CREATE TABLE operator (
        platform TEXT NOT NULL, user_id TEXT NOT NULL, since INTEGER NOT NULL,
        PRIMARY KEY (platform, user_id)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE rule (
        id INTEGER PRIMARY KEY, chat_id INTEGER NOT NULL REFERENCES chat (id) ON DELETE CASCADE,
        kind TEXT NOT NULL, asset TEXT, distance REAL, size TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT""",
    "CREATE INDEX rule_by_chat ON rule (chat_id)",
    """CREATE TABLE rule_state (
        rule_id INTEGER NOT NULL REFERENCES rule (id) ON DELETE CASCADE, cluster_id TEXT NOT NULL,
        state TEXT NOT NULL, PRIMARY KEY (rule_id, cluster_id)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE mute (
        chat_id INTEGER NOT NULL REFERENCES chat (id) ON DELETE CASCADE, asset TEXT NOT NULL,
        until INTEGER NOT NULL, PRIMARY KEY (chat_id, asset)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE event (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, asset TEXT NOT NULL,
        at INTEGER NOT NULL, facts TEXT NOT NULL) STRICT""",
    """CREATE TABLE alert (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, event_id INTEGER NOT NULL REFERENCES event (id),
        rule_id INTEGER, chat_id INTEGER NOT NULL REFERENCES chat (id) ON DELETE CASCADE,
        at INTEGER NOT NULL) STRICT""",
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY, chat_id INTEGER NOT NULL REFERENCES chat (id) ON DELETE CASCADE,
        alert_id INTEGER REFERENCES alert (id) ON DELETE CASCADE, body TEXT NOT NULL, rendered TEXT,
        state TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'sending', 'sent', 'dead')),
        due INTEGER NOT NULL, expires INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        lease_until INTEGER NOT NULL DEFAULT 0, plain INTEGER NOT NULL DEFAULT 0, repeat INTEGER NOT NULL DEFAULT 0,
        nonce TEXT NOT NULL, remote_id TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
        created_at INTEGER NOT NULL, sent_at INTEGER) STRICT""",
    "CREATE INDEX message_by_state ON message (state, due)",
    "CREATE INDEX message_by_chat ON message (chat_id, id)",
)


@migrations()
def m0001_first(db: Database) -> None:
    """Create tables for market history, chats, rules and their state, events, alerts and messages."""
    for statement in _TABLES_0001:
        db.execute(statement)


_TABLES_0002 = (
    "ALTER TABLE liquidation RENAME TO liquidation_before",
    """CREATE TABLE liquidation (
        market TEXT NOT NULL, at INTEGER NOT NULL, side TEXT NOT NULL CHECK (side IN ('long', 'short')),
        price REAL NOT NULL, contracts REAL NOT NULL, number INTEGER NOT NULL, usd REAL NOT NULL, asset TEXT NOT NULL,
        PRIMARY KEY (market, at, side, price, contracts, number)) STRICT, WITHOUT ROWID""",
    """INSERT INTO liquidation (market, at, side, price, contracts, number, usd, asset)
        SELECT market, at, side, price, contracts, 0, usd, asset FROM liquidation_before""",
    "DROP TABLE liquidation_before",
    "CREATE INDEX liquidation_by_asset ON liquidation (asset, at)",
    """CREATE TABLE track_record (
        asset TEXT NOT NULL, day TEXT NOT NULL, figures TEXT NOT NULL,
        PRIMARY KEY (asset, day)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE market (
        key TEXT PRIMARY KEY, words TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE margin_tier (
        market TEXT NOT NULL, floor REAL NOT NULL, maintenance_rate REAL NOT NULL,
        maintenance_amount REAL NOT NULL, max_leverage REAL NOT NULL, read_at INTEGER NOT NULL,
        PRIMARY KEY (market, floor)) STRICT, WITHOUT ROWID""",
)


@migrations()
def m0002_venues(db: Database) -> None:
    """Number liquidation orders that are alike in all else; store markets by key, and venues' margin tiers."""
    for statement in _TABLES_0002:
        db.execute(statement)


_TABLES_0003 = (
    "ALTER TABLE rule ADD COLUMN level REAL",
    "ALTER TABLE rule ADD COLUMN every_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE rule ADD COLUMN expires_at INTEGER",
    "ALTER TABLE rule ADD COLUMN paused INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE chat ADD COLUMN timezone TEXT NOT NULL DEFAULT 'UTC'",
    "ALTER TABLE chat ADD COLUMN quiet TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE chat ADD COLUMN loud INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE chat ADD COLUMN cap INTEGER",
    "ALTER TABLE alert ADD COLUMN message_id INTEGER REFERENCES message (id) ON DELETE SET NULL",
    "CREATE INDEX message_by_alert ON message (alert_id)",
    "CREATE INDEX alert_by_event ON alert (event_id)",
    "UPDATE alert SET message_id = (SELECT id FROM message WHERE alert_id = alert.id)",
    "ALTER TABLE alert ADD COLUMN begins INTEGER NOT NULL DEFAULT 1",
    "CREATE INDEX alert_by_message ON alert (message_id)",
    "CREATE INDEX alert_by_rule ON alert (rule_id, at)",
    "CREATE INDEX alert_by_chat ON alert (chat_id, at)",
    "UPDATE message SET alert_id = NULL",
    "ALTER TABLE message ADD COLUMN held INTEGER NOT NULL DEFAULT 0",
)


@migrations()
def m0003_wishes(db: Database) -> None:
    """Add levels, repeats and ends of rules, quiet hours, time zones and caps of chats, alerts sharing a message."""
    for statement in _TABLES_0003:
        db.execute(statement)


_TABLES_0004 = (
    "ALTER TABLE message ADD COLUMN edits INTEGER REFERENCES message (id) ON DELETE CASCADE",
    "CREATE INDEX message_by_edits ON message (edits) WHERE edits IS NOT NULL",
)


@migrations()
def m0004_edits(db: Database) -> None:
    """Add messages that edit one that was sent."""
    for statement in _TABLES_0004:
        db.execute(statement)


_TABLES_0005 = (
    "ALTER TABLE rule ADD COLUMN side TEXT",
    "ALTER TABLE chat ADD COLUMN language TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE chat ADD COLUMN locale TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE chat ADD COLUMN light INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE chat ADD COLUMN role TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE chat ADD COLUMN room TEXT NOT NULL DEFAULT 'public'",
    """CREATE TABLE change (
        id INTEGER PRIMARY KEY, chat_id INTEGER NOT NULL REFERENCES chat (id) ON DELETE CASCADE,
        at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL) STRICT""",
    "CREATE INDEX change_by_chat ON change (chat_id, id)",
)


@migrations()
def m0005_chats(db: Database) -> None:
    """Add sides of rules, language, colours, role and room of chats, and the log of who changed what in them."""
    for statement in _TABLES_0005:
        db.execute(statement)


_TABLES_0006 = (
    "ALTER TABLE bar ADD COLUMN contract_size REAL",
    "UPDATE bar SET contract_size = (SELECT json_extract(words, '$.contract_size') FROM market WHERE key = bar.market)",
    # Until then Bybit's open interest counted longs and shorts.
    """UPDATE bar SET contracts = contracts / 2, contracts_high = contracts_high / 2, contracts_low = contracts_low / 2
        WHERE market LIKE 'bybit %'""",
    "DELETE FROM bar WHERE market LIKE 'gate %'",
    "DELETE FROM checkpoint",
    "ALTER TABLE chat ADD COLUMN refused_since INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE chat ADD COLUMN asked_at INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN copies INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN tried_at INTEGER",
    "CREATE INDEX message_by_due ON message (due, id) WHERE state = 'ready'",
    "CREATE INDEX message_by_lease ON message (lease_until) WHERE state = 'sending'",
    "CREATE INDEX message_by_expiry ON message (expires) WHERE state = 'ready'",
    "CREATE INDEX message_by_age ON message (created_at) WHERE state IN ('sent', 'dead')",
    "CREATE INDEX message_by_text ON message (created_at) WHERE state IN ('sent', 'dead') AND rendered IS NOT NULL",
    "CREATE INDEX alert_untold ON alert (at) WHERE message_id IS NULL",
)


@migrations()
def m0006_units(db: Database) -> None:
    """Store contract sizes with bars, count each of Bybit's contracts once, and index messages by due time.

    Gate's bars are read again, as only its own data shows whether they counted both sides. Maps are rebuilt.
    """
    for statement in _TABLES_0006:
        db.execute(statement)


@migrations()
def m0007_replaced(db: Database) -> None:
    """Add the rules that a rule replaced, as JSON, for undo, and the person whose private chat it is."""
    db.execute("ALTER TABLE rule ADD COLUMN replaced TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE chat ADD COLUMN person TEXT NOT NULL DEFAULT ''")


NAMES = (
    *("m0001_first", "m0002_venues", "m0003_wishes", "m0004_edits", "m0005_chats", "m0006_units"),
    "m0007_replaced",
)
"""All migrations of this version, in order."""


def migrate(db: Database) -> None:
    """Bring a database to the present schema.

    Raises:
        StorageError: when the database was written by a newer version.
    """
    _refuse_newer(db)
    migrations.apply(db)


def check_schema(db: Database) -> None:
    """Check that a read-only database has the present schema.

    Raises:
        StorageError: when it was written by another version.
    """
    _refuse_newer(db)
    if len(migrations.applied(db)) < len(NAMES):
        raise StorageError("the database was written by an older version; run Cliffwatch on it once")


def _refuse_newer(db: Database) -> None:
    newer = [row.name for row in migrations.applied(db) if row.name not in NAMES]
    if newer:
        raise StorageError(f"the database was written by a newer version ({newer[-1]}); update Cliffwatch")
