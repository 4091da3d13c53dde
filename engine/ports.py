"""The seams: what the engine needs from outside, and what the outside needs from it. Protocols only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rules import Rule
from engine.chats import AuditEntry, Chat, ChatKind
from engine.liquidation.margin import Tier
from engine.market import Bar, Liquidation, LiquidationSummary, Market, MarketTick, ReportedLiquidation
from engine.messages import AlertLogEntry, DeadLetter, Message, Outcome, TickRecord
from engine.preferences import Preferences


class Clock(Protocol):
    """Where the time comes from. speed is how many of its seconds pass in one of the machine's."""

    @property
    def speed(self) -> float: ...

    def now(self) -> int:
        """UTC epoch milliseconds."""
        ...


class Feed(Protocol):
    """A market: live venues, the loopback exchange through ccxt, or a recorded file."""

    def ticks(self) -> AsyncIterator[MarketTick]:
        """Ticks in order of time, until the feed ends."""
        ...

    def clock_set_back(self, now: int) -> None:
        """The clock shows an earlier time than before: what is known of later ones is of no time."""
        ...


class TickStore(Protocol):
    """Where ticks go."""

    async def commit(self, record: TickRecord) -> None:
        """Store all of a tick or nothing of it.

        Raises:
            StorageError: when it could not; the process must then end and start again from what is stored.
        """
        ...


class MarketStore(Protocol):
    """Bars, liquidations and margin tiers."""

    async def add_bars(self, bars: Sequence[tuple[Market, Bar]]) -> None:
        """Store closed bars. Existing ones stay unchanged."""
        ...

    async def bars_since(self, market: Market, closed_after: int) -> list[Bar]:
        """Return bars of a market that closed after a time, oldest first, in contracts of its present size."""
        ...

    async def add_liquidations(self, events: Sequence[Liquidation]) -> list[Liquidation]:
        """Store liquidation orders once, however often a feed repeats them. Return the new ones."""
        ...

    async def save_markets(self, markets: Iterable[Market]) -> None:
        """Store what markets' keys mean."""
        ...

    async def save_tiers(self, market: Market, tiers: Sequence[Tier], at: int) -> None:
        """Replace a market's margin tiers, read from its venue at a time, UTC ms."""
        ...

    async def tiers_of(self, market: str) -> tuple[int, list[Tier]]:
        """Return when a market's margin tiers were read, UTC ms, and the tiers, lowest first; 0 and none before."""
        ...

    async def priced_until(self) -> dict[str, int]:
        """Return until when each asset's price had been followed, UTC ms, as of the last stored tick."""
        ...


class MarketHistory(MarketStore, Protocol):
    """The same, with what answers and starts ask for."""

    async def markets(self) -> list[Market]:
        """Return all markets that were ever read."""
        ...

    async def liquidations_of(self, market: Market) -> list[Liquidation]:
        """Return the single liquidation orders of a market, oldest first."""
        ...

    async def reported_since(self, asset: str, since: int) -> list[ReportedLiquidation]:
        """Return reported liquidations of an asset since then, oldest first."""
        ...

    async def liquidations_since(self, asset: str, since: int) -> LiquidationSummary:
        """Return totals of an asset's liquidations since then."""
        ...

    async def stale_since(self) -> dict[str, int]:
        """Return the assets whose chats were notified of stale data, with the time of the last data, UTC ms."""
        ...


class CheckpointStore(Protocol):
    """Boards as of their last checkpoint."""

    async def save(self, states: Mapping[str, tuple[int, dict[str, Any]]]) -> None:
        """Store boards' snapshots by asset, each with its time, and delete data that is no longer needed."""
        ...

    async def load(self, asset: str) -> dict[str, Any] | None:
        """Return a board's last snapshot, or None."""
        ...

    async def delete(self, asset: str) -> None:
        """Delete an asset's checkpoint and times, so that its return does not look like a long outage."""
        ...


class TrackStore(Protocol):
    """Track records, one a day."""

    async def save(self, asset: str, day: str, figures: dict[str, Any]) -> None:
        """Store an asset's track record of a day."""
        ...

    async def all(self, asset: str) -> list[dict[str, Any]]:
        """Return an asset's track records, oldest first."""
        ...


