"""A recorded history as a feed: each bar is a tick, whose path is the bar's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

from engine.board import AssetBoard
from engine.clock import ManualClock
from engine.errors import HistoryError
from engine.history import History, Step, iso
from engine.market import AssetUpdate, MarketTick, ReportedLiquidation


class ReplayFeed:
    """Feeds recorded bars without sockets, as fast as they are taken; the clock is moved to each bar's close."""

    def __init__(self, history: History, clock: ManualClock, *, since: int = 0, until: int | None = None) -> None:
        self._history, self._clock, self._since, self._until = history, clock, since, until

    def clock_set_back(self, now: int) -> None:
        """A replay's clock is its own."""

    async def ticks(self) -> AsyncIterator[MarketTick]:
        """Bars that close up to `until`; those before `since` warm the map up and fire nothing."""
        asset = self._history.market.asset
        for step in self._history.steps(self._until):
            at = self._clock.at = step.bar.closed_at
            yield MarketTick(at, {asset: update_of(step)}, silent=at <= self._since)


def update_of(step: Step) -> AssetUpdate:
    """What a recorded step brings to a board."""
    reported = tuple(ReportedLiquidation(e.at, e.side, e.notional_usd, e.market.key) for e in step.events)
    rows = tuple(sorted(step.rows, key=lambda row: row[1].closed_at))
    return AssetUpdate(bars=rows, reported=reported, by_bars=True)


def board_at(history: History, at: int | None) -> AssetBoard:
    """The board of a history as of a time, its end by default.

    Raises:
        HistoryError: when the history begins later.
    """
    board = AssetBoard(history.market.asset)
    for step in history.steps(at):
        board.advance(update_of(step), step.bar.closed_at)
    if not board.ready:
        raise HistoryError(
            f"nothing is known by {iso(at or 0)}: the history begins at {iso(history.bars[0].opened_at)}"
        )
    return board
