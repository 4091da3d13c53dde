"""Creates ccxt exchanges, redirects them to a gateway, counts their requests and translates their errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import ccxt.pro
from ccxt.base.errors import BadResponse, BaseError, PermissionDenied, RestrictedLocation

from engine.errors import ImplausibleError, VenueError, VenueRefusedError
from engine.venues.meter import Meter

TIMEOUT_MS = 15_000
PING_MS = 18_000
"""Binance's default of three minutes would leave a hung stream unnoticed for nine."""

FRAMES = 50_000
"""Capacity of the queue of liquidation frames: more than any crash has brought in a minute."""

ODD_ANSWERS = (ImplausibleError, KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)
"""Exceptions that reading a response of undocumented shape may raise."""

TOO_OFTEN = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT)
"""Binance answers 418 to clients that keep sending after a 429."""

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Maximum size of a response once decompressed: the largest list of markets takes about 5 MB."""

_REFUSALS = ("restricted location", "unavailable from", "block access from your country", "not available in your")
MAX_TEXT = 120


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a venue.

    Attributes:
        gateway: base address that replaces the venue's own, as <gateway>/<venue>/<path>, for REST and websocket.
        proxy: an HTTP proxy for this venue alone.
        now: clock for the library, UTC ms, as it computes some windows itself.
    """

    gateway: str | None = None
    proxy: str | None = None
    now: Callable[[], int] | None = None


Weigh = Callable[[str, Mapping[str, Any]], float | None]
"""Returns a request's cost at the venue by path and parameters, or None if the library's own figure is right."""


def make_exchange(venue: str, market_types: Sequence[str], access: Access, weigh: Weigh) -> Any:
    """Return a venue's ccxt.pro exchange that queues liquidation frames in `frames` and counts in `meter`."""
    exchange_class = _capturing(getattr(ccxt.pro, venue), weigh)
    exchange = exchange_class({"timeout": TIMEOUT_MS, "enableRateLimit": access.gateway is None})
    defaults = exchange.options.get("fetchMarkets")
    exchange.options["fetchMarkets"] = {**(defaults if isinstance(defaults, dict) else {}), "types": list(market_types)}
    # The library renames coins that share a spot ticker with another coin. For perpetuals that is wrong: ALT is the
    # same coin at every venue.
    exchange.commonCurrencies = {"XBT": "BTC"}
    exchange.has["fetchCurrencies"] = False
    exchange.timeout_on_exit = 0
    exchange.streaming = {**exchange.streaming, "keepAlive": PING_MS}
    if access.proxy is not None:
        exchange.httpsProxy = exchange.wssProxy = access.proxy
    if access.now is not None:
        exchange.milliseconds = access.now
    if access.gateway is not None:
        exchange.urls["api"] = _redirected(exchange.urls["api"], f"{access.gateway}/{venue}")
    return exchange


def _capturing(base: type[Any], weigh: Weigh) -> type[Any]:
    """Return a subclass of a venue's class that counts requests and queues every liquidation frame.

    watch_liquidations itself returns only the last event of a burst.
    """

    class Capturing(base):  # type: ignore[misc]  # ccxt is not typed
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            self.frames: asyncio.Queue[Any] = asyncio.Queue(maxsize=FRAMES)
            self.frames_dropped = 0
            self.meter = Meter()

        def open(self, lazy: bool = False) -> None:  # the library's signature
            is_new = self.session is None
            super().open(lazy)
            if is_new and self.session is not None:
                self.session._response_class = BoundedResponse  # noqa: SLF001  # the library makes the session itself

        def calculate_rate_limiter_cost(self, api: Any, method: Any, path: Any, params: Any, config: Any = {}) -> float:  # noqa: B006  # the library's signature
            cost = weigh(str(path), params)
            return cost if cost is not None else super().calculate_rate_limiter_cost(api, method, path, params, config)

        async def fetch2(
            self,
            path: str,
            api: Any = "public",
            method: str = "GET",
            params: Any = {},  # noqa: B006
            config: Any = {},  # noqa: B006
        ) -> Any:
            self.meter.note(float(self.calculate_rate_limiter_cost(api, method, path, params, config)))
            _ANSWER.set((0, None))
            return await super().fetch2(path, api, method, params, config)

        def on_rest_response(
            self, code: Any, reason: Any, url: Any, method: Any, headers: Any, text: Any, *rest: Any
        ) -> Any:
            _ANSWER.set((int(code), _retry_after(headers)))
            self.meter.note_date(_date(headers))
            parsed = super().on_rest_response(code, reason, url, method, headers, text, *rest)
            if code == HTTPStatus.OK and isinstance(parsed, str) and not _is_json(parsed):
                # The library treats an HTML page or a truncated response as an empty one.
                raise BadResponse("an answer that is no JSON")
            return parsed

        def handle_liquidation(self, client: Any, message: Any) -> None:
            if self.frames.full():
                self.frames_dropped += 1
            else:
                self.frames.put_nowait(message)
            try:
                super().handle_liquidation(client, message)
            except (KeyError, TypeError, IndexError, ValueError):
                # An exception here would end ccxt's receive loop for good; the frame is in the queue anyway.
                return

    Capturing.__name__ = base.__name__
    return Capturing


