"""Style shared by all pictures: size, colours, fonts, title and footer."""

from __future__ import annotations

import io
import math
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from engine.board import AssetBoard
from engine.facts import source_facts
from handlers import wording
from handlers.answers import PictureRequest
from handlers.i18n import SOURCE, _

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES, DPI = (7.2, 6.4), 150
"""1080 by 960 pixels. A small phone shows a picture 320 pixels wide, where letters need nine pixels."""

TITLE, TEXT, FOOT = 16.5, 14.0, 12.5
"""Font sizes, points."""

TITLE_WIDTH, FOOT_WIDTH, FOOT_LINES = 46, 66, 3


@dataclass(frozen=True)
class Palette:
    """Colours of a picture. Blue and orange differ in lightness too and suit common colour blindness."""

    background: str
    ink: str
    faint: str
    line: str
    long: str
    short: str

    def side(self, side: str) -> str:
        return self.long if side == "long" else self.short


DARK = Palette("#11151c", "#e6e9ef", "#9aa4b5", "#2a313d", "#4fa3ff", "#ffb347")
LIGHT = Palette("#ffffff", "#14181f", "#566072", "#d9dee7", "#1463b8", "#c96a00")


@dataclass(frozen=True)
class Frame:
    """Frame of a picture: title, footer, colours and language."""

    title: str
    foot: str
    palette: Palette
    language: str


def frame(
    board: AssetBoard, request: PictureRequest, now: int, title: str, *, simulated: bool, note: str = ""
) -> Frame:
    """Return the frame of a board's picture, with local time, venues and data age in the footer."""
    moment = datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(request.timezone))
    marked = f"{_(wording.SIMULATED)} " if simulated else ""
    foot = " · ".join(
        part
        for part in (
            f"{moment:%Y-%m-%d %H:%M %Z}",
            wording.sources(source_facts(board, now), shares=True),
            note,
            wording.disclaimer(),
        )
        if part
    )
    return Frame(marked + title, foot, LIGHT if request.light else DARK, request.language)


def new_figure(of: Frame) -> Figure:
    """Return an empty picture with title and footer. Uses no global state of matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DPI, facecolor=of.palette.background)
    FigureCanvasAgg(figure)
    title = "\n".join(_wrapped(of.title, TITLE_WIDTH, 2))
    font = families(of.language)
    figure.text(0.03, 0.975, title, color=of.palette.ink, fontsize=TITLE, weight="bold", va="top", fontfamily=font)
    foot = "\n".join(_wrapped(of.foot, FOOT_WIDTH, FOOT_LINES))
    figure.text(
        0.03, 0.015, foot, color=of.palette.faint, fontsize=FOOT, va="bottom", linespacing=1.25, fontfamily=font
    )
    return figure


def write_right(figure: Figure, of: Frame, place: tuple[float, float], text: str, colour: str) -> None:
    """Write a text whose lower right corner is at a place, given as shares of the picture."""
    figure.text(*place, text, color=colour, fontsize=TEXT, fontfamily=families(of.language), ha="right", va="bottom")


def name_sides(figure: Figure, of: Frame, top: float, left: float = 0.80, right: float = 0.96) -> None:
    """Write "longs" and "shorts" in their colours above a panel."""
    write_right(figure, of, (left, top), wording.sides("long"), of.palette.long)
    write_right(figure, of, (right, top), wording.sides("short"), of.palette.short)


def _wrapped(text: str, width: int, lines: int) -> list[str]:
    wide = sum(ord(letter) > 0x2E80 for letter in text) > len(text) / 4  # CJK letters are twice as wide
    return textwrap.wrap(text, width // 2 if wide else width, max_lines=lines, placeholder=" …")


def png(figure: Figure) -> bytes:
    """Return the picture as a PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=figure.get_facecolor())
    return out.getvalue()


def style(axes: Axes, of: Frame) -> None:
    """Give axes a faint grid and readable labels."""
    palette = of.palette
    axes.set_facecolor(palette.background)
    axes.tick_params(colors=palette.faint, labelsize=TEXT, length=0)
    for letter in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        letter.set_fontfamily(families(of.language))
    for spine in axes.spines.values():
        spine.set_color(palette.line)
    axes.grid(color=palette.line, linewidth=0.6)


def ticks(most: int = 3) -> Any:
    """Return a locator of few ticks, with none at the lower end."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most, prune="lower")


def clock_ticks(axes: Axes, request: PictureRequest, ends: tuple[float, float], step: float, pattern: str) -> None:
    """Put ticks at round local times, step seconds apart, on an axis in seconds since 1970."""
    zone = ZoneInfo(request.timezone)
    offset = datetime.fromtimestamp(ends[1], UTC).astimezone(zone).utcoffset() or timedelta()
    shift = offset.total_seconds()
    first = math.ceil((ends[0] + shift) / step) * step - shift
    axes.set_xticks(np.arange(first, ends[1] + 1, step).tolist())
    axes.xaxis.set_major_formatter(lambda at, _pos: datetime.fromtimestamp(at, UTC).astimezone(zone).strftime(pattern))


def rgb(colour: str) -> tuple[float, float, float]:
    """Return a colour as fractions of red, green and blue."""
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
)


@lru_cache
def families(language: str) -> list[str]:
    """Return fonts for a language, the best first. Matplotlib's default font has no Chinese letters."""
    from matplotlib import font_manager

    own = ["DejaVu Sans"]
    if not language.startswith("zh"):
        return own
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in _CHINESE if name in installed] + own


def drawable(language: str) -> str:
    """Return the language to draw in: English if this machine has no font for the requested one."""
    return language if not language.startswith("zh") or len(families(language)) > 1 else SOURCE
