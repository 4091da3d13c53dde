"""Alerts as they are stored, messages as they are sent, and what a platform answers. Values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from engine.alerts.cluster_rules import StateKey
from engine.alerts.near import RuleState
from engine.chats import ChatKind
from engine.preferences import Preferences


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert to be stored and sent.

    Attributes:
        key: never made twice; a store drops a second one.
        begins: it begins a story, and counts for how often its rule may speak; the end of a story does not.
        top_tier: it is of the largest. only: it is the only one its rule will ever make, and no full day holds it back.
        facts: what the message is rendered from, JSON values only.
        counts_for: ids of rules that have spoken by it, such as those whose moment was missed: it counts for how often
            they may.
    """

    key: str
    kind: str
    asset: str
    chat_id: int
    rule_id: int | None
    at: int
    facts: dict[str, Any]
    begins: bool = True
    top_tier: bool = False
    only: bool = False
    counts_for: tuple[int, ...] = ()


@dataclass(slots=True)
class TickRecord:
    """All that one tick changes, stored in one transaction before anything is sent.

    priced: until when each asset's price has been followed; a restart reads on from there.
    changes: facts that take the place of those of an alert told before, by its key.
    stale: assets whose figures have all gone old, with the time of the last ones; None for those that are back.
    """

    now: int
    priced: dict[str, int] = field(default_factory=dict)
    stale: dict[str, int | None] = field(default_factory=dict)
    states: dict[StateKey, RuleState | None] = field(default_factory=dict)
    alerts: list[AlertRecord] = field(default_factory=list)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One claimed message with the chat it goes to.

    rendered is the text as it was first claimed: retries send the same bytes.
    plain: markup was refused, send as plain text. repeat: it may have arrived before.
    edits: the platform's id of the message that this one takes the place of, None for a new one.
    copies: how often it may have arrived. tried_at: when it was first tried, UTC ms.
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

    READY -> SENDING -> SENT is the usual way. A temporary refusal, a lease that ran out and a restart lead back from
    SENDING to READY; expiry and a final refusal lead from either to DEAD; an operator's resend, or a chat that can be
    reached again, from DEAD to READY. Nothing leaves SENT.
    """

    READY = "ready"
    """Waits for its due time. With the column `held` it is due later on purpose, and blocks no newer message."""

    SENDING = "sending"
    """Leased to a dispatcher; with an unknown outcome once the lease has run out."""

    SENT = "sent"
    """The platform confirmed it, or it was tried as often as duplicates may be risked (UNCONFIRMED)."""

    DEAD = "dead"
    """Given up, kept with its error: a dead letter."""


class DeliveryStatus(StrEnum):
    """What became of an alert."""

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
    """An alert of a chat: when, of what, what became of it, and the last error of its message."""

    at: int
    asset: str
    kind: str
    status: DeliveryStatus
    error: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up: what, for which chat, when, and why."""

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
    """What a platform answered.

    Attributes:
        kind: sent; retry (later); plain (once more as plain text); refused (the chat may not be written to now, which
            may pass: wait, and switch it off after a day); gone (switch the chat off); moved (the chat has a new id);
            dead (give up); unknown (cut off after sending: it may have arrived).
        error: a short word for it, never with an address or a token in it.
        retry_after: seconds, at least, before this chat may be written to; the platform too once a second chat waits.
        remote_id: the message's id on the platform.
        moved_to: the chat's new id.
    """

    kind: OutcomeKind
    error: str = ""
    retry_after: float | None = None
    remote_id: str = ""
    moved_to: str = ""
