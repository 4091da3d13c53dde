"""Keeps one venue read: history first, then polls; says what state it is in and when it will try again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import ImplausibleError, VenueError, VenueRefusedError
from engine.market import DAY_MS, MINUTE_MS, Bar, Liquidation, Market, Sample
from engine.ports import Clock, MarketStore
from engine.venues.venue import STEP_MS, Venue

log = logging.getLogger(__name__)

BarTaker = Callable[[Market, Sequence[Bar]], None]
State = Literal["starting", "history", "ok", "failing", "refused"]

BACKOFF_SECONDS = (5, 300)
REFUSED_SECONDS = 1800
STREAM_BACKOFF_SECONDS = (1, 60)
PAGE_DAYS = 1
"""History is read and stored in pieces, so that one that breaks off is taken up where it stopped."""


@dataclass
class MarketProgress:
    """How far one market has been read."""

    closed_at: int
    polled_at: int | None = None
    sample: Sample | None = None
    waiting: list[Bar] = field(default_factory=list)


class VenueWorker:
    """One venue's reader.

    Attributes:
        samples: the latest poll by market key.
        reported: liquidations since somebody last took them.
    """

    def __init__(
        self, venue: Venue, assets: Sequence[str], store: MarketStore, clock: Clock, history_days: int
    ) -> None:
        self.venue = venue
        self.state: State = "starting"
        self.detail = ""
        self.progress: dict[str, MarketProgress] = {}
        self.reported: list[Liquidation] = []
        self.stream_state = "starting"
        self.failures = 0
        self._assets, self._store, self._clock, self._history_days = assets, store, clock, history_days
        self._retry_at = 0.0
        self._opened = False
        self._jitter = random.Random(venue.id)  # noqa: S311  # spreads retries, guards nothing

    @property
    def id(self) -> str:
        return self.venue.id

    def resume_from(self, market: Market, closed_at: int) -> None:
        """Bars up to then are in the map already."""
        known = self.progress.setdefault(market.key, MarketProgress(closed_at))
        known.closed_at = max(known.closed_at, closed_at)

    async def open(self) -> bool:
        """Load the venue's markets; whether that worked."""
        try:
            await self.venue.open(self._assets)
        except VenueError as error:
            self._failed(error)
            return False
        self._opened = True
        return True

    async def poll(self) -> bool:
        """Read what is new; whether anything was. Waits out its own back-off and never raises VenueError."""
        if asyncio.get_running_loop().time() < self._retry_at:
            return False
        if not self._opened and not await self.open():
            return False
        try:
            for market in self.venue.markets:
                await self._read(market)
        except VenueError as error:
            self._failed(error)
            return False
        if self.state != "ok":
            log.info("%s: reading", self.id)
        self.state, self.detail, self.failures = "ok", "", 0
        return True

    async def _read(self, market: Market) -> None:
        now = self._clock.now()
        start = now - self._history_days * DAY_MS
        known = self.progress.setdefault(market.key, MarketProgress(start // STEP_MS * STEP_MS))
        known.closed_at = max(known.closed_at, start // STEP_MS * STEP_MS)
        while now - known.closed_at >= STEP_MS:
            until = min(known.closed_at + PAGE_DAYS * DAY_MS, now)
            if until < now - STEP_MS:
                days = (now - known.closed_at) / DAY_MS
                self.state, self.detail = "history", f"{market.asset} {days:.0f} d to go"
            bars = await self.venue.bars(market, known.closed_at, min(now, until))
            await self._store.add_bars([(market, bar) for bar in bars])
            known.waiting += bars
            if bars:
                known.closed_at = bars[-1].closed_at
            if until >= now:
                break
            known.closed_at = max(known.closed_at, until // STEP_MS * STEP_MS)
        try:
            known.sample = await self.venue.sample(market, known.closed_at, known.polled_at, self._clock.now())
        except ImplausibleError as error:
            raise VenueError(f"implausible: {error}") from None
        known.polled_at = known.sample.received_at

    def _failed(self, error: VenueError) -> None:
        self.failures += 1
        refused = isinstance(error, VenueRefusedError)
        wait: float = REFUSED_SECONDS
        if not refused:
            wait = min(BACKOFF_SECONDS[0] * 2 ** (self.failures - 1), BACKOFF_SECONDS[1])
        wait *= 0.75 + 0.5 * self._jitter.random()
        if self.state not in ("failing", "refused"):
            log.warning("%s: %s; next try in %.0f s", self.id, error, wait)
        self.state, self.detail = "refused" if refused else "failing", str(error)
        self._retry_at = asyncio.get_running_loop().time() + wait / self._clock.speed

    async def stream(self) -> None:
        """Collect liquidations until cancelled; breaks are mended with back-off."""
        wait = float(STREAM_BACKOFF_SECONDS[0])
        while True:
            if not self._opened:
                await asyncio.sleep(1)
                continue
            try:
                self.stream_state = "ok"
                self.reported += await self.venue.watch()
                wait = float(STREAM_BACKOFF_SECONDS[0])
            except VenueError as error:
                self.stream_state = str(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, STREAM_BACKOFF_SECONDS[1])
            except ImplausibleError as error:
                log.warning("%s: a liquidation was refused: %s", self.id, error)

    def take_reported(self) -> list[Liquidation]:
        taken, self.reported = self.reported, []
        return taken

    def age_ms(self, market: Market, now: int) -> int | None:
        """How old a market's figures are, None before the first."""
        known = self.progress.get(market.key)
        return now - known.sample.at if known and known.sample else None

    def stale_after_ms(self, poll_ms: float) -> int:
        """From when on the venue is left out of the sum."""
        return max(round(3 * poll_ms), MINUTE_MS)
