"""Picture of a track record: predicted and reported liquidations by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from engine.board import AssetBoard
from engine.calibration.track_record import TrackRecord
from engine.market import DAY_MS, SIDES, Side
from handlers import wording
from handlers.answers import PictureRequest
from handlers.i18n import _
from handlers.numbers import usd
from handlers.pictures.style import TEXT, Frame, families, frame, new_figure, png, style, ticks, write_right

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MIN_USD = 1e5
"""Lower end of the axis, USD a day: a log scale has no zero."""


@dataclass(frozen=True)
class SkillPicture:
    """Data of a skill picture.

    Attributes:
        days: (n,) int64, days since 1970, UTC.
        expected, reported: (n, 2) float64, USD a day of longs and shorts.
    """

    frame: Frame
    days: np.ndarray
    expected: np.ndarray
    reported: np.ndarray


def skill_picture(
    board: AssetBoard, record: TrackRecord, request: PictureRequest, now: int, *, simulated: bool = False
) -> SkillPicture:
    """Take the picture's data from a track record."""
    table = np.array(record.days_usd, dtype=np.float64).reshape(-1, 5)
    note = _("each hour predicted from earlier data, given its high and low")
    title = _("{asset}: predicted vs reported, by day", asset=record.asset)
    return SkillPicture(
        frame(board, request, now, title, simulated=simulated, note=note),
        (table[:, 0] // DAY_MS).astype(np.int64),
        table[:, 1:3],
        table[:, 3:5],
    )


def draw_skill(data: SkillPicture) -> bytes:
    """Return the picture as a PNG: longs above, shorts below; bars are reported, lines predicted."""
    figure = new_figure(data.frame)
    grid = figure.add_gridspec(2, 1, hspace=0.16, left=0.19, right=0.96, top=0.84, bottom=0.24)
    for row, side in enumerate(SIDES):
        _draw_side(figure.add_subplot(grid[row]), data, row, side, last=row == 1)
    legend = _("bars: reported; line: predicted")
    write_right(figure, data.frame, (0.96, 0.85), legend, data.frame.palette.faint)
    return png(figure)


def _draw_side(axes: Axes, data: SkillPicture, column: int, side: Side, *, last: bool) -> None:
    palette = data.frame.palette
    axes.bar(data.days, data.reported[:, column], width=0.8, color=palette.side(side), alpha=0.75, linewidth=0)
    axes.plot(data.days, data.expected[:, column], color=palette.ink, linewidth=1.8, marker="o", markersize=3.5)
    axes.set_yscale("log")
    axes.set_ylim(bottom=MIN_USD)
    font = families(data.frame.language)
    axes.set_ylabel(wording.sides(side), color=palette.side(side), fontsize=TEXT, fontfamily=font)
    axes.yaxis.set_major_formatter(lambda value, _pos: usd(value))
    axes.xaxis.set_major_locator(ticks())
    axes.xaxis.set_major_formatter(lambda day, _pos: datetime.fromtimestamp(day * 86_400, UTC).strftime("%m-%d"))
    axes.tick_params(labelbottom=last)
    style(axes, data.frame)
