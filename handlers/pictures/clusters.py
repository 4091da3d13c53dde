"""Picture of the clusters: expected liquidations of each with its 80% band, ordered by price."""

from __future__ import annotations

from dataclasses import dataclass

from engine.board import AssetBoard
from handlers.answers import PictureRequest
from handlers.i18n import _
from handlers.numbers import label, price, signed_percent, usd
from handlers.pictures.style import TEXT, Frame, families, frame, name_sides, new_figure, png, style, ticks

MOST = 10


@dataclass(frozen=True)
class ClustersPicture:
    """Data of a clusters picture.

    Attributes:
        rows: side, name, expected liquidations and both ends of their band, USD; the highest price first.
        above: number of rows above the mark price.
    """

    frame: Frame
    mark: float
    rows: tuple[tuple[str, str, float, float, float], ...]
    above: int


def clusters_picture(
    board: AssetBoard, request: PictureRequest, now: int, *, simulated: bool = False
) -> ClustersPicture:
    """Take the picture's data from the board."""
    mark = board.view.mark
    nearest = sorted(board.clusters, key=lambda c: abs(c.distance(mark)))[:MOST]
    ordered = sorted(nearest, key=lambda c: -c.label_price)
    title = _("{asset} {price}: expected liquidations by cluster", asset=board.asset, price=price(mark))
    return ClustersPicture(
        frame(board, request, now, title, simulated=simulated, note=_("bars: expected; lines: 80% range")),
        mark,
        tuple(
            (
                c.side,
                f"{label(c.label_price)}  {signed_percent(c.label_price / mark - 1)}",
                c.forced_usd,
                c.forced_low_usd,
                c.forced_high_usd,
            )
            for c in ordered
        ),
        sum(c.label_price > mark for c in ordered),
    )


def draw_clusters(data: ClustersPicture) -> bytes:
    """Return the picture as a PNG."""
    figure, palette = new_figure(data.frame), data.frame.palette
    axes = figure.add_axes((0.31, 0.22, 0.65, 0.60))
    font = families(data.frame.language)
    for place, (side, _name, forced, low, high) in enumerate(data.rows):
        axes.barh(place, forced, height=0.62, color=palette.side(side), linewidth=0)
        axes.plot([low, high], [place, place], color=palette.ink, linewidth=1.4)
        axes.annotate(
            f"~{usd(forced)}",
            (max(high, forced), place),
            xytext=(6, 0),
            textcoords="offset points",
            color=palette.ink,
            fontsize=TEXT,
            va="center",
        )
    axes.axhline(data.above - 0.5, color=palette.ink, linewidth=1.2, linestyle=(0, (4, 4)))
    axes.set_ylim(max(len(data.rows), 3) - 0.4, -0.6)
    axes.set_xlim(0, max((row[4] for row in data.rows), default=1.0) * 1.28)
    axes.set_yticks(range(len(data.rows)), [name for _side, name, *_rest in data.rows])
    axes.xaxis.set_major_locator(ticks())
    axes.xaxis.set_major_formatter(lambda value, _pos: usd(value))
    style(axes, data.frame)
    axes.grid(visible=False, axis="y")
    name_sides(figure, data.frame, 0.83)
    figure.text(0.03, 0.83, _("dashed: price now"), color=palette.faint, fontsize=TEXT, fontfamily=font, va="bottom")
    return png(figure)
