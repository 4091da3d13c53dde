"""Picture of the market: price, open interest in coins, and reported liquidations by hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.board import AssetBoard
from engine.facts import market_facts
from engine.market import DAY_MS, HOUR_MS
from handlers import wording
from handlers.answers import PictureRequest
from handlers.i18n import _
from handlers.numbers import label, price, usd
from handlers.pictures.style import TEXT, Frame, clock_ticks, families, frame, name_sides, new_figure, png, style, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAST_HOURS = 168


@dataclass(frozen=True)
class MarketPicture:
    """Data of a market picture.

    Attributes:
        at: (n,) float64, snapshot times, seconds since 1970.
        marks: (n,) float64, USD.
        interest: (n,) float64, open interest in coins.
        forced_at: (m,) float64, starts of hours, seconds since 1970.
        forced: (m, 2) float64, reported liquidations of longs and shorts, USD; NaN without a feed.
    """

    frame: Frame
    request: PictureRequest
    at: np.ndarray
    marks: np.ndarray
    interest: np.ndarray
    forced_at: np.ndarray
    forced: np.ndarray


def market_picture(board: AssetBoard, request: PictureRequest, now: int, *, simulated: bool = False) -> MarketPicture:
    """Take the picture's data from the board."""
    past, hours = board.usual.past(PAST_HOURS), board.hours.hours(PAST_HOURS)
    rate = market_facts(board, now).funding_rate
    title = _("{asset} {price}: the last {days} days", asset=board.asset, price=price(board.view.mark), days=7)
    marks = np.array([shot.mark for shot in past])
    return MarketPicture(
        frame(board, request, now, title, simulated=simulated, note=wording.funding(rate)),
        request,
        np.array([shot.at / 1000 for shot in past]),
        marks,
        np.array([shot.interest_usd for shot in past]) / marks if len(past) else marks,
        hours.at / 1000,
        hours.reported,
    )


def draw_market(data: MarketPicture) -> bytes:
    """Return the picture as a PNG: three panels over one time axis."""
    figure, palette = new_figure(data.frame), data.frame.palette
    grid = figure.add_gridspec(3, 1, hspace=0.34, left=0.17, right=0.96, top=0.86, bottom=0.19)
    panels = [figure.add_subplot(grid[0])]
    panels += [figure.add_subplot(grid[row], sharex=panels[0]) for row in (1, 2)]
    panels[0].plot(data.at, data.marks, color=palette.ink, linewidth=1.8)
    panels[0].yaxis.set_major_formatter(lambda value, _pos: label(value))
    panels[1].plot(data.at, data.interest, color=palette.ink, linewidth=1.8)
    panels[1].yaxis.set_major_formatter(lambda value, _pos: usd(value).removeprefix("$"))
    _draw_forced(panels[2], data)
    names = (_("price"), _("open interest, {asset}", asset=data.request.asset), _("liquidated per hour"))
    for number, (axes, name) in enumerate(zip(panels, names, strict=True)):
        axes.yaxis.set_major_locator(ticks())
        if len(data.at):
            clock_ticks(axes, data.request, (data.at[0], data.at[-1]), 2 * DAY_MS / 1000, "%m-%d")
        axes.tick_params(labelbottom=number == 2)
        style(axes, data.frame)
        font = families(data.frame.language)
        axes.set_title(name, color=palette.faint, fontsize=TEXT, loc="left", pad=4, fontfamily=font)
    name_sides(figure, data.frame, panels[2].get_position().y1 + 0.008)
    return png(figure)


def _draw_forced(axes: Axes, data: MarketPicture) -> None:
    """Draw longs downwards and shorts upwards, the direction in which price moved."""
    if np.isnan(data.forced).all():
        caption = _("no liquidation feed yet")
        font = families(data.frame.language)
        at = (0.5, 0.5)
        axes.annotate(
            caption,
            at,
            xycoords="axes fraction",
            color=data.frame.palette.faint,
            fontsize=TEXT,
            fontfamily=font,
            ha="center",
            va="center",
        )
        axes.set_yticks([])
        return
    longs, shorts = np.nan_to_num(data.forced).T
    width = HOUR_MS / 1000
    axes.bar(data.forced_at, -longs, width=width, align="edge", color=data.frame.palette.long, linewidth=0)
    axes.bar(data.forced_at, shorts, width=width, align="edge", color=data.frame.palette.short, linewidth=0)
    axes.yaxis.set_major_formatter(lambda value, _pos: usd(abs(value)))
