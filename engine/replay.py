"""A recorded history as a feed: each bar is a tick, whose path is the bar's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

from engine.board import AssetBoard, AssetUpdate
from engine.clock import ManualClock
from engine.errors import HistoryError
from engine.history import History, iso
from engine.ports import Delivered


class ReplayFeed:
    """Feeds recorded bars without sockets, as fast as they are taken; the clock is moved to each bar's close."""

    def __init__(self, history: History, clock: ManualClock, *, since: int = 0, until: int | None = None) -> None:
        self._history, self._clock, self._since, self._until = history, clock, since, until

    async def ticks(self) -> AsyncIterator[Delivered]:
        """Bars that close up to `until`; those before `since` warm the map up and fire nothing."""
        for bar in self._history.bars:
            if self._until is not None and bar.closed_at > self._until:
                return
            self._clock.at = bar.closed_at
            update = AssetUpdate(path=bar.path, bars=((self._history.market, bar),))
            yield Delivered(bar.closed_at, {self._history.market.asset: update}, silent=bar.closed_at <= self._since)


def board_at(history: History, at: int | None) -> AssetBoard:
    """The board of a history as of a time, its end by default.

    Raises:
        HistoryError: when the history begins later.
    """
    board = AssetBoard(history.market.asset)
    for bar in history.until(at if at is not None else history.bars[-1].closed_at):
        board.advance(AssetUpdate(path=bar.path, bars=((history.market, bar),)), bar.closed_at)
    if not board.ready:
        raise HistoryError(
            f"nothing is known by {iso(at or 0)}: the history begins at {iso(history.bars[0].opened_at)}"
        )
    return board