class RuleStore(Protocol):
    """Rules, their states, and mutes."""

    async def load(self) -> ActiveRules:
        """Return all rules of active chats, with their states, mutes and last alerts."""
        ...

    async def replace(
        self, chat_id: int, new: Sequence[Rule], kinds: Sequence[str], max_rules: int | None = None
    ) -> tuple[list[Rule], list[Rule]]:
        """Replace a chat's rules of those kinds and assets. Return the new rules with their ids, and the old ones.

        Raises:
            InputError: when the chat would have more than max_rules.
        """
        ...

    async def restore_replaced(self, rule_id: int) -> list[Rule]:
        """Delete a rule and restore those it replaced. Return these."""
        ...

    async def pause(self, rule_id: int, *, paused: bool) -> None:
        """Pause or resume a rule."""
        ...

    async def last_fired(self, rule_ids: Iterable[int] | None = None) -> dict[int, int]:
        """Return when each rule (of these, or all) last fired an alert that was or may still be delivered, UTC ms."""
        ...

    async def remove(self, rule_ids: Sequence[int]) -> None:
        """Delete rules; their states go with them."""
        ...

    async def of_chat(self, chat_id: int) -> list[Rule]:
        """Return all rules of one chat, paused or not."""
        ...

    async def mute(self, chat_id: int, asset: str, until: int) -> None:
        """Mute an asset (`*` for all) in a chat until then, UTC ms."""
        ...

    async def unmute(self, chat_id: int) -> None:
        """Delete all mutes of a chat."""
        ...


class ChatStore(Protocol):
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
        """Return the chat with that id, created if it is new.

        Args:
            locale: of the user or chat on the platform, empty if unknown; the last one is kept.
            parent: remote id of the group that a topic belongs to: a topic of an approved group is approved.
            person: of a private chat the platform's id of its user, where the chat's own id does not say.
        """
        ...

    async def find(self, platform: str, remote_id: str) -> Chat | None: ...

    async def all(self, platform: str | None = None) -> list[Chat]:
        """Return all chats, or those of one platform, oldest first."""
        ...

    async def get(self, chat_id: int) -> Chat | None:
        """Return the chat with that id of ours."""
        ...

    async def mark_refused(self, chat_id: int) -> tuple[int, bool]:
        """Note that the platform refuses messages to a chat. Return since when, UTC ms, and whether that is new."""
        ...

    async def mark_reachable(self, chat_id: int) -> None:
        """Note that messages to a chat are accepted."""
        ...

    async def approve(self, chat_id: int, *, approved: bool) -> None:
        """Approve a chat, or refuse it."""
        ...

    async def set_active(self, chat_id: int, *, active: bool, reason: str = "") -> None:
        """Switch a chat off, keeping its rules, or on again."""
        ...

    async def save_preferences(self, chat_id: int, preferences: Preferences) -> None: ...

    async def log_change(self, chat_id: int, who: str, what: str) -> None:
        """Log that a user changed something in a chat."""
        ...

    async def changes(self, chat_id: int, count: int) -> list[AuditEntry]:
        """Return a chat's last changes, newest first."""
        ...

    async def export(self, chat_id: int) -> dict[str, Any]:
        """Return everything stored about a chat, by table, JSON values."""
        ...

    async def delete(self, chat_id: int) -> int:
        """Delete everything stored about a chat but its id and whether it is approved. Return how many rows."""
        ...

    async def move(self, chat_id: int, remote_id: str) -> None:
        """Give a chat a new id on its platform, merging it with a chat that has it."""
        ...

    async def waiting_for_approval(self, count: int) -> list[Chat]:
        """Return chats that asked for access and are not approved, the latest request first."""
        ...

    async def note_asked(self, chat_id: int) -> None:
        """Note that access was requested in a chat that is not approved."""
        ...


class OperatorStore(Protocol):
    """Who runs this bot, beside those in the settings."""

    async def all(self) -> set[tuple[str, str]]:
        """Return platform and user id of every operator."""
        ...

    async def add(self, platform: str, user_id: str) -> None: ...

    async def claim(self, code: str, platform: str, user_id: str) -> bool:
        """Make a user operator if they gave the claim code; it is deleted. Return whether they did."""
        ...

    async def remove(self, platform: str, user_id: str, *, may_be_last: bool) -> bool:
        """Remove an operator, unless none would be left. Return whether that was done."""
        ...


