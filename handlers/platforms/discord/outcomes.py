"""Outcomes of Discord's responses to sends by bot or webhook. Except for a 429, the JSON code decides first.

A response without one of Discord's own codes (an edge page, "error code: 1020", code 0) says nothing about the channel.

| response | meaning | outcome |
|---|---|---|
| none, and the request surely never left | network | retry |
| none after it left, a 2xx that cannot be read | cut off | unknown |
| 429 | a limit; the wait is in the body, as a number or text, or in Retry-After | retry, not before that |
| 5xx, 40333, code 0 with 403 404 405 407, 401 | the platform, its edge, the token for now | retry |
| 10003 10004 10013 10015 50001 50007 50013 50027 50033 50278 | gone, or closed to us | gone |
| 50083 160005 50008 50024 40058 220001-220004 50009 50600 | archived, locked, of another kind: may pass | refused |
| the same for an edit | the message cannot be changed | dead |
| 10008 and 50005 of an edit | the message is gone | dead |
| 20016 20022 20028 20029 30046 40003 40004 40062 130000 | too fast in one place | retry |
| 40006 110000 110001 | unavailable for now | retry |
| 240000 200000 20009 | the content | plain, then dead |
| other 4xx | the message as it is | plain, then dead |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import aiohttp
import discord

from engine.messages import Outcome

TOKEN_SECONDS = 60.0
DEFAULT_WAIT_SECONDS = 5.0

GONE = frozenset({10003, 10004, 10013, 10015, 50001, 50007, 50013, 50027, 50033, 50278})
REFUSED = frozenset({50083, 160005, 50008, 50024, 40058, 220001, 220002, 220003, 220004, 50009, 50600})
PASSING = frozenset({40333, 20016, 20022, 20028, 20029, 30046, 40003, 40004, 40006, 40062, 110000, 110001, 130000})
MESSAGE_GONE = frozenset({10008, 50005})


def outcome_of(error: Exception, *, edit: bool = False) -> Outcome:
    """Return the outcome of a failed send by the library, which has retried 429 and some 5xx itself by then."""
    if isinstance(error, discord.RateLimited):
        return Outcome("retry", "429", error.retry_after)
    if isinstance(error, discord.HTTPException):
        headers = getattr(error.response, "headers", None) or {}
        return outcome_of_answer(error.status, _code_of(error), headers, edit=edit)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Outcome("retry", "cannot be reached")
    return Outcome("unknown", type(error).__name__)


def outcome_of_answer(
    status: int, code: int, headers: Mapping[str, str], body: Mapping[str, Any] | None = None, *, edit: bool = False
) -> Outcome:
    """Return the outcome of an error response.

    Args:
        code: Discord's own code, 0 if there is none.
        body: the response's JSON, which may hold the wait of a 429.
        edit: whether it was an edit of a message.
    """
    reason = f"HTTP {status}" + (f", {code}" if code else "")
    if status == 429:
        return Outcome("retry", "429", _wait(headers, body or {}))
    if edit and code in MESSAGE_GONE:
        return Outcome("dead", "the message is gone")
    if code in GONE:
        return Outcome("gone", reason)
    if code in REFUSED:
        return Outcome("dead" if edit else "refused", reason)
    if code in PASSING or status >= 500 or (code == 0 and status in (403, 404, 405, 407)):
        return Outcome("retry", reason)
    if status == 401:
        return Outcome("retry", "token refused", TOKEN_SECONDS)
    return Outcome("plain", reason)


def code_in(text: str) -> tuple[int, dict[str, Any]]:
    """Return Discord's own code in a response's text, 0 if there is none, and the parsed response."""
    try:
        body = json.loads(text)
    except ValueError:
        return 0, {}
    body = body if isinstance(body, dict) else {}
    try:
        return int(body.get("code") or 0), body
    except (TypeError, ValueError):
        return 0, body


def _code_of(error: discord.HTTPException) -> int:
    try:
        code = int(error.code or 0)
    except (TypeError, ValueError):
        code = 0
    # The library parses only bodies whose content type is exactly application/json.
    return code or code_in(str(error.text))[0]


def _wait(headers: Mapping[str, str], body: Mapping[str, Any]) -> float:
    """Return the seconds that a 429 asks for, as a number or text, in the body or a header."""
    named = {str(name).lower(): value for name, value in headers.items()}
    for value in (body.get("retry_after"), named.get("retry-after"), named.get("x-ratelimit-reset-after")):
        try:
            wait = float(value)  # type: ignore[arg-type]  # whatever was sent
        except (TypeError, ValueError):
            continue
        if math.isfinite(wait) and wait >= 0:
            return wait
    return DEFAULT_WAIT_SECONDS
