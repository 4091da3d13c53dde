"""Outcomes of Telegram's responses to sends. One table; the first row that matches applies.

Only the platform's own JSON says anything about a chat. PTB raises the same exceptions for a proxy's page, with a
parsing error as their cause. Descriptions are matched in lower case, as PTB changes their case.

| response | meaning | outcome |
|---|---|---|
| none, and the request surely never left (connect, pool) | network | retry |
| none after it left (read, write, reset, cut off) | network | unknown |
| 200 with half of a JSON response | cut off | unknown |
| a page that is not JSON, ok:false, another shape, whatever the status | a proxy, a front end | retry |
| 429 with retry_after | flood control | retry, not before that |
| 429 without, 409, 420, 5xx | passing | retry |
| 400 with migrate_to_chat_id | a group became a supergroup | moved |
| 401, 404 | the token is refused for now | retry after a minute |
| 403 blocked, deactivated, kicked, not a member, deleted, cannot initiate, a bot | the chat is gone | gone |
| 400 not enough rights, CHAT_WRITE_FORBIDDEN, topic closed, chat not found … | it may pass | refused |
| 403, other descriptions | as above | refused |
| 400 of an edit: not modified | the message has this text already | sent |
| 400 of an edit: to edit not found, can't be edited, MESSAGE_ID_INVALID | the message is gone | dead |
| 413, 400 of markup, buttons, length | the text as it is | plain: once more without markup |
"""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from engine.messages import Outcome

TOKEN_SECONDS = 60.0
NO_PLATFORM = "an answer that is not Telegram's"

GONE = (
    "blocked by the user",
    "user is deactivated",
    "was kicked from",
    "is not a member of",
    "chat was deleted",
    "can't initiate conversation",
    "can't send messages to bots",
    "can't send messages to the bot",
)
REFUSED = (
    "not enough rights",
    "need administrator rights",
    "have no write access",
    "have no rights",
    "write_forbidden",
    "chat_restricted",
    "chat_admin_required",
    "user_banned_in_channel",
    "_forbidden",
    "topic_closed",
    "topic closed",
    "topic_deleted",
    "thread not found",
    "message thread identifier",
    "chat not found",
    "peer_id_invalid",
    "channel_private",
    "channel_invalid",
    "chat_id_invalid",
    "group is deactivated",
    "payment_required",
    "slowmode",
    "frozen",
)
EDIT_GONE = (
    "message to edit not found",
    "can't be edited",
    "message_id_invalid",
    "msg_id_invalid",
    "edit_time_expired",
)
SURELY_NOT_SENT = (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError, httpx.UnsupportedProtocol)


def outcome_of(error: Exception, *, edit: bool = False) -> Outcome:
    """Return the outcome of a failed send or edit; see the table above."""
    if isinstance(error, RetryAfter):
        return Outcome("retry", "429", _seconds(error))
    if isinstance(error, ChatMigrated):
        return Outcome("moved", "migrated", moved_to=str(error.new_chat_id))
    if not isinstance(error, TelegramError):
        return Outcome("retry", f"{NO_PLATFORM} ({type(error).__name__})")  # it was read, but has another shape
    if isinstance(error, TimedOut):
        never_left = isinstance(error.__cause__, SURELY_NOT_SENT)
        return Outcome("retry" if never_left else "unknown", "no answer in time")
    if isinstance(error, Forbidden | BadRequest | InvalidToken | Conflict) and error.__cause__ is None:
        return _said(error, edit=edit)
    if isinstance(error, NetworkError) and isinstance(error.__cause__, httpx.HTTPError):
        return Outcome("retry" if isinstance(error.__cause__, SURELY_NOT_SENT) else "unknown", "network")
    if isinstance(error.__cause__, json.JSONDecodeError):
        half = error.__cause__.doc.lstrip()[:1] == "{"
        return Outcome("unknown", "half an answer") if half else Outcome("retry", NO_PLATFORM)
    if isinstance(error, NetworkError) and error.__cause__ is None:
        large = "too large" in error.message.lower()
        # A network failure has a cause; without one, this is a description that Telegram sent.
        return Outcome("plain", "413") if large else Outcome("retry", _brief(error.message) or "network")
    return Outcome("retry", NO_PLATFORM)


def _said(error: TelegramError, *, edit: bool) -> Outcome:
    """Return the outcome of an error that Telegram's own JSON describes."""
    words = error.message.lower()
    if isinstance(error, InvalidToken):
        return Outcome("retry", "token refused", TOKEN_SECONDS)
    if isinstance(error, Conflict):
        return Outcome("retry", "another instance polls")
    if edit and "not modified" in words:
        return Outcome("sent")
    if edit and any(each in words for each in EDIT_GONE):
        return Outcome("dead", "the message is gone")
    if isinstance(error, Forbidden) and any(each in words for each in GONE):
        return Outcome("gone", _brief(error.message))
    if isinstance(error, Forbidden) or any(each in words for each in REFUSED):
        return Outcome("refused", _brief(error.message))
    return Outcome("plain", f"400: {_brief(error.message)}")


def token_refused(error: TelegramError) -> bool:
    """Return whether Telegram itself refuses the token. A proxy's page does not count."""
    while isinstance(error, InvalidToken):
        if error.__cause__ is None:
            return True
        if not isinstance(error.__cause__, TelegramError):
            return False
        error = error.__cause__
    return False


def _seconds(error: RetryAfter) -> float:
    wait = error.retry_after
    return wait.total_seconds() if isinstance(wait, timedelta) else float(wait)


def _brief(text: str) -> str:
    """Return a description as one short line for people."""
    return " ".join(text.removeprefix("Forbidden: ").split())[:100]
