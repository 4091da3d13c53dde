"""What all pictures share: size, colours, axes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BACKGROUND = "#11151c"
INK = "#e6e9ef"
FAINT = "#7b8494"
LONG = "#4fa3ff"
SHORT = "#ffb347"
"""Blue and orange: told apart by every common colour vision."""


def new_figure() -> Figure:
    """An empty picture, 1080 by 810 pixels. Uses no global state of the drawing library."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.4), dpi=150, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The picture as a PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=BACKGROUND)
    return out.getvalue()


def style(axes: Axes) -> None:
    """Dark axes with a faint grid."""
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(colors=FAINT, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color("#2a313d")
    axes.grid(color="#2a313d", linewidth=0.5)


def ticks() -> Any:
    """Few ticks, none at the lower end."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, prune="lower")


def rgb(colour: str) -> tuple[float, float, float]:
    """A colour as fractions of red, green and blue."""
    from matplotlib.colors import to_rgb

    return to_rgb(colour)
