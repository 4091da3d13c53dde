"""Picture of reported liquidations over time and by venue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.board import AssetBoard
from engine.market import HOUR_MS, MINUTE_MS, SIDES
from handlers import wording
from handlers.answers import PictureRequest
from handlers.i18n import _
from handlers.numbers import usd
from handlers.pictures.style import Frame, clock_ticks, frame, name_sides, new_figure, png, style, ticks

STEP_MS = {1: 5 * MINUTE_MS, 4: 15 * MINUTE_MS, 24: HOUR_MS}
"""Length of one bar, ms, by hours shown."""

TICKS_MS = {1: 15 * MINUTE_MS, 4: HOUR_MS, 24: 6 * HOUR_MS}
MAX_VENUES = 4


@dataclass(frozen=True)
class RektPicture:
    """Data of a liquidations picture.

    Attributes:
        at: (n,) float64, starts of the bars, seconds since 1970.
        width: length of a bar, seconds.
        forced: (n, 2) float64, reported liquidations of longs and shorts, USD.
        venues: name, USD of longs, USD of shorts, the largest first.
    """

    frame: Frame
    request: PictureRequest
    at: np.ndarray
    width: float
    forced: np.ndarray
    venues: tuple[tuple[str, float, float], ...]


def rekt_picture(board: AssetBoard, request: PictureRequest, now: int, *, simulated: bool = False) -> RektPicture:
    """Take the picture's data from the board."""
    step = STEP_MS[request.hours]
    count = request.hours * HOUR_MS // step
    start = now - count * step
    forced = np.zeros((count, 2))
    for at, side, amount in board.reported.orders(start):
        forced[min(max((at - start) // step, 0), count - 1), SIDES.index(side)] += amount
    by_venue = board.reported.by_venue(start)
    ranked = sorted(by_venue.items(), key=lambda item: -sum(item[1].values()))[:MAX_VENUES]
    total = usd(float(forced.sum()))
    title = _("{asset}: {usd} liquidated in {hours}h", asset=board.asset, usd=total, hours=request.hours)
    return RektPicture(
        frame(board, request, now, title, simulated=simulated, note=_("feeds under-report")),
        request,
        (start + step * np.arange(count)) / 1000,
        step / 1000,
        forced,
        tuple((wording.venue(name) or _("feeds"), sides["long"], sides["short"]) for name, sides in ranked),
    )


def draw_rekt(data: RektPicture) -> bytes:
    """Return the picture as a PNG: longs downwards, shorts upwards, venues below."""
    figure, palette = new_figure(data.frame), data.frame.palette
    grid = figure.add_gridspec(
        2, 1, height_ratios=(2, 0.5 * max(len(data.venues), 1)), hspace=0.3, left=0.2, right=0.95, top=0.84, bottom=0.23
    )
    axes = figure.add_subplot(grid[0])
    axes.bar(data.at, -data.forced[:, 0], width=data.width, align="edge", color=palette.long, linewidth=0)
    axes.bar(data.at, data.forced[:, 1], width=data.width, align="edge", color=palette.short, linewidth=0)
    axes.axhline(0, color=palette.faint, linewidth=0.8)
    axes.yaxis.set_major_locator(ticks())
    axes.yaxis.set_major_formatter(lambda value, _pos: usd(abs(value)))
    axes.set_xlim(data.at[0], data.at[-1] + data.width)
    ends = (data.at[0], data.at[-1] + data.width)
    clock_ticks(axes, data.request, ends, TICKS_MS[data.request.hours] / 1000, "%H:%M")
    style(axes, data.frame)
    lower = figure.add_subplot(grid[1])
    names = [name for name, _longs, _shorts in data.venues]
    longs, shorts = (np.array([row[column] for row in data.venues]) for column in (1, 2))
    lower.barh(range(len(names)), longs, height=0.6, color=palette.long, linewidth=0)
    lower.barh(range(len(names)), shorts, left=longs, height=0.6, color=palette.short, linewidth=0)
    lower.set_yticks(range(len(names)), names)
    lower.set_ylim(max(len(names), 1) - 0.5, -0.5)
    lower.xaxis.set_major_locator(ticks())
    lower.xaxis.set_major_formatter(lambda value, _pos: usd(value))
    style(lower, data.frame)
    lower.grid(visible=False, axis="y")
    name_sides(figure, data.frame, 0.85)
    return png(figure)