class BoundedResponse(aiohttp.ClientResponse):
    """A response with a size limit: even a small one can decompress to more than our memory."""

    async def read(self) -> bytes:
        if self._body is None:
            parts, size = [], 0
            async for part in self.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    self.close()
                    raise aiohttp.ClientPayloadError("the answer is too large")
            self._body = b"".join(parts)
        return await super().read()


_ANSWER: ContextVar[tuple[int, float | None]] = ContextVar("answer", default=(0, None))
"""Status of this task's last response, and its Retry-After, seconds."""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    named = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(named) if re.fullmatch(r"\d{1,6}", str(named)) else None


def _date(headers: Mapping[str, str]) -> float | None:
    """Return the venue's time from the Date header, seconds since the epoch, or None."""
    named = next((value for name, value in headers.items() if name.lower() == "date"), None)
    try:
        return parsedate_to_datetime(str(named)).timestamp() if named else None
    except (TypeError, ValueError, OverflowError):
        return None


def _is_json(text: str) -> bool:
    """Return whether a text starts and ends like a complete JSON object or list."""
    text = text.strip()
    return text[:1] + text[-1:] in ("{}", "[]")


def _redirected(urls: Any, to: str) -> Any:
    if isinstance(urls, dict):
        return {key: _redirected(value, to) for key, value in urls.items()}
    if isinstance(urls, str):
        stream = re.sub(r"^http", "ws", to)
        return re.sub(r"^wss?://[^/]+", stream, re.sub(r"^https?://[^/]+", to, urls))
    return urls


def as_venue_error(error: Exception) -> VenueError:
    """Return a failed call's exception as a VenueError with a short text that contains no address.

    ccxt raises ExchangeNotAvailable for a 451 and RateLimitExceeded for a geo-block, so we go by the text and the
    status of this task's last response.
    """
    text = str(error)
    if isinstance(error, VenueError):
        return error
    status, retry_after = _ANSWER.get() if isinstance(error, BaseError) else (0, None)
    refused = (
        isinstance(error, RestrictedLocation | PermissionDenied) or status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS
    )
    if refused or any(words in text.lower() for words in _REFUSALS):
        return VenueRefusedError("refused from this location")
    if isinstance(error, ImplausibleError):
        return VenueError(f"implausible: {text[:MAX_TEXT]}")
    if status in TOO_OFTEN:
        return VenueError("rate limit", retry_after)
    if isinstance(error, BaseError):
        return VenueError(_NAMES.get(type(error).__name__, type(error).__name__))
    return VenueError(f"unreadable answer ({type(error).__name__})")


_NAMES = {
    "ExchangeNotAvailable": "not available",
    "OnMaintenance": "maintenance",
    "RequestTimeout": "no answer in time",
    "NetworkError": "network error",
    "RateLimitExceeded": "rate limit",
    "DDoSProtection": "rate limit",
    "BadSymbol": "no such market",
    "BadResponse": "unreadable answer",
}
