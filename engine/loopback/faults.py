"""Observed venue failures as switches of the loopback exchange. For tests and rehearsals only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal, get_args

from aiohttp import web

Fault = Literal[
    "down",
    "hangs",
    "429",
    "418",
    "451",
    "country",
    "500",
    "502",
    "maintenance",
    "html",
    "empty",
    "truncated",
    "missing",
    "nan",
    "zero",
    "negative",
    "ahead",
    "frozen",
    "twice",
    "silent stream",
    "cut stream",
]
"""down: 503, and streams closed. hangs: no response at all. country: refused because of the location.

html, empty and truncated come with status 200. missing, nan, zero and negative change figures in a valid response.
ahead: the venue's clock is ahead. frozen: responses are stuck at an old time. twice: rows are doubled and out of order,
events repeated. silent stream: no messages, not even a pong. cut stream: the socket is closed after each burst."""

FAULTS: tuple[Fault, ...] = get_args(Fault)

AHEAD_MS = 10 * 60_000

FIGURES = frozenset(
    {
        "markPrice",
        "markPx",
        "mark_price",
        "openInterest",
        "oi",
        "holdingAmount",
        "total_size",
        "open_interest",
        "volume",
        "amount",
        "sumOpenInterest",
    }
)
"""Response fields for marks and open interest."""

_HTML = "<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"

_STATUS: dict[str, tuple[int, str]] = {
    "down": (503, "Service Unavailable"),
    "429": (429, "Too Many Requests"),
    "418": (418, "I'm a teapot"),
    "451": (451, "Unavailable For Legal Reasons"),
    "country": (403, "The Amazon CloudFront distribution is configured to block access from your country"),
    "500": (500, "Internal Server Error"),
    "502": (502, "Bad Gateway"),
    "maintenance": (503, "Service Unavailable: maintenance"),
    "html": (200, "Welcome"),
}

_CHANGED: dict[str, Callable[[Any], Any]] = {
    "nan": lambda _: "NaN",
    "zero": lambda _: "0",
    "negative": lambda _: "-5",
}


async def instead(fault: Fault | None) -> web.Response | None:
    """Return the response that a fault puts in place of the venue's own, or None."""
    if fault == "hangs":
        await asyncio.sleep(3600)
    if fault in _STATUS:
        status, title = _STATUS[fault]
        headers = {"Retry-After": "2"} if fault in ("429", "418") else {}
        text = _HTML.format(title=title)
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)
    if fault == "empty":
        return web.Response(status=200, text="")
    return None


def spoiled(fault: Fault | None, payload: Any) -> str:
    """Return a response's text with the fault applied."""
    if fault == "truncated":
        text = json.dumps(payload)
        return text[: max(len(text) * 2 // 3, 1)]
    if fault == "missing":
        payload = _without(payload)
    elif fault in _CHANGED:
        payload = _changed(payload, _CHANGED[fault])
    elif fault == "twice":
        payload = _twice(payload)
    return json.dumps(payload)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without(item) for key, item in value.items() if key not in FIGURES or isinstance(item, dict | list)
        }
    return [_without(item) for item in value] if isinstance(value, list) else value


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {
            key: change(item) if key in FIGURES and not isinstance(item, dict | list) else _changed(item, change)
            for key, item in value.items()
        }
    return [_changed(item, change) for item in value] if isinstance(value, list) else value


def _twice(value: Any) -> Any:
    """Return a value with lists of more than two rows doubled and put out of order."""
    if isinstance(value, dict):
        return {key: _twice(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > 2 and isinstance(value[0], dict | list):
        return [*reversed(value), *value]
    return value
