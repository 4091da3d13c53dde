"""The seams: what the engine needs from outside, and what the outside needs from it. Protocols only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

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
    """Where bars, forced orders and checkpoints are kept."""

    async def add_bars(self, bars: Sequence[tuple[Market, Bar]]) -> None: ...

    async def bars_since(self, of: Market, closed_after: int) -> list[Bar]: ...

    async def add_liquidations(self, events: Sequence[Liquidation]) -> list[Liquidation]:
        """Store forced orders once; those that were new."""
        ...

    async def reported_since(self, asset: str, since: int) -> list[ReportedLiquidation]: ...

    async def save_markets(self, of: Sequence[Market]) -> None:
        """Remember what markets' keys stand for."""
        ...

    async def save_tiers(self, of: Market, tiers: Sequence[Tier], at: int) -> None:
        """Keep a market's margin tiers as its venue said them, in place of those before."""
        ...

    async def tiers_of(self, market: str) -> tuple[int, list[Tier]]:
        """When a market's margin tiers were read, and they, lowest first; 0 and none where they were not."""
        ...

    async def save_checkpoints(self, states: Mapping[str, tuple[int, dict[str, Any]]]) -> None: ...

    async def load_checkpoint(self, asset: str) -> dict[str, Any] | None: ...

    async def priced_until(self) -> dict[str, int]:
        """Until when each asset's price had been followed when a tick was last stored."""
        ...

    async def stale_since(self) -> dict[str, int]:
        """Assets that people were told have no fresh figures, with the time of the last ones."""
        ...


class TrackStore(Protocol):
    """Where track records are kept, one a day."""

    async def save_track_record(self, asset: str, day: str, figures: dict[str, Any]) -> None: ...

    async def track_records(self, asset: str) -> list[dict[str, Any]]: ...


class RuleStore(Protocol):
    """Where wishes are kept."""

    async def replace_rules(
        self, chat_id: int, new: Sequence[Rule], kinds: Sequence[str], most: int | None = None
    ) -> tuple[list[Rule], list[Rule]]:
        """Put rules in the place of a chat's of those kinds; the new ones with their ids, and those that went.

        Raises:
            InputError: when the chat would have more than most.
        """
        ...

    async def restore_replaced(self, rule_id: int) -> list[Rule]:
        """Take a rule away and put back those in whose place it came; return them."""
        ...

    async def pause_rule(self, rule_id: int, *, paused: bool) -> None: ...

    async def last_fired(self, rule_ids: Sequence[int]) -> dict[int, int]:
        """When each of these rules last made an alert that was delivered or still may be."""
        ...

    async def remove_rules(self, rule_ids: Sequence[int]) -> None: ...

    async def rules_of_chat(self, chat_id: int) -> list[Rule]: ...

    async def mute(self, chat_id: int, asset: str, until: int) -> None: ...

    async def unmute(self, chat_id: int) -> None: ...


class ChatStore(Protocol):
    """Where chats, operators and small facts of the installation are kept."""

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
        """The chat with that id, made if it is new.

        Args:
            person: of a private chat the platform's id of whose it is, where its own id does not say.
            locale: the platform's for it, empty where that is not said; the last one is kept.
            parent: remote id of the group that a topic is of: what was let in there is let in here.
        """
        ...

    async def find_chat(self, platform: str, remote_id: str) -> Chat | None: ...

    async def chats(self, platform: str | None = None) -> list[Chat]: ...

    async def chat(self, chat_id: int) -> Chat | None:
        """The chat with that number of ours."""
        ...

    async def chat_refused(self, chat_id: int) -> tuple[int, bool]:
        """A platform will not have us write to a chat now: since when, UTC ms, and whether that is new."""
        ...

    async def chat_answered(self, chat_id: int) -> None:
        """A chat can be written to: whatever was refused before is over."""
        ...

    async def approve_chat(self, chat_id: int, *, approved: bool) -> None: ...

    async def set_chat_active(self, chat_id: int, *, active: bool, reason: str = "") -> None: ...

    async def save_preferences(self, chat_id: int, preferences: Preferences) -> None: ...

    async def log_change(self, chat_id: int, who: str, what: str) -> None:
        """Remember that somebody changed something in a chat."""
        ...

    async def changes(self, chat_id: int, count: int) -> list[AuditEntry]:
        """What was changed in a chat last, newest first."""
        ...

    async def export_chat(self, chat_id: int) -> dict[str, Any]:
        """All that is kept of a chat, JSON values."""
        ...

    async def forget_chat(self, chat_id: int) -> int:
        """Delete all that is kept of a chat but its name and whether it was let in; how many rows."""
        ...

    async def move_chat(self, chat_id: int, remote_id: str) -> None: ...

    async def operators(self) -> set[tuple[str, str]]: ...

    async def add_operator(self, platform: str, user_id: str) -> None: ...

    async def claim_operator(self, code: str, platform: str, user_id: str) -> bool:
        """Make somebody the operator who gave the code, which is spent; whether it was that."""
        ...

    async def remove_operator(self, platform: str, user_id: str, *, may_be_last: bool) -> bool:
        """Take somebody off the operators, unless none would be left; return whether that was done."""
        ...

    async def chats_that_asked(self, count: int) -> list[Chat]:
        """Return chats that were not let in and asked for something, the last to ask first."""
        ...

    async def note_asked(self, chat_id: int) -> None:
        """Remember that somebody asked for something in a chat that was not let in."""
        ...

    async def get_meta(self, key: str) -> str | None: ...

    async def set_meta(self, key: str, value: str | None) -> None: ...


