"""Picture of the liquidation map over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.board import AssetBoard
from engine.facts import source_facts
from engine.liquidation.grid import BIN, bin_of, outward, prices_outward
from engine.market import HOUR_MS, SIDES, Side
from handlers import wording
from handlers.answers import PictureRequest
from handlers.i18n import _
from handlers.numbers import label, price, usd
from handlers.pictures.style import FOOT, TEXT, Frame, families, frame, name_sides, new_figure, png, rgb, style, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAST_HOURS = 96
MAX_ROWS = 160
LABEL_GAP = 0.075
"""Minimum distance between two labels, as a share of the axis height."""

MAX_LABELS = 8
NAMED_SHARE = 0.14
"""Minimum share of the strip for which a venue's name fits into its segment."""


@dataclass(frozen=True)
class MapPicture:
    """Data of a map picture.

    Attributes:
        hours: (n,) float64, hours before now, negative.
        marks: (n,) float64, USD.
        prices: (r + 1,) float64, bounds of the rows, USD.
        heat: per side (r, n) float64, USD open by row and hour.
        now: per side (r,) float64, USD open by row at present.
        clusters: side, label price, low, high, expected liquidations in USD.
        venues: name and share of the open interest, the largest first.
    """

    frame: Frame
    mark: float
    hours: np.ndarray
    marks: np.ndarray
    prices: np.ndarray
    heat: dict[Side, np.ndarray]
    now: dict[Side, np.ndarray]
    clusters: tuple[tuple[Side, float, float, float, float], ...]
    venues: tuple[tuple[str, float], ...]


def map_picture(board: AssetBoard, request: PictureRequest, now: int, *, simulated: bool = False) -> MapPicture:
    """Take the picture's data from the board."""
    mark, reach = board.view.mark, request.reach
    # A row finer than a price level would leave empty rows in between.
    prices = mark * np.exp(np.linspace(-reach, reach, min(MAX_ROWS, max(int(2 * reach / BIN), 8)) + 1))
    past = board.usual.past(PAST_HOURS)
    heat = {
        side: np.stack([_rows(side, shot.mark, shot.density[side], prices) for shot in past], axis=1)
        if past
        else np.zeros((len(prices) - 1, 0))
        for side in SIDES
    }
    title = _("{asset} {price}: open positions by liquidation level", asset=board.asset, price=price(mark))
    shares = source_facts(board, now)["venues"]
    return MapPicture(
        frame(board, request, now, title, simulated=simulated),
        mark,
        np.array([(shot.at - now) / HOUR_MS for shot in past]),
        np.array([shot.mark for shot in past]),
        prices,
        heat,
        {side: _rows(side, mark, board.view.open_usd[side], prices) for side in SIDES},
        tuple(
            (c.side, c.label_price, c.low, c.high, c.forced_usd)
            for c in board.clusters
            if prices[0] < c.label_price < prices[-1]
        ),
        tuple((wording.venue(name), share) for name, share in sorted(shares.items(), key=lambda item: -item[1])),
    )