class MetaStore(Protocol):
    """Single values of the installation, by key."""

    async def get(self, key: str) -> str | None: ...

    async def set(self, key: str, value: str | None) -> None:
        """Store a value; None deletes it."""
        ...


class AlertLog(Protocol):
    """Alerts that have been made."""

    async def recent(self, chat_id: int, count: int) -> list[AlertLogEntry]:
        """Return a chat's last alerts, newest first."""
        ...

    async def rules_of_message(self, message_id: int) -> list[int]:
        """Return the ids of the rules whose alerts a message delivers."""
        ...


class Outbox(Protocol):
    """Messages until they are sent or given up. Times are the machine's."""

    async def add_message(self, chat_id: int, body: dict[str, Any]) -> None:
        """Store a message that is no alert, unless one of its kind waits already."""
        ...

    async def recover_leases(self, platform: str) -> int:
        """After a start, requeue what was being sent as possible repeats. Return how many."""
        ...

    async def expire(self, platform: str) -> list[int]:
        """Give up messages that are no longer worth sending. Return their ids."""
        ...

    async def claim(self, platform: str, lease_ms: int, busy: Iterable[int] = ()) -> Message | None:
        """Lease the message that has been due longest, of a chat that is not busy. Return it, or None."""
        ...

    async def keep_rendered(self, message_id: int, rendered: dict[str, Any]) -> None:
        """Store what a message was rendered to, before it is sent."""
        ...

    async def mark_sent(self, message_id: int, remote_id: str) -> None:
        """Note that the platform confirmed a message."""
        ...

    async def put_back(
        self, message_id: int, due: int, error: str, *, plain: bool = False, repeat: bool = False, copy: bool = False
    ) -> None:
        """Requeue a message, due then. copy: one more copy may have arrived."""
        ...

    async def mark_perhaps(self, message_id: int) -> None:
        """Count a message as sent although the platform never confirmed it: no more copies are risked."""
        ...

    async def revive(self, message_ids: Sequence[int]) -> int:
        """Requeue messages that were given up by mistake. Return how many."""
        ...

    async def give_up(self, message_id: int, error: str) -> None:
        """Make a message a dead letter."""
        ...

    async def clock_set_back(self, back_ms: int) -> int:
        """Bring messages forward that were made or postponed by a clock that was ahead. Return how many."""
        ...

    async def counts(self) -> dict[str, int]:
        """Return how many messages are in each state."""
        ...

    async def oldest_due(self) -> int:
        """Return since when the message that waits longest has been due, UTC ms; 0 where none does."""
        ...

    async def dead_since(self, at: int) -> int:
        """Return how many messages created since then were given up."""
        ...

    async def dead_letters(self, count: int) -> list[DeadLetter]:
        """Return the last messages that were given up, newest first."""
        ...

    async def resend(self, message_ids: Sequence[int]) -> int:
        """Requeue dead messages and render them again. Return how many."""
        ...


class Store(TickStore, Protocol):
    """Everything that outlives a restart."""

    @property
    def rules(self) -> RuleStore: ...

    @property
    def chats(self) -> ChatStore: ...

    @property
    def operators(self) -> OperatorStore: ...

    @property
    def meta(self) -> MetaStore: ...

    @property
    def alerts(self) -> AlertLog: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def market(self) -> MarketHistory: ...

    @property
    def checkpoints(self) -> CheckpointStore: ...

    @property
    def track_records(self) -> TrackStore: ...

    @property
    def set_aside(self) -> Mapping[str, str]:
        """Rows that could not be read or written since the start, with why."""
        ...

    @property
    def trouble(self) -> str:
        """The problem with the database as a whole; empty if there is none."""
        ...

    @property
    def lost(self) -> str:
        """Why the path no longer names the open file; empty while it does."""
        ...

    async def rescue(self, at: str) -> Path | None:
        """Copy the open database to a file beside the path that no longer names it. Return it, None if in memory."""
        ...


class Sender(Protocol):
    """One platform's way of showing an answer and of handing a message over."""

    @property
    def platform(self) -> str: ...

    async def send(self, message: Message) -> Outcome:
        """Hand over one rendered message. Never raises for what a platform may answer."""
        ...
