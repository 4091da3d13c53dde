"""Chooses the coins to follow if the operator names none: those with the most open interest, reviewed daily."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence

from engine.board import AssetBoard
from engine.errors import VenueError
from engine.venues.worker import VenueWorker

log = logging.getLogger(__name__)

KEEP_FACTOR = 1.5
"""We drop a coin only when its rank exceeds this many times the wanted count, because ranks change by the hour."""

SURVEY_SECONDS = 60
FALLBACK = ("BTC", "ETH", "SOL")
"""Followed until the first venue answers."""


async def by_open_interest(workers: Sequence[VenueWorker], seconds: float = SURVEY_SECONDS) -> list[str]:
    """Return all coins of the venues that answer in time, the most open interest first."""
    surveys = [asyncio.create_task(worker.open_interest_by_coin()) for worker in workers]
    done, late = await asyncio.wait(surveys, timeout=seconds)
    for open_interest_by_coin in late:
        open_interest_by_coin.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    total: dict[str, float] = {}
    for open_interest_by_coin in done:
        for asset, usd in open_interest_by_coin.result().items():
            total[asset] = total.get(asset, 0.0) + usd
    return sorted(total, key=lambda asset: (-total[asset], asset))


class Universe:
    """Keeps boards and workers on the coins with the most open interest.

    Args:
        boards: boards of the followed coins, changed in place.
        make_board: returns the board of a new coin, from its checkpoint if there is one.
        wanted: returns the coins that have rules, which stay at any rank.
        forget: called for each coin that is dropped.
    """

    def __init__(
        self,
        count: int,
        workers: Sequence[VenueWorker],
        boards: MutableMapping[str, AssetBoard],
        make_board: Callable[[str], Awaitable[AssetBoard]],
        wanted: Callable[[], Collection[str]],
        forget: Callable[[str], Awaitable[None]],
    ) -> None:
        self._count, self._workers, self._boards = count, workers, boards
        self._make_board, self._wanted, self._forget = make_board, wanted, forget

    async def review(self, known: Sequence[str] = ()) -> list[str]:
        """Choose the coins to follow and return them. known: the coins to follow if no venue answers."""
        ranked = await by_open_interest(self._workers) or list(known) or list(self._boards) or list(FALLBACK)
        near = set(ranked[: round(self._count * KEEP_FACTOR)]) | set(self._wanted())
        chosen = list(dict.fromkeys([*ranked[: self._count], *(asset for asset in self._boards if asset in near)]))
        for asset in chosen:
            if asset not in self._boards:
                self._boards[asset] = await self._make_board(asset)
        for worker in self._workers:
            try:
                await worker.follow(chosen)
            except VenueError as error:
                log.info("%s: %s", worker.id, error)
        for asset in [asset for asset in self._boards if asset not in chosen]:
            del self._boards[asset]
            await self._forget(asset)
        return chosen
