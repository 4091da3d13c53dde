"""Keeps one venue read: history first, then polls; says what state it is in and when it will try again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import ImplausibleError, StorageError, VenueError, VenueRefusedError
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS, Bar, Liquidation, Market, Sample
from engine.ports import Clock, MarketStore
from engine.venues.exchange import as_venue_error
from engine.venues.venue import STEP_MS, Minute, Venue

log = logging.getLogger(__name__)

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
    minute: Minute | None = None
    sample: Sample | None = None
    waiting: list[Bar] = field(default_factory=list)


class VenueWorker:
    """One venue's reader.

    Attributes:
        progress: how far each market has been read, by its key.
        map_closed_at: until when a market's map has been stepped, 0 where there is none.
        reported: liquidations since somebody last took them.
    """

    def __init__(
        self,
        venue: Venue,
        assets: Sequence[str],
        store: MarketStore,
        clock: Clock,
        history_days: int,
        map_closed_at: Callable[[Market], int],
    ) -> None:
        self.venue = venue
        self.state: State = "starting"
        self.detail = ""
        self.progress: dict[str, MarketProgress] = {}
        self.reported: list[Liquidation] = []
        self.stream_state = "starting"
        self.failures = 0
        self._assets, self._store, self._clock, self._history_days = assets, store, clock, history_days
        self._map_closed_at = map_closed_at
        self._retry_at = 0.0
        self._opened = False
        self._polling = asyncio.Lock()
        self._jitter = random.Random(venue.id)  # noqa: S311  # spreads retries, guards nothing

    @property
    def id(self) -> str:
        return self.venue.id

    async def poll(self) -> bool:
        """Read what is new; whether that worked. Waits out its own back-off, and never runs twice at once.

        Raises:
            StorageError: when what was read could not be stored; nothing else.
        """
        if self._polling.locked() or asyncio.get_running_loop().time() < self._retry_at:
            return False
        async with self._polling:
            return await self._poll()

    async def _poll(self) -> bool:
        try:
            if not self._opened:
                await self._open()
            found = {market.asset: await self._read_or_say(market) for market in self.venue.markets}
        except StorageError:
            raise
        except VenueError as error:
            self._failed(error)
            return False
        except Exception as error:
            log.exception("%s: an answer could not be read", self.id)
            self._failed(as_venue_error(error))
            return False
        wrong = {asset: detail for asset, detail in found.items() if detail}
        if len(wrong) == len(found):
            self._failed(VenueError(next(iter(wrong.values()))))
            return False
        if self.state != "ok":
            log.info("%s: reading", self.id)
        detail = "; ".join(f"{asset}: {what}" for asset, what in wrong.items())
        self.state, self.detail, self.failures = "ok", detail, 0
        return True

    async def _open(self) -> None:
        """Load the venue's markets, and the bars that were stored for them."""
        await self.venue.open(self._assets)
        for market in self.venue.markets:
            closed_at = self._map_closed_at(market)
            stored = await self._store.bars_since(market, closed_at)
            start = self._history_start(self._clock.now())
            end = max(stored[-1].closed_at if stored else 0, closed_at, start)
            self.progress[market.key] = MarketProgress(end, waiting=list(stored))
        self._opened = True

    def _history_start(self, now: int) -> int:
        """Where history begins: an hour short of what was asked for, as venues refuse what is a second too old."""
        return (now - self._history_days * DAY_MS + HOUR_MS) // STEP_MS * STEP_MS

    async def _read_or_say(self, market: Market) -> str:
        """Read one market; what is wrong with it, empty if nothing is: one market must not take the others with it.

        Raises:
            StorageError: when what was read could not be stored.
            VenueRefusedError: that is the whole venue's.
        """
        try:
            await self._read(market)
        except (StorageError, VenueRefusedError):
            raise
        except VenueError as error:
            return str(error)
        except ImplausibleError as error:
            return f"implausible: {error}"[:120]
        except Exception as error:
            log.exception("%s: an answer about %s could not be read", self.id, market.asset)
            return str(as_venue_error(error))
        return ""

    async def _read(self, market: Market) -> None:
        now = self._clock.now()
        known = self.progress[market.key]
        oldest = self._history_start(now)
        known.closed_at = max(known.closed_at, oldest)
        while now - known.closed_at >= STEP_MS:
            until = min(known.closed_at + PAGE_DAYS * DAY_MS, now)
            if until < now - STEP_MS:
                days = (now - known.closed_at) / DAY_MS
                self.state, self.detail = "history", f"{market.asset} {days:.0f} d to go"
            bars = await self.venue.bars(market, known.closed_at, until, now)
            await self._store.add_bars([(market, bar) for bar in bars])
            known.waiting += bars
            if bars:
                known.closed_at = bars[-1].closed_at
            if until >= now:
                break
            known.closed_at = max(known.closed_at, until // STEP_MS * STEP_MS)
        sample, minute = await self.venue.sample(market, known.closed_at, known.minute, self._clock.now())
        known.sample, known.minute = sample, minute

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
            except Exception as error:
                log.exception("%s: the liquidation stream broke", self.id)
                self.stream_state = type(error).__name__
            else:
                continue
            await asyncio.sleep(wait)
            wait = min(wait * 2, STREAM_BACKOFF_SECONDS[1])

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
