"""One venue's liquidation feed: received from a stream, or requested every minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from engine.errors import VenueError, VenueRefusedError
from engine.market import HOUR_MS, MINUTE_MS, Liquidation
from engine.ports import Clock
from engine.venues.venue import Venue

log = logging.getLogger(__name__)

BACKOFF_SECONDS = (1, 60)
OPENING_SECONDS = 0.2
CONNECTED_SECONDS = 3.0
"""The library does not confirm a subscription: without an error for this long, we assume that it succeeded."""

QUIET_MS = 30 * MINUTE_MS
"""A stream that is silent for this long may be hanging without an error, so we reconnect."""

ASK_EVERY_MS = MINUTE_MS
OVERLAP_MS = 10 * MINUTE_MS
"""How far a request overlaps the one before, because venues list orders late. Each is stored once."""


class LiquidationFeed:
    """Collects one venue's liquidation orders.

    Attributes:
        state: starting, ok, or the problem.
        heard_at: when the venue last answered or sent something, UTC ms, 0 before.
        since: since when the feed has been complete, UTC ms, 0 while it is not.
    """

    def __init__(self, venue: Venue, clock: Clock) -> None:
        self.state = "starting"
        self.last_event_at = 0
        self.since = 0
        self._venue, self._clock = venue, clock
        self._waiting: list[Liquidation] = []
        self._asked_until: dict[str, int] = {}

    def take(self) -> list[Liquidation]:
        """Return the orders received since the last call."""
        taken, self._waiting = self._waiting, []
        return taken

    def clock_set_back(self, now: int) -> None:
        """Cap stored times at `now` after the clock was set back."""
        self.last_event_at, self.since = min(self.last_event_at, now), min(self.since, now)
        self._asked_until = {key: min(at, now) for key, at in self._asked_until.items()}

    async def listen(self, opened: Callable[[], bool]) -> None:
        """Collect a stream until cancelled. Reconnect after errors, with back-off, and after long silence.

        Args:
            opened: returns whether the venue's markets are loaded.
        """
        wait = float(BACKOFF_SECONDS[0])
        while True:
            if not opened():
                await asyncio.sleep(OPENING_SECONDS)
                continue
            try:
                await self._hear()
                self.state = "ok"
                wait = float(BACKOFF_SECONDS[0])
            except VenueError as error:
                self.state, self.since = str(error), 0
            except Exception as error:
                log.exception("%s: the liquidation stream broke", self._venue.id)
                self.state, self.since = type(error).__name__, 0
            else:
                continue
            await asyncio.sleep(wait)
            wait = min(wait * 2, BACKOFF_SECONDS[1])

    async def _hear(self) -> None:
        """Wait for the next burst. The feed counts as complete after some seconds without an error."""
        began = self._clock.now()
        hearing = asyncio.ensure_future(self._venue.watch())
        try:
            done, _ = await asyncio.wait([hearing], timeout=CONNECTED_SECONDS)
            if not done:
                self.state, self.since = "ok", self.since or began
                done, _ = await asyncio.wait([hearing], timeout=QUIET_MS / 1000 / self._clock.speed)
            if not done:
                log.info("%s: the liquidation stream is silent; reconnecting", self._venue.id)
                await self._venue.renew_stream()
                return
            self._waiting += hearing.result()
        finally:
            if not hearing.done():
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        self.last_event_at = self._clock.now()
        self.since = self.since or began

    async def ask(self, now: int) -> None:
        """Request recent orders of each market, at most once a minute, from a venue without a stream.

        Raises:
            VenueError: when the venue refuses this location or sends a Retry-After. Other failures only set `state`.
        """
        wrong = ""
        for market in self._venue.markets:
            until = self._asked_until.get(market.key, 0)
            if now - until < ASK_EVERY_MS:
                continue
            try:
                orders = await self._venue.recent_liquidations(market, max(until, now - HOUR_MS) - OVERLAP_MS)
            except VenueError as error:
                if isinstance(error, VenueRefusedError) or error.retry_after is not None:
                    raise
                wrong = f"{market.asset}: {error}"
                continue
            self._waiting += orders
            self._asked_until[market.key] = self.last_event_at = now
            self.since = self.since or now
        self.state = wrong or "ok"
