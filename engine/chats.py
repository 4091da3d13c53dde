"""Chats that the bot speaks in, and what was changed in them. Values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.preferences import Preferences

CLAIM_CODE = "claim_code"
"""Under which the code is kept by which the first operator claims the bot."""

ChatKind = Literal["private", "group", "channel"]


@dataclass(frozen=True, slots=True)
class Chat:
    """A place where the bot speaks. approved: an operator let it in; active: messages go there.

    refused_since: since when the platform has not let us write there, though it may pass; 0 while it does.
    person: of a private chat the platform's id of whose it is, where its own id does not say; empty otherwise.
    """

    id: int
    platform: str
    remote_id: str
    kind: ChatKind
    title: str = ""
    approved: bool = False
    active: bool = True
    off_reason: str = ""
    preferences: Preferences = field(default_factory=Preferences)
    refused_since: int = 0
    person: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody changed in a chat: when, the platform's id of who, and the command line."""

    at: int
    who: str
    what: str
