"""What one venue reports as forced out: heard on a stream, or asked for every minute."""

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
"""The library says nothing of a subscription until the first event: no error for so long is taken for one."""

QUIET_MS = 30 * MINUTE_MS
"""A stream that has said nothing for so long may hang without an error: it is dialled anew."""

ASK_EVERY_MS = MINUTE_MS
OVERLAP_MS = 10 * MINUTE_MS
"""Orders are asked for again for so long, as venues list them late; they are stored once."""


class LiquidationFeed:
    """One venue's forced orders as they come.

    Attributes:
        state: ok, or what is wrong.
        heard_at: when the venue last answered or said something, 0 before.
        since: from when on its orders are known without a break, 0 while they are not.
    """

    def __init__(self, venue: Venue, clock: Clock) -> None:
        self.state = "starting"
        self.heard_at = 0
        self.since = 0
        self._venue, self._clock = venue, clock
        self._waiting: list[Liquidation] = []
        self._asked_until: dict[str, int] = {}

    def take(self) -> list[Liquidation]:
        """What has come since somebody last took it."""
        taken, self._waiting = self._waiting, []
        return taken

    def clock_set_back(self, now: int) -> None:
        """Forget what is known of times that have not come yet."""
        self.heard_at, self.since = min(self.heard_at, now), min(self.since, now)
        self._asked_until = {key: min(at, now) for key, at in self._asked_until.items()}

    async def listen(self, opened: Callable[[], bool]) -> None:
        """Collect a stream until cancelled; breaks are mended with back-off, silence by dialling anew.

        Args:
            opened: whether the venue's markets are known.
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
        """Wait for the next burst. A connection that has lasted for some seconds without an error is listened to."""
        began = self._clock.now()
        hearing = asyncio.ensure_future(self._venue.watch())
        try:
            done, _ = await asyncio.wait([hearing], timeout=CONNECTED_SECONDS)
            if not done:
                self.state, self.since = "ok", self.since or began
                done, _ = await asyncio.wait([hearing], timeout=QUIET_MS / 1000 / self._clock.speed)
            if not done:
                log.info("%s: the liquidation stream is silent; dialling anew", self._venue.id)
                await self._venue.renew_stream()
                return
            self._waiting += hearing.result()
        finally:
            if not hearing.done():
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        self.heard_at = self._clock.now()
        self.since = self.since or began

    async def ask(self, now: int) -> None:
        """Ask a venue that has a list of them, at most once a minute a market.

        Raises:
            VenueError: when the venue refuses this location or wants to be left alone; other failures are said in
                `state`.
        """
        wrong = ""
        for market in self._venue.markets:
            until = self._asked_until.get(market.key, 0)
            if now - until < ASK_EVERY_MS:
                continue
            try:
                found = await self._venue.recent_liquidations(market, max(until, now - HOUR_MS) - OVERLAP_MS)
            except VenueError as error:
                if isinstance(error, VenueRefusedError) or error.retry_after is not None:
                    raise
                wrong = f"{market.asset}: {error}"
                continue
            self._waiting += found
            self._asked_until[market.key] = self.heard_at = now
            self.since = self.since or now
        self.state = wrong or "ok"
