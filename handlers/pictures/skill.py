"""A track record as a picture: predicted against reported, day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from engine.announce import source_facts
from engine.board import AssetBoard
from engine.market import DAY_MS
from engine.track import TrackRecord
from handlers import wording
from handlers.numbers import usd
from handlers.pictures.style import FAINT, INK, LONG, SHORT, new_figure, png, style, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


LEAST_USD = 1e5
"""Days are shown from here on: a scale in logs has no nothing."""


@dataclass(frozen=True)
class SkillPicture:
    """What a picture of skill shows.

    Attributes:
        days: (n,) int64, days since 1970, UTC.
        expected, reported: (n, 2) float64, USD a day of longs and shorts.
    """

    title: str
    source: str
    days: np.ndarray
    expected: np.ndarray
    reported: np.ndarray


def skill_picture(board: AssetBoard, record: TrackRecord, now: int, *, simulated: bool = False) -> SkillPicture:
    """Take what the picture shows from a track record."""
    stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%d %b %Y %H:%M UTC")
    source = wording.sources(source_facts(board, now))
    marked = f"{wording.SIMULATED} " if simulated else ""
    table = np.array(record.days_usd, dtype=np.float64).reshape(-1, 5)
    return SkillPicture(
        f"{marked}{record.asset}: liquidations predicted and reported, by day",
        f"{stamp} · {source}\nEach hour from what came before it, given its high and low. {wording.DISCLAIMER}",
        (table[:, 0] // DAY_MS).astype(np.int64),
        table[:, 1:3],
        table[:, 3:5],
    )


def draw_skill(data: SkillPicture) -> bytes:
    """The picture as a PNG: longs above, shorts below; bars are reported, lines predicted."""
    figure = new_figure()
    grid = figure.add_gridspec(2, 1, hspace=0.18, left=0.12, right=0.97, top=0.87, bottom=0.16)
    for row, (name, colour) in enumerate((("longs", LONG), ("shorts", SHORT))):
        _draw_side(figure.add_subplot(grid[row]), data, row, name, colour)
    figure.text(0.02, 0.945, data.title, color=INK, fontsize=12.5, weight="bold")
    figure.text(0.97, 0.895, "bars reported, line predicted", color=FAINT, fontsize=10, ha="right")
    figure.text(0.02, 0.02, data.source, color=FAINT, fontsize=8.5, linespacing=1.4)
    return png(figure)


def _draw_side(axes: Axes, data: SkillPicture, side: int, name: str, colour: str) -> None:
    style(axes)
    axes.bar(data.days, data.reported[:, side], width=0.8, color=colour, alpha=0.75, linewidth=0)
    axes.plot(data.days, data.expected[:, side], color=INK, linewidth=1.6, marker="o", markersize=3)
    axes.set_yscale("log")
    axes.set_ylim(bottom=LEAST_USD)
    axes.set_ylabel(name, color=colour, fontsize=10)
    axes.yaxis.set_major_formatter(lambda value, _: usd(value))
    axes.xaxis.set_major_locator(ticks())
    axes.xaxis.set_major_formatter(lambda day, _: datetime.fromtimestamp(day * 86_400, UTC).strftime("%d %b"))
