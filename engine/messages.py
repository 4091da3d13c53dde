"""Alerts as they are stored, messages as they are sent, and outcomes of sending. Values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from engine.alerts.state import RuleState, StateKey
from engine.alerts.suppression import Suppressed
from engine.chats import ChatKind
from engine.preferences import Preferences


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert to be stored and sent.

    Attributes:
        key: never used twice; a store drops a second alert of one key.
        facts: facts to render the message from, JSON values only.
        opens_incident: it counts against the rule's repeat interval; follow-ups (swept, wick) do not.
        top_tier: it is among the largest.
        once: its rule fires only once, so that the daily cap does not apply.
        counts_for: ids of rules whose missed alerts it reports, so that it counts against their repeat intervals.
    """

    key: str
    kind: str
    asset: str
    chat_id: int
    rule_id: int | None
    at: int
    facts: dict[str, Any]
    opens_incident: bool = True
    top_tier: bool = False
    once: bool = False
    counts_for: tuple[int, ...] = ()


@dataclass(slots=True)
class TickRecord:
    """Everything that one tick changes, stored in one transaction before anything is sent.

    Attributes:
        priced: UTC ms by asset, until when prices have been followed; a restart resumes there.
        stale: time of the last data, UTC ms, of assets whose data has gone stale; None for assets whose data is back.
        states: by rule and slot, None for those that are deleted.
        changes: facts that replace those of an earlier alert, by its key.
        suppressed: alerts that were not made, with why. Not stored.
    """

    now: int
    priced: dict[str, int] = field(default_factory=dict)
    stale: dict[str, int | None] = field(default_factory=dict)
    states: dict[StateKey, RuleState | None] = field(default_factory=dict)
    alerts: list[AlertRecord] = field(default_factory=list)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    suppressed: list[Suppressed] = field(default_factory=list)

    def merge(self, other: TickRecord) -> None:
        """Add the tick's changes of another asset."""
        self.priced |= other.priced
        self.stale |= other.stale
        self.states |= other.states
        self.alerts += other.alerts
        self.changes |= other.changes
        self.suppressed += other.suppressed


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was claimed, with the chat it goes to.

    Attributes:
        id: our id.
        chat_id: our id of the chat.
        remote_chat: the platform's id of the chat.
        chat_kind: private, group or channel.
        body: facts to render it from, JSON values.
        rendered: content as rendered at the first claim, so that retries send the same bytes; None before.
        attempts: how often it has been claimed, this time included.
        nonce: the same for all attempts, for platforms that drop duplicates by it.
        expires: UTC ms, when it is no longer worth sending.
        created_at: UTC ms.
        plain: markup was refused; send it as plain text.
        repeat: an earlier attempt may have arrived.
        edits: the platform's id of the message that it replaces, None for a new one.
        preferences: the chat's.
        copies: how many attempts may have arrived.
        tried_at: UTC ms of the first attempt.
    """

    id: int
    chat_id: int
    remote_chat: str
    chat_kind: ChatKind
    body: dict[str, Any]
    rendered: dict[str, Any] | None
    attempts: int
    nonce: str
    expires: int
    created_at: int
    plain: bool
    repeat: bool
    edits: str | None = None
    preferences: Preferences = field(default_factory=Preferences)
    copies: int = 0
    tried_at: int = 0


class MessageState(StrEnum):
    """The states a stored message goes through.

    READY -> SENDING -> SENT is the usual path. A temporary refusal, a lease that ran out and a restart lead back from
    SENDING to READY. Expiry and a final refusal lead from either to DEAD; an operator's resend, or a chat that can be
    reached again, from DEAD to READY. Nothing leaves SENT.
    """

    READY = "ready"
    """Waits for its due time. With the column `held` it is due later on purpose, and blocks no newer message."""

    SENDING = "sending"
    """Leased to a dispatcher; with an unknown outcome once the lease has run out."""

    SENT = "sent"
    """The platform confirmed it, or we have risked as many duplicates as we may (UNCONFIRMED)."""

    DEAD = "dead"
    """Given up, kept with its error: a dead letter."""


class DeliveryStatus(StrEnum):
    """The delivery status of an alert."""

    DELIVERED = "delivered"
    """The platform confirmed its message."""

    UNCONFIRMED = "unconfirmed"
    """Its message was sent, and the platform never confirmed it."""

    WAITING = "waiting"
    """Its message is due, or being sent."""

    HELD = "held"
    """Its message is due when quiet hours end."""

    OVER_CAP = "over_cap"
    """It has no message, as the daily cap was reached."""

    FAILED = "failed"
    """Its message was given up."""


@dataclass(frozen=True, slots=True)
class AlertLogEntry:
    """An alert of a chat: when, UTC ms, about what, its delivery status, and the last error of its message."""

    at: int
    asset: str
    kind: str
    status: DeliveryStatus
    error: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up: about what, for which chat, when it was created, UTC ms, and why."""

    id: int
    kind: str
    asset: str
    platform: str
    chat_id: int
    created_at: int
    error: str


OutcomeKind = Literal["sent", "retry", "plain", "refused", "gone", "moved", "dead", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of sending a message.

    Attributes:
        kind: sent; retry (later); plain (retry as plain text); refused (the platform refuses messages to the chat,
            perhaps temporarily: wait, and switch it off after a day); gone (switch the chat off); moved (the chat has a
            new id); dead (give up); unknown (cut off after sending: it may have arrived).
        error: a short description, never with an address or a token in it.
        retry_after: minimum seconds before the next message to this chat; to the platform once a second chat waits.
        remote_id: the message's id on the platform.
        moved_to: the chat's new id.
    """

    kind: OutcomeKind
    error: str = ""
    retry_after: float | None = None
    remote_id: str = ""
    moved_to: str = ""
