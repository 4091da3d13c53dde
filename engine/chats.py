"""Chats, and the changes made in them. Values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.preferences import Preferences

CLAIM_CODE = "claim_code"
"""Key of the one-time code with which the first operator claims the bot."""

ChatKind = Literal["private", "group", "channel"]


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat on a platform.

    Attributes:
        approved: an operator allows it to use the bot.
        active: it gets messages.
        off_reason: why it does not.
        refused_since: UTC ms, since when the platform has temporarily refused our messages; 0 if it accepts them.
        person: the platform's id of a private chat's user if the chat's own id is not that; empty otherwise.
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
    """A change in a chat: when, UTC ms, the platform's id of the user, and the command line."""

    at: int
    who: str
    what: str
