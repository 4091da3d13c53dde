"""The store that the program uses: one asynchronous method per operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database as Utils

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rules import Rule
from engine.chats import CLAIM_CODE, AuditEntry, Chat, ChatKind
from engine.errors import InputError
from engine.liquidation.margin import Tier
from engine.market import DAY_MS, Bar, Liquidation, LiquidationSummary, Market, ReportedLiquidation
from engine.messages import AlertLogEntry, DeadLetter, Message, TickRecord
from engine.ports import Clock
from engine.preferences import Preferences
from storage import alerts, chats, market, outbox, rules
from storage.database import Database

T = TypeVar("T")

PRICED_UNTIL = "priced_until "
STALE_SINCE = "stale_since "
KEEP_STATES_MS = 14 * DAY_MS
KEEP_MARKET_MS = 40 * DAY_MS
KEEP_SENT_MS = 90 * DAY_MS
KEEP_STRANGERS_MS = 7 * DAY_MS
KEEP_TEXT_MS = 7 * DAY_MS
MAX_SLICES = 40
"""Slices per round of housekeeping. The next hour's round does the remainder."""


class Store:
    """Everything that outlives a restart. wall is the machine's clock: it times deliveries, not the market.

    reading: read-only, so that the database of a running process can be opened. new: create a new database even where
    there has been one that is gone.
    """

    def __init__(self, path: Path | None, wall: Clock, *, reading: bool = False, new: bool = False) -> None:
        self._db = Database(path, reading=reading, new=new)
        self._wall = wall

    @property
    def set_aside(self) -> Mapping[str, str]:
        """Rows that could not be read or written since the start, with why."""
        return self._db.aside.rows

    @property
    def trouble(self) -> str:
        """The problem with the database as a whole; empty if there is none."""
        return self._db.lost or ("another program has it locked" if self._db.waiting else "")

    @property
    def lost(self) -> str:
        """Why the path no longer names the open file; empty while it does."""
        return self._db.lost

    async def rescue(self, at: str) -> Path | None:
        """Copy the open database to a file beside the path that no longer names it. Return it, None if in memory."""
        return await self._db.rescue(at)

    async def open(self) -> None:
        """Open and migrate.

        Raises:
            StorageError: when the database is in use, newer, or broken.
        """
        await self._db.open()

    async def close(self) -> None:
        await self._db.close()

    # -- ticks

    async def commit(self, record: TickRecord) -> None:
        """Store all of a tick in one transaction: states, events, alerts, messages."""
        wall = self._wall.now()

        def work(db: Utils) -> None:
            rules.save_states(db, record.states)
            alerts.add_alerts(db, record.alerts, wall)
            alerts.change_alerts(db, record.changes, wall)
            for asset, at in record.priced.items():
                chats.set_meta(db, PRICED_UNTIL + asset, str(at))
            for asset, since in record.stale.items():
                chats.set_meta(db, STALE_SINCE + asset, None if since is None else str(since))

        await self._db.write(work)

    async def priced_until(self) -> dict[str, int]:
        """Return until when each asset's price had been followed, UTC ms, as of the last stored tick."""
        return await self._times(PRICED_UNTIL)

    async def stale_since(self) -> dict[str, int]:
        return await self._times(STALE_SINCE)

    async def _times(self, prefix: str) -> dict[str, int]:
        rows = await self._db.read(lambda db: chats.meta_with(db, prefix))
        latest = self._wall.now() + DAY_MS
        # Ignore times that are not valid, or were stored by a clock over a day ahead.
        return {asset: int(at) for asset, at in rows.items() if at.isdecimal() and len(at) < 16 and int(at) <= latest}

    # -- market

    async def add_bars(self, bars: Sequence[tuple[Market, Bar]]) -> None:
        if bars:
            await self._db.write(lambda db: market.add_bars(db, bars))

    async def bars_since(self, of: Market, closed_after: int) -> list[Bar]:
        return await self._db.read(lambda db: market.bars_since(db, of, closed_after))

    async def add_liquidations(self, events: Sequence[Liquidation]) -> list[Liquidation]:
        """Store liquidation orders. Return the new ones."""
        return await self._db.write(lambda db: market.add_liquidations(db, events)) if events else []

    async def reported_since(self, asset: str, since: int) -> list[ReportedLiquidation]:
        """Return reported liquidations of an asset since then."""
        return await self._db.read(lambda db: market.reported_since(db, asset, since))

    async def liquidations_since(self, asset: str, since: int) -> LiquidationSummary:
        return await self._db.read(lambda db: market.liquidations_since(db, asset, since))

    async def save_track_record(self, asset: str, day: str, figures: dict[str, Any]) -> None:
        await self._db.write(lambda db: market.save_track_record(db, asset, day, figures))

    async def track_records(self, asset: str) -> list[dict[str, Any]]:
        """Return an asset's track records, one a day, oldest first."""
        return await self._db.read(lambda db: market.track_records(db, asset))

    async def save_markets(self, of: Sequence[Market]) -> None:
        await self._db.write(lambda db: market.save_markets(db, of))

    async def markets(self) -> list[Market]:
        """Return all markets that were ever read."""
        return await self._db.read(market.markets)

    async def liquidations_of(self, of: Market) -> list[Liquidation]:
        """Return the single liquidation orders of a market, oldest first."""
        return await self._db.read(lambda db: market.liquidations_of(db, of))

    async def save_tiers(self, of: Market, tiers: Sequence[Tier], at: int) -> None:
        await self._db.write(lambda db: market.save_tiers(db, of, tiers, at))

    async def tiers_of(self, of: str) -> tuple[int, list[Tier]]:
        return await self._db.read(lambda db: market.tiers_of(db, of))

    async def save_checkpoints(self, states: Mapping[str, tuple[int, dict[str, Any]]]) -> None:
        """Store boards' snapshots, and delete data that is no longer needed."""
        now = max((at for at, _ in states.values()), default=0)
        wall = self._wall.now()

        def work(db: Utils) -> None:
            for asset, (at, state) in states.items():
                market.save_checkpoint(db, asset, at, state)
            rules.forget_states(db, now - KEEP_STATES_MS)
            rules.forget_mutes(db, now)
            rules.forget_expired(db, now)
            market.forget_before(db, now - KEEP_MARKET_MS)
            market.forget_after(db, now + 2 * DAY_MS)
            chats.forget_strangers(db, wall - KEEP_STRANGERS_MS)

        await self._db.write(work)
        await self.tidy(wall)

    async def tidy(self, wall: int) -> None:
        """Delete old texts and messages slice by slice, so that ticks need not wait, and truncate the log."""
        for _ in range(MAX_SLICES):
            if not await self._db.write(lambda db: outbox.thin_out(db, wall - KEEP_TEXT_MS)):
                break
        for _ in range(MAX_SLICES):
            if not await self._db.write(lambda db: outbox.forget_sent(db, wall - KEEP_SENT_MS)):
                break
        await self._db.tidy()

    async def load_checkpoint(self, asset: str) -> dict[str, Any] | None:
        return await self._db.read(lambda db: market.load_checkpoint(db, asset))

    async def forget_asset(self, asset: str) -> None:
        """Delete an asset's checkpoint and times, so that its return does not look like a long outage."""

        def work(db: Utils) -> None:
            market.forget_checkpoint(db, asset)
            for prefix in (PRICED_UNTIL, STALE_SINCE):
                chats.set_meta(db, prefix + asset, None)

        await self._db.write(work)

    # -- rules

    async def load_book(self) -> ActiveRules:
        """Return all rules with their states, mutes and last alerts."""

        def work(db: Utils) -> ActiveRules:
            return ActiveRules(rules.all_rules(db), rules.all_states(db), rules.all_mutes(db), rules.last_fired(db))

        return await self._db.read(work)

    async def replace_rules(
        self, chat_id: int, new: Sequence[Rule], kinds: Sequence[str], most: int | None = None
    ) -> tuple[list[Rule], list[Rule]]:
        """Replace a chat's rules of those kinds and assets. Return the new rules and the replaced ones."""

        def work(db: Utils) -> tuple[list[Rule], list[Rule]]:
            assets = {rule.asset for rule in new}
            levels = {rule.level for rule in new}
            sides = {rule.side for rule in new} | {None}  # a rule for one side replaces one for both
            mine = rules.rules_of_chat(db, chat_id)
            gone = [
                rule
                for rule in mine
                if rule.kind in kinds
                and (rule.asset in assets or None in assets)
                and (rule.kind != "price" or rule.level in levels)  # a chat may have rules for several prices
                and (rule.side in sides or None in {each.side for each in new})
            ]
            if most is not None and len(mine) - len(gone) + len(new) > most:
                raise InputError(
                    "This chat has {count} alerts already. /alerts lists them; remove one first.", "/alerts", count=most
                )
            rules.remove_rules(db, [rule.id for rule in gone])
            return [rules.add_in_place(db, rule, gone) for rule in new], gone

        return await self._db.write(work)

    async def restore_replaced(self, rule_id: int) -> list[Rule]:
        return await self._db.write(lambda db: rules.restore_replaced(db, rule_id))

    async def pause_rule(self, rule_id: int, *, paused: bool) -> None:
        await self._db.write(lambda db: rules.pause_rule(db, rule_id, paused=paused))

    async def last_fired(self, rule_ids: Sequence[int]) -> dict[int, int]:
        return await self._db.read(lambda db: rules.last_fired(db, rule_ids))

    async def remove_rules(self, rule_ids: Sequence[int]) -> None:
        await self._db.write(lambda db: rules.remove_rules(db, list(rule_ids)))

    async def rules_of_chat(self, chat_id: int) -> list[Rule]:
        return await self._db.read(lambda db: rules.rules_of_chat(db, chat_id))

    async def unmute(self, chat_id: int) -> None:
        await self._db.write(lambda db: rules.unmute(db, chat_id))

    async def mute(self, chat_id: int, asset: str, until: int) -> None:
        await self._db.write(lambda db: rules.save_mute(db, chat_id, asset, until))

    # -- chats

    async def upsert_chat(
        self,
        platform: str,
        remote_id: str,
        kind: ChatKind,
        title: str,
        locale: str = "",
        parent: str = "",
        person: str = "",
    ) -> Chat:
        """Return the chat with that id, created if it is new."""
        title = "".join(c for c in title if c.isprintable())[:200]
        existing = await self._db.read(lambda db: chats.find_chat(db, platform, remote_id))
        if existing is not None:
            wanted = (title or existing.title, kind, locale or existing.preferences.locale, person or existing.person)
            if (existing.title, existing.kind, existing.preferences.locale, existing.person) == wanted:
                return existing
        now = self._wall.now()
        return await self._db.write(
            lambda db: chats.upsert_chat(db, platform, remote_id, kind, title, now, locale, parent, person)
        )

    async def find_chat(self, platform: str, remote_id: str) -> Chat | None:
        return await self._db.read(lambda db: chats.find_chat(db, platform, remote_id))

    async def chats(self, platform: str | None = None) -> list[Chat]:
        return await self._db.read(lambda db: chats.chats(db, platform))

    async def chat(self, chat_id: int) -> Chat | None:
        return await self._db.read(lambda db: chats.chat_by_id(db, chat_id))

    async def chat_refused(self, chat_id: int) -> tuple[int, bool]:
        now = self._wall.now()
        return await self._db.write(lambda db: chats.refused(db, chat_id, now))

    async def chat_answered(self, chat_id: int) -> None:
        await self._db.write(lambda db: chats.answered(db, chat_id))

    async def approve_chat(self, chat_id: int, *, approved: bool) -> None:
        await self._db.write(lambda db: chats.approve_chat(db, chat_id, approved=approved))

    async def set_chat_active(self, chat_id: int, *, active: bool, reason: str = "") -> None:
        await self._db.write(lambda db: chats.set_chat_active(db, chat_id, active=active, reason=reason))

    async def save_preferences(self, chat_id: int, preferences: Preferences) -> None:
        await self._db.write(lambda db: chats.save_preferences(db, chat_id, preferences))

    async def log_change(self, chat_id: int, who: str, what: str) -> None:
        now = self._wall.now()
        await self._db.write(lambda db: chats.log_change(db, chat_id, who, what, now))

    async def changes(self, chat_id: int, count: int) -> list[AuditEntry]:
        return await self._db.read(lambda db: chats.changes(db, chat_id, count))

    async def export_chat(self, chat_id: int) -> dict[str, Any]:
        return await self._db.read(lambda db: chats.export_chat(db, chat_id))

    async def forget_chat(self, chat_id: int) -> int:
        return await self._db.write(lambda db: chats.forget_chat(db, chat_id))

    async def move_chat(self, chat_id: int, remote_id: str) -> None:
        await self._db.write(lambda db: chats.move_chat(db, chat_id, remote_id))

    async def operators(self) -> set[tuple[str, str]]:
        return await self._db.read(chats.operators)

    async def add_operator(self, platform: str, user_id: str) -> None:
        now = self._wall.now()
        await self._db.write(lambda db: chats.add_operator(db, platform, user_id, now))

    async def claim_operator(self, code: str, platform: str, user_id: str) -> bool:
        now = self._wall.now()
        return await self._db.write(lambda db: chats.claim_operator(db, code, CLAIM_CODE, platform, user_id, now))

    async def remove_operator(self, platform: str, user_id: str, *, may_be_last: bool) -> bool:
        return await self._db.write(lambda db: chats.remove_operator(db, platform, user_id, may_be_last=may_be_last))

    async def chats_that_asked(self, count: int) -> list[Chat]:
        return await self._db.read(lambda db: chats.chats_that_asked(db, count))

    async def note_asked(self, chat_id: int) -> None:
        now = self._wall.now()
        await self._db.write(lambda db: chats.note_asked(db, chat_id, now))

    async def get_meta(self, key: str) -> str | None:
        return await self._db.read(lambda db: chats.get_meta(db, key))

    async def set_meta(self, key: str, value: str | None) -> None:
        await self._db.write(lambda db: chats.set_meta(db, key, value))

    # -- outbox

    async def add_message(self, chat_id: int, body: dict[str, Any]) -> None:
        """Store a message that is not an alert, such as a test alert."""
        now = self._wall.now()
        await self._db.write(lambda db: outbox.add_message(db, chat_id, body, now))

    async def recover_leases(self, platform: str) -> int:
        """Requeue messages that were being sent when the process ended. Return how many."""
        return await self._db.write(lambda db: outbox.recover_leases(db, platform))

    async def expire(self, platform: str) -> list[int]:
        """Give up messages that have expired. Return their ids."""
        now = self._wall.now()
        return await self._db.write(lambda db: outbox.expire(db, platform, now))

    async def claim(self, platform: str, lease_ms: int, busy: Iterable[int]) -> Message | None:
        """Lease and return the oldest due message of a chat that is not busy, or None."""
        now = self._wall.now()
        return await self._db.write(lambda db: outbox.claim(db, platform, now, lease_ms, tuple(busy)))

    async def keep_rendered(self, message_id: int, rendered: dict[str, Any]) -> None:
        await self._db.write(lambda db: outbox.keep_rendered(db, message_id, rendered))

    async def mark_sent(self, message_id: int, remote_id: str) -> None:
        now = self._wall.now()
        await self._db.write(lambda db: outbox.mark_sent(db, message_id, remote_id, now))

    async def put_back(
        self, message_id: int, due: int, error: str, *, plain: bool = False, repeat: bool = False, copy: bool = False
    ) -> None:
        await self._db.write(
            lambda db: outbox.put_back(db, message_id, due, error, plain=plain, repeat=repeat, copy=copy)
        )

    async def mark_perhaps(self, message_id: int) -> None:
        now = self._wall.now()
        await self._db.write(lambda db: outbox.mark_perhaps(db, message_id, now))

    async def revive(self, message_ids: Sequence[int]) -> int:
        now = self._wall.now()
        return await self._db.write(lambda db: outbox.revive(db, message_ids, now))

    async def give_up(self, message_id: int, error: str) -> None:
        await self._db.write(lambda db: outbox.give_up(db, message_id, error))

    async def clock_set_back(self, back_ms: int) -> int:
        """Correct messages that were created or postponed by a clock that was ahead. Return how many."""
        now = self._wall.now()
        return await self._db.write(lambda db: outbox.clock_set_back(db, now, back_ms))

    async def rules_of_message(self, message_id: int) -> list[int]:
        return await self._db.read(lambda db: alerts.rules_of_message(db, message_id))

    async def dead_letters(self, count: int) -> list[DeadLetter]:
        return await self._db.read(lambda db: outbox.dead_letters(db, count))

    async def recent_alerts(self, chat_id: int, count: int) -> list[AlertLogEntry]:
        return await self._db.read(lambda db: alerts.recent_alerts(db, chat_id, count))

    async def resend(self, message_ids: Sequence[int]) -> int:
        now = self._wall.now()
        return await self._db.write(lambda db: outbox.resend(db, message_ids, now))

    async def oldest_due(self) -> int:
        now = self._wall.now()
        return await self._db.read(lambda db: outbox.oldest_due(db, now))

    async def dead_since(self, at: int) -> int:
        return await self._db.read(lambda db: outbox.dead_since(db, at))

    async def counts(self) -> dict[str, int]:
        """Return the number of messages by state."""
        return await self._db.read(outbox.counts)