def _rows(side: Side, mark: float, density: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """Return USD by row of the picture, from USD by price level outward from a mark."""
    levels = prices_outward(side, outward(side, bin_of(mark)) + 1, len(density))
    return np.histogram(levels, bins=prices, weights=density)[0]


def draw_map(data: MapPicture) -> bytes:
    """Return the map as a PNG, 1080 by 960 pixels. Uses no global state of matplotlib."""
    figure = new_figure(data.frame)
    grid = figure.add_gridspec(1, 2, width_ratios=(2.9, 1), wspace=0.04, left=0.15, right=0.97, top=0.82, bottom=0.21)
    left = figure.add_subplot(grid[0])
    right = figure.add_subplot(grid[1], sharey=left)
    _draw_heat(left, data)
    _draw_bars(right, data)
    _draw_clusters(left, right, data)
    name_sides(figure, data.frame, 0.828, 0.85, 0.97)
    _draw_venues(figure, data)
    return png(figure)


def _draw_venues(figure: Figure, data: MapPicture) -> None:
    """Draw a strip divided by the venues' shares of open interest."""
    if len(data.venues) < 2:
        return
    palette = data.frame.palette
    axes = figure.add_axes((0.15, 0.832, 0.56, 0.034))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    start = 0.0
    for number, (name, share) in enumerate(data.venues):
        axes.barh(0, share, left=start, height=1, color=palette.faint, alpha=0.55 - 0.1 * (number % 4), linewidth=0)
        if share >= NAMED_SHARE:
            caption = f"{name} {share * 100:.0f}%"
            axes.text(start + share / 2, 0, caption, color=palette.ink, fontsize=FOOT - 1.5, ha="center", va="center")
        start += share


def _draw_heat(axes: Axes, data: MapPicture) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    palette = data.frame.palette
    axes.set_ylim(data.prices[0], data.prices[-1])
    axes.set_xlim(-PAST_HOURS, 0)
    if len(data.hours) > 1:
        top = max(float(np.quantile(np.concatenate([data.heat[side].ravel() for side in SIDES]), 0.995)), 1.0)
        times = np.append(data.hours - 1, data.hours[-1])
        for side in SIDES:
            colour = rgb(palette.side(side))
            clear = LinearSegmentedColormap.from_list(side, [(*colour, 0.0), (*colour, 1.0)])
            heat = data.heat[side]
            axes.pcolormesh(times, data.prices, heat, cmap=clear, vmin=0, vmax=top, shading="flat", rasterized=True)
        axes.plot(np.append(data.hours, 0), np.append(data.marks, data.mark), color=palette.ink, linewidth=1.6)
    axes.axhline(data.mark, color=palette.ink, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.6)
    axes.set_xticks([-72, -48, -24])
    font = families(data.frame.language)
    axes.set_xlabel(_("hours ago"), color=palette.faint, fontsize=TEXT, fontfamily=font)
    axes.yaxis.set_major_formatter(lambda value, _pos: label(value))
    style(axes, data.frame)


def _draw_bars(axes: Axes, data: MapPicture) -> None:
    heights = np.diff(data.prices)
    middles = data.prices[:-1] + heights / 2
    for side in SIDES:
        axes.barh(middles, data.now[side], height=heights, color=data.frame.palette.side(side), linewidth=0)
    axes.tick_params(labelleft=False)
    axes.xaxis.set_major_locator(ticks(2))
    axes.xaxis.set_major_formatter(lambda value, _pos: usd(value))
    font = families(data.frame.language)
    axes.set_xlabel(_("open per row"), color=data.frame.palette.faint, fontsize=TEXT, fontfamily=font)
    style(axes, data.frame)


def apart(wanted: Sequence[float], gap: float, bottom: float, top: float) -> list[float]:
    """Return ascending label positions, at least gap apart and close to the wanted ones."""
    places: list[float] = []
    for place in wanted:
        least = places[-1] + gap if places else bottom + gap / 2
        places.append(max(place, least))
    for i in range(len(places) - 1, -1, -1):
        most = places[i + 1] - gap if i + 1 < len(places) else top - gap / 2
        places[i] = min(places[i], most)
    return places


def _draw_clusters(left: Axes, right: Axes, data: MapPicture) -> None:
    palette = data.frame.palette
    for side, _name, low, high, _forced in data.clusters:
        for axes in (left, right):
            axes.axhspan(low, high, facecolor=palette.side(side), alpha=0.16, linewidth=0)
    largest = sorted(data.clusters, key=lambda cluster: -cluster[4])[:MAX_LABELS]
    named = sorted(largest, key=lambda cluster: cluster[2] + cluster[3])
    bottom, top = float(data.prices[0]), float(data.prices[-1])
    places = apart([(low + high) / 2 for *_rest, low, high, _forced in named], LABEL_GAP * (top - bottom), bottom, top)
    for (side, name, _low, _high, forced), place in zip(named, places, strict=True):
        box = {"boxstyle": "round,pad=0.2", "facecolor": palette.background, "edgecolor": palette.side(side)}
        left.annotate(
            f"{wording.sides(side)} {label(name)} ~{usd(forced)}",
            (0.02, place),
            xycoords=("axes fraction", "data"),
            color=palette.ink,
            fontsize=TEXT - 1,
            fontfamily=families(data.frame.language),
            va="center",
            bbox=box | {"alpha": 0.85},
        )
