"""ccxt instances: how they are made, pointed elsewhere, and what their errors mean."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import ccxt.pro
from ccxt.base.errors import BaseError, PermissionDenied, RestrictedLocation

from engine.errors import ImplausibleError, VenueError, VenueRefusedError

TIMEOUT_MS = 15_000
_REFUSALS = ("restricted location", "unavailable from", "block access from your country", "not available in your")
MOST_TEXT = 120


def make_exchange(venue: str, market_types: list[str], gateway: str | None) -> Any:
    """One ccxt.pro instance of a venue that keeps every liquidation frame in `frames`.

    Args:
        market_types: which markets to load.
        gateway: an address through which the venue is reached as <gateway>/<venue>/<path>, REST and websocket.
    """
    exchange = _capturing(getattr(ccxt.pro, venue))({"timeout": TIMEOUT_MS, "enableRateLimit": gateway is None})
    known = exchange.options.get("fetchMarkets")
    exchange.options["fetchMarkets"] = {**(known if isinstance(known, dict) else {}), "types": market_types}
    exchange.has["fetchCurrencies"] = False
    exchange.timeout_on_exit = 0
    if gateway is not None:
        exchange.urls["api"] = _redirected(exchange.urls["api"], f"{gateway}/{venue}")
    return exchange


def _capturing(base: type[Any]) -> type[Any]:
    """The venue's class with every liquidation frame queued: watch_liquidations itself returns only the last."""

    class Capturing(base):  # type: ignore[misc]  # ccxt is not typed
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            self.frames: asyncio.Queue[Any] = asyncio.Queue(maxsize=20_000)

        def handle_liquidation(self, client: Any, message: Any) -> None:
            if not self.frames.full():
                self.frames.put_nowait(message)
            try:
                super().handle_liquidation(client, message)
            except (KeyError, TypeError, IndexError, ValueError):
                # An exception here would end ccxt's receive loop for good; the frame is in the queue anyway.
                return

    Capturing.__name__ = base.__name__
    return Capturing


def _redirected(urls: Any, to: str) -> Any:
    if isinstance(urls, dict):
        return {key: _redirected(value, to) for key, value in urls.items()}
    if isinstance(urls, str):
        stream = re.sub(r"^http", "ws", to)
        return re.sub(r"^wss?://[^/]+", stream, re.sub(r"^https?://[^/]+", to, urls))
    return urls


def as_venue_error(error: Exception) -> VenueError:
    """What a failed call means, in a few words that name no address.

    ccxt says ExchangeNotAvailable for a 451 and RateLimitExceeded for a geo-block: the text decides.
    """
    text = str(error)
    if isinstance(error, VenueError):
        return error
    refused = isinstance(error, RestrictedLocation | PermissionDenied) or " 451 " in f" {text} "
    if refused or any(words in text.lower() for words in _REFUSALS):
        return VenueRefusedError("refused from this location")
    if isinstance(error, ImplausibleError):
        return VenueError(f"implausible: {text[:MOST_TEXT]}")
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
}