class Outbox(Protocol):
    """Messages on their way out. Times are the machine's."""

    async def add_message(self, chat_id: int, body: dict[str, Any]) -> None: ...

    async def recover_leases(self, platform: str) -> int: ...

    async def expire(self, platform: str) -> list[int]:
        """Give up what is not worth sending any more; the messages' ids."""
        ...

    async def claim(self, platform: str, lease_ms: int, busy: Iterable[int]) -> Message | None: ...

    async def keep_rendered(self, message_id: int, rendered: dict[str, Any]) -> None: ...

    async def mark_sent(self, message_id: int, remote_id: str) -> None: ...

    async def put_back(
        self, message_id: int, due: int, error: str, *, plain: bool = False, repeat: bool = False, copy: bool = False
    ) -> None:
        """It goes out again, not before due. copy: it may have arrived once more."""
        ...

    async def mark_perhaps(self, message_id: int) -> None:
        """It may have arrived, as often as it may: it is not sent again, and counts as told."""
        ...

    async def revive(self, message_ids: Sequence[int]) -> int:
        """Let messages go on that were given up for a reason that was none; how many."""
        ...

    async def give_up(self, message_id: int, error: str) -> None: ...

    async def clock_set_back(self, back_ms: int) -> int:
        """The machine's clock was ahead by so much and has been put right: bring messages back; how many."""
        ...

    async def counts(self) -> dict[str, int]: ...

    async def oldest_due(self) -> int:
        """Since when the message has been due that waits longest, UTC ms; 0 where none does."""
        ...

    async def dead_since(self, at: int) -> int:
        """How many messages made since then were given up."""
        ...

    async def rules_of_message(self, message_id: int) -> list[int]:
        """The rules whose alerts a message tells."""
        ...

    async def dead_letters(self, count: int) -> list[DeadLetter]:
        """The last messages that were given up, newest first."""
        ...

    async def recent_alerts(self, chat_id: int, count: int) -> list[AlertLogEntry]:
        """A chat's last alerts, newest first."""
        ...

    async def resend(self, message_ids: Sequence[int]) -> int:
        """Let messages that were given up go out again; how many."""
        ...


class Store(TickStore, TrackStore, RuleStore, ChatStore, Outbox, Protocol):
    """All that commands and delivery need to outlive a restart."""

    @property
    def set_aside(self) -> Mapping[str, str]:
        """Rows that could not be read or written since the start, with why."""
        ...

    @property
    def trouble(self) -> str:
        """What is wrong with the database as a whole, empty where nothing is."""
        ...

    @property
    def lost(self) -> str:
        """Why what is open is not what its path names any more, empty while it is."""
        ...

    async def rescue(self, at: str) -> Path | None:
        """Write what is open beside the path that no longer names it."""
        ...

    async def liquidations_since(self, asset: str, since: int) -> LiquidationSummary:
        """What feeds reported as forced out of an asset since then."""
        ...

    async def tiers_of(self, market: str) -> tuple[int, list[Tier]]:
        """When a market's margin tiers were read, and they, lowest first; 0 and none where they were not."""
        ...


class Sender(Protocol):
    """One platform's way of showing an answer and of handing a message over."""

    @property
    def platform(self) -> str: ...

    async def send(self, message: Message) -> Outcome:
        """Hand over one rendered message. Never raises for what a platform may answer."""
        ...
