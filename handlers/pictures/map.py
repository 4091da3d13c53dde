"""The map as a picture: what is drawn is taken from the board on the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from engine.announce import source_facts
from engine.board import AssetBoard
from engine.liquidation.grid import bin_of, outward, prices_outward
from engine.market import HOUR_MS, SIDES, Side
from handlers import wording
from handlers.answers import PictureRequest
from handlers.numbers import label, price, usd
from handlers.pictures.style import BACKGROUND, FAINT, INK, LONG, SHORT, new_figure, png, rgb, style, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAST_HOURS = 96
ROWS = 160
LABEL_GAP = 0.055
"""Least distance between two labels, as a share of the picture's height."""


@dataclass(frozen=True)
class MapPicture:
    """What a map picture shows.

    Attributes:
        hours: (n,) float64, hours before now, negative.
        marks: (n,) float64, USD.
        prices: (ROWS + 1,) float64, bounds of the rows, USD.
        heat: per side (ROWS, n) float64, USD open by row and hour.
        now: per side (ROWS,) float64, USD open by row at present.
        clusters: side, label price, low, high, forced USD.
    """

    title: str
    source: str
    mark: float
    hours: np.ndarray
    marks: np.ndarray
    prices: np.ndarray
    heat: dict[Side, np.ndarray]
    now: dict[Side, np.ndarray]
    clusters: tuple[tuple[Side, float, float, float, float], ...]


def map_picture(board: AssetBoard, request: PictureRequest, now: int, *, simulated: bool = False) -> MapPicture:
    """Take what the picture shows from the board."""
    mark, reach = board.view.mark, request.reach
    prices = mark * np.exp(np.linspace(-reach, reach, ROWS + 1))
    past = board.usual.past(PAST_HOURS)
    heat = {
        side: np.stack([_rows(side, shot.mark, shot.density[side], prices) for shot in past], axis=1)
        if past
        else np.zeros((ROWS, 0))
        for side in SIDES
    }
    source = wording.sources(source_facts(board, now), shares=True)
    stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%d %b %Y %H:%M UTC")
    marked = f"{wording.SIMULATED} " if simulated else ""
    return MapPicture(
        f"{marked}{board.asset} {price(mark)}: open positions by liquidation level",
        f"{stamp} · {source}\n{wording.DISCLAIMER}",
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
    )


def _rows(side: Side, mark: float, density: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """USD by row of the picture, from USD by level outward from a mark."""
    levels = prices_outward(side, outward(side, bin_of(mark)) + 1, len(density))
    return np.histogram(levels, bins=prices, weights=density)[0]


def draw_map(data: MapPicture) -> bytes:
    """The map as a PNG, 1080 by 810 pixels. Uses no global state of the drawing library."""
    figure = new_figure()
    grid = figure.add_gridspec(1, 2, width_ratios=(3.2, 1), wspace=0.03, left=0.11, right=0.97, top=0.88, bottom=0.16)
    left = figure.add_subplot(grid[0])
    right = figure.add_subplot(grid[1], sharey=left)
    _draw_heat(left, data)
    _draw_bars(right, data)
    _draw_clusters(left, right, data)
    figure.text(0.02, 0.945, data.title, color=INK, fontsize=12.5, weight="bold")
    figure.text(0.86, 0.895, "longs", color=LONG, fontsize=10, ha="right")
    figure.text(0.97, 0.895, "shorts", color=SHORT, fontsize=10, ha="right")
    figure.text(0.02, 0.02, data.source, color=FAINT, fontsize=8.5, linespacing=1.4)
    return png(figure)


def _draw_heat(axes: Axes, data: MapPicture) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    style(axes)
    axes.set_ylim(data.prices[0], data.prices[-1])
    axes.set_xlim(-PAST_HOURS, 0)
    if len(data.hours) > 1:
        top = max(float(np.quantile(np.concatenate([data.heat[side].ravel() for side in SIDES]), 0.995)), 1.0)
        times = np.append(data.hours - 1, data.hours[-1])
        for side, colour in (("long", LONG), ("short", SHORT)):
            clear = LinearSegmentedColormap.from_list(side, [(*rgb(colour), 0.0), (*rgb(colour), 1.0)])
            heat = data.heat["long" if side == "long" else "short"]
            axes.pcolormesh(times, data.prices, heat, cmap=clear, vmin=0, vmax=top, shading="flat", rasterized=True)
        axes.plot(np.append(data.hours, 0), np.append(data.marks, data.mark), color=INK, linewidth=1.4)
    axes.axhline(data.mark, color=INK, linewidth=0.6, linestyle=(0, (4, 4)), alpha=0.6)
    axes.set_xlabel("hours before now", color=FAINT, fontsize=9)
    axes.yaxis.set_major_formatter(lambda value, _: label(value))


def _draw_bars(axes: Axes, data: MapPicture) -> None:
    style(axes)
    heights = np.diff(data.prices)
    middles = data.prices[:-1] + heights / 2
    for side, colour in (("long", LONG), ("short", SHORT)):
        amounts = data.now["long" if side == "long" else "short"]
        axes.barh(middles, amounts, height=heights, color=colour, linewidth=0)
    axes.tick_params(labelleft=False)
    axes.xaxis.set_major_locator(ticks())
    axes.xaxis.set_major_formatter(lambda value, _: usd(value))
    axes.set_xlabel("open per row", color=FAINT, fontsize=9)


def apart(wanted: Sequence[float], gap: float, bottom: float, top: float) -> list[float]:
    """Places for labels as near as may be to where they are wanted, rising, none nearer to another than the gap."""
    places: list[float] = []
    for place in wanted:
        least = places[-1] + gap if places else bottom + gap / 2
        places.append(max(place, least))
    for i in range(len(places) - 1, -1, -1):
        most = places[i + 1] - gap if i + 1 < len(places) else top - gap / 2
        places[i] = min(places[i], most)
    return places


def _draw_clusters(left: Axes, right: Axes, data: MapPicture) -> None:
    clusters = sorted(data.clusters, key=lambda cluster: cluster[2] + cluster[3])
    bottom, top = float(data.prices[0]), float(data.prices[-1])
    places = apart([(low + high) / 2 for _, _, low, high, _ in clusters], LABEL_GAP * (top - bottom), bottom, top)
    for (side, name, low, high, forced), place in zip(clusters, places, strict=True):
        colour = LONG if side == "long" else SHORT
        for axes in (left, right):
            axes.axhspan(low, high, facecolor=colour, alpha=0.16, linewidth=0)
        left.annotate(
            f"{side} {label(name)}  ~{usd(forced)}",
            (0.015, place),
            xycoords=("axes fraction", "data"),
            color=INK,
            fontsize=9.5,
            va="center",
            bbox={"boxstyle": "round,pad=0.25", "facecolor": BACKGROUND, "edgecolor": colour, "alpha": 0.85},
        )
