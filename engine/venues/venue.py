"""One venue: markets, samples and bars in the units of engine.market. Each venue fills in what its figures are."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.errors import ImplausibleError, VenueError
from engine.market import MINUTE_MS, Bar, Liquidation, Market, Sample, positive
from engine.venues.exchange import as_venue_error, make_exchange
from engine.venues.margins import margin_rules

STEP_MS = 5 * MINUTE_MS
GRACE_MS = 10 * MINUTE_MS
"""How long the map waits for a bar's open interest before it goes on without."""

SAMPLE_MINUTES = 100
"""One page on every venue: how far back a poll can look."""

VALUE_TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class Minute:
    """The minute that was running at a poll, as far as it had come."""

    at: int
    high: float
    low: float
    polled_at: int


class Venue(ABC):
    """A venue through ccxt.

    Every method raises VenueError, or VenueRefusedError where the venue refuses this location, and nothing else.
    """

    id: ClassVar[str]
    market_types: ClassVar[list[str]]
    candle_page: ClassVar[int]
    interest_page: ClassVar[int]

    def __init__(self, gateway: str | None = None) -> None:
        self._exchange: Any = make_exchange(self.id, self.market_types, gateway)
        self._markets: dict[str, Market] = {}
        self._ids: dict[str, Market] = {}
        self.frames_refused = 0

    @property
    def markets(self) -> tuple[Market, ...]:
        return tuple(self._markets.values())

    async def open(self, assets: Sequence[str]) -> None:
        """Load the venue's markets and pick the assets' linear USDT perpetuals."""
        # Again from the venue each time: the library would keep a first, empty answer.
        await self._call(self._exchange.load_markets(True))  # the library's signature
        for asset in assets:
            found = self._exchange.markets.get(f"{asset}/USDT:USDT") if self._exchange.markets else None
            if found and found.get("swap") and found.get("linear") and found.get("active") is not False:
                self._markets[asset] = self._market(asset, found)
        if not self._markets:
            raise VenueError("none of the coins is listed")
        self._ids = {self._exchange.market(market.symbol)["id"]: market for market in self._markets.values()}

    async def close(self) -> None:
        await self._exchange.close()

    def market(self, asset: str) -> Market | None:
        return self._markets.get(asset)

    async def sample(self, market: Market, bar_since: int, before: Minute | None, now: int) -> tuple[Sample, Minute]:
        """The market now, and the minute that was running. Extremes come from one-minute mark candles.

        Args:
            bar_since: when the last closed bar that was read closed.
            before: the minute that was running at the last poll, None if there was none.
        """
        mark, contracts, funding_rate, at = await self._now(market, now)
        earliest = now // MINUTE_MS * MINUTE_MS - (SAMPLE_MINUTES - 1) * MINUTE_MS
        wanted = min(bar_since, before.at if before else bar_since) // MINUTE_MS * MINUTE_MS
        since = max(wanted, earliest)
        rows = await self._candles(market, "1m", MINUTE_MS, since, SAMPLE_MINUTES)
        fresh = [row for row in rows if before is not None and row[0] >= before.at]
        if before is not None and fresh and fresh[0][0] == before.at:
            # Only what is new in a minute that was seen before.
            _, opened, high, low, close = fresh[0]
            fresh[0] = (
                before.at,
                opened,
                high if high > before.high else mark,
                low if low < before.low else mark,
                close,
            )
        in_bar = [row for row in rows if row[0] >= bar_since]
        running = rows[-1] if rows else (now // MINUTE_MS * MINUTE_MS, mark, mark, mark, mark)
        sample = Sample(
            market=market,
            at=at if at is not None else now,
            received_at=now,
            mark=mark,
            high=max([mark, *(row[2] for row in fresh)]),
            low=min([mark, *(row[3] for row in fresh)]),
            bar_high=max([mark, *(row[2] for row in in_bar)]),
            bar_low=min([mark, *(row[3] for row in in_bar)]),
            contracts=contracts,
            funding_rate=funding_rate,
            watched_from=max(before.polled_at, since) if before is not None else now,
        )
        return sample, Minute(running[0], max(running[2], mark), min(running[3], mark), now)

    async def bars(self, market: Market, since: int, until: int, now: int) -> list[Bar]:
        """Closed bars that opened at or after since and closed by until, oldest first.

        The newest are held back until their open interest is known, but not for longer than the grace.
        """
        if until - since < STEP_MS:
            return []
        prices = await self._paged(market, self._candle_rows, self.candle_page, since, until - STEP_MS)
        interest = dict(await self._paged(market, self._interest_rows, self.interest_page, since + STEP_MS, until))
        bars: list[Bar] = []
        for at, opened, high, low, close in prices:
            contracts = interest.get(at + STEP_MS)
            if contracts is None and at + STEP_MS > now - GRACE_MS:
                break
            try:
                bars.append(Bar(at, STEP_MS, opened, high, low, close, contracts))
            except ImplausibleError:
                continue  # a bar that cannot be true is a gap, and a gap stays one
        return bars

    async def watch(self) -> list[Liquidation]:
        """Wait for forced orders; every one of a burst."""
        exchange = self._exchange
        if exchange.frames.empty():
            await self._call(self._subscribe())
        found: list[Liquidation] = []
        while not exchange.frames.empty():
            try:
                found += self._liquidations(exchange.frames.get_nowait())
            except (ImplausibleError, KeyError, TypeError, ValueError, AttributeError):
                self.frames_refused += 1  # one odd frame must not take a burst with it
        return found

    # -- what venues fill in

    @abstractmethod
    async def _now(self, market: Market, now: int) -> tuple[float, float, float | None, int | None]:
        """Mark (USD), contracts open, funding (fraction per 8 hours), the venue's own time."""

    @abstractmethod
    def _contracts(self, market: Market, row: dict[str, Any]) -> float:
        """Contracts from a row of the venue's open interest."""

    @abstractmethod
    async def _subscribe(self) -> None:
        """Wait until the venue's stream has brought something."""

    @abstractmethod
    def _liquidations(self, frame: Any) -> Iterable[Liquidation]:
        """The forced orders of one frame, each with whose it was."""

    # -- shared

    def _market(self, asset: str, found: dict[str, Any]) -> Market:
        size = positive(found.get("contractSize"), f"{self.id} contract size of {asset}")
        rules = margin_rules(self.id, asset)
        offered = (found.get("limits", {}).get("leverage") or {}).get("max")
        return Market(
            self.id,
            found["symbol"],
            asset,
            "linear",
            size,
            rules.maintenance_rate,
            rules.fee_rate,
            float(offered) if offered else rules.max_leverage,
        )

    async def _paged(self, market: Market, rows: Any, page: int, first: int, last: int) -> list[tuple[Any, ...]]:
        """All rows from first to last, page by page; a page that brings nothing new ends a stretch without data."""
        found: list[tuple[Any, ...]] = []
        at = -(-first // STEP_MS) * STEP_MS
        while at <= last:
            count = min(page, (last - at) // STEP_MS + 1)
            got = await rows(market, at, count)
            found += [row for row in got if at <= row[0] <= last and (not found or row[0] > found[-1][0])]
            at += count * STEP_MS
        return found

    async def _candle_rows(self, market: Market, since: int, count: int) -> list[tuple[Any, ...]]:
        return await self._candles(market, "5m", STEP_MS, since, count)

    async def _candles(
        self, market: Market, timeframe: str, step_ms: int, since: int, count: int
    ) -> list[tuple[Any, ...]]:
        params = {"price": "mark", **self._candle_window(since, step_ms, count)}
        got = await self._call(self._exchange.fetch_ohlcv(market.symbol, timeframe, since, count, params))
        return [tuple(row[:5]) for row in got if row and row[0] >= since and all(row[1:5])]

    def _candle_window(self, since: int, step_ms: int, count: int) -> dict[str, Any]:
        return {"until": since + (count - 1) * step_ms}

    async def _interest_rows(self, market: Market, since: int, count: int) -> list[tuple[Any, ...]]:
        # Without `until` ccxt asks for one row too many, and venues that keep the newest then drop the first.
        params = {"until": since + (count - 1) * STEP_MS}
        got = await self._call(self._exchange.fetch_open_interest_history(market.symbol, "5m", since, count, params))
        found = []
        for row in got:
            try:
                found.append((int(row["timestamp"]), self._contracts(market, row)))
            except (ImplausibleError, TypeError, KeyError):
                continue
        return found

    def _checked(self, market: Market, contracts: float | None, value_usd: float | None, mark: float) -> float:
        """Contracts, if their value agrees with what the venue says it is.

        Raises:
            ImplausibleError: when it is off by more than a fifth.
        """
        contracts = positive(contracts, "open interest")
        if (
            value_usd is not None
            and abs(market.usd(contracts, mark) / positive(value_usd, "value") - 1) > VALUE_TOLERANCE
        ):
            raise ImplausibleError(f"open interest of {market.usd(contracts, mark):.3g} USD is called {value_usd:.3g}")
        return contracts

    async def _call(self, awaitable: Any) -> Any:
        try:
            return await awaitable
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # ccxt lets IndexError, KeyError and TypeError of odd answers through
            raise as_venue_error(error) from None


def per_eight_hours(rate: float | None, interval: str | None) -> float | None:
    """A funding rate per interval such as 4h, as a fraction per 8 hours."""
    if rate is None:
        return None
    hours = float(interval.removesuffix("h")) if interval and interval.endswith("h") else 8.0
    return rate * 8 / hours if hours > 0 else rate


def optional(value: Any) -> float | None:
    """A number, or None where a venue left it out."""
    return float(value) if value not in (None, "") else None
