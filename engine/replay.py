"""Replays a recorded history as a feed: one tick per reference bar, with the path that its bars give."""

from __future__ import annotations

from collections.abc import AsyncIterator

from engine.board import AssetBoard
from engine.clock import ManualClock
from engine.errors import HistoryError
from engine.history import History, Step, iso
from engine.market import AssetUpdate, MarketTick, ReportedLiquidation


class ReplayFeed:
    """Yields recorded bars without sockets, as fast as they are consumed, and sets the clock to each bar's close."""

    def __init__(self, history: History, clock: ManualClock, *, since: int = 0, until: int | None = None) -> None:
        self._history, self._clock, self._since, self._until = history, clock, since, until

    def clock_set_back(self, now: int) -> None:
        """Do nothing: a replay has its own clock."""

    async def ticks(self) -> AsyncIterator[MarketTick]:
        """Yield a tick per bar that closes by `until`. Bars up to `since` warm up the map and fire nothing."""
        asset = self._history.market.asset
        for step in self._history.steps(self._until):
            at = self._clock.at = step.bar.closed_at
            yield MarketTick(at, {asset: update_of(step)}, silent=at <= self._since)


def update_of(step: Step) -> AssetUpdate:
    """Convert a recorded step to an update for a board."""
    reported = tuple(ReportedLiquidation(e.at, e.side, e.notional_usd, e.market.key) for e in step.events)
    rows = tuple(sorted(step.rows, key=lambda row: row[1].closed_at))
    return AssetUpdate(bars=rows, reported=reported, by_bars=True)


def board_at(history: History, at: int | None) -> AssetBoard:
    """Return a history's board at a time, UTC ms, by default at its end.

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
