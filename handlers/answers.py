"""What a command answers, before any face renders it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any

MAX_LINES = 8
TABLE_WIDTH = 34

BLANK = "?"
"""Stands in a button's command for what whoever presses it is asked for."""

HERE = "!"
"""Before a button's command: its answer takes the place of the message that has the button."""


@dataclass(frozen=True, slots=True)
class Button:
    """A label and the command that pressing it stands for; the presser needs the right to give that command.

    Attributes:
        command: a command line; with the word ? in it, whoever presses is asked for what stands there.
        here: the answer takes the place of the message.
    """

    label: str
    command: str
    here: bool = False

    @property
    def code(self) -> str:
        """The command as a platform keeps it with a button: all there is to know when it is pressed, days later."""
        return f"{HERE if self.here else ''}{self.command}"


CLOSE = f"{HERE}/close"
"""The code of a button that takes its own message away; each face does that itself."""


@dataclass(frozen=True, slots=True)
class Press:
    """What a pressed button stands for."""

    command: str
    here: bool

    @property
    def asks(self) -> bool:
        """Whether a word is still missing."""
        return BLANK in self.command.split()

    def filled(self, word: str) -> str:
        """The command with what was asked for."""
        return " ".join(word if part == BLANK else part for part in self.command.split())


def pressed(code: str) -> Press:
    """What a button's code stands for."""
    return Press(code.removeprefix(HERE), code.startswith(HERE))


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """A picture to draw: of what, of which asset, how far in price (a fraction either way), and the same in words.

    Attributes:
        hours: how far back, for pictures that look back.
        light: dark ink on white.
        language, timezone: of its words and its clock.
    """

    kind: str
    asset: str
    reach: float
    alt: str
    hours: int = 0
    light: bool = False
    language: str = "en"
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Answer:
    """The one number asked for first, then what it means, then where it comes from, and a tap to what is next.

    Attributes:
        headline: what a push shows; plain text.
        lines: at most eight short lines, plain text.
        table: rows of cells, the first its head; at most 34 characters wide when set.
        data: the same facts for machines, JSON values.
        private: nobody's business but whoever asked: in a group it goes to them alone.
        changed: it changed what a chat has set, so a group's log keeps who gave the command.
        notice: a word about the asking itself, which takes the place of nothing.
        asks: a command line with a blank: what is typed next stands there.
        file: name and bytes of a file that goes with it.
    """

    headline: str
    lines: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    footer: str = ""
    buttons: tuple[Button, ...] = ()
    picture: PictureRequest | None = None
    data: dict[str, Any] = field(default_factory=dict)
    private: bool = False
    changed: bool = False
    notice: bool = False
    asks: str = ""
    file: tuple[str, bytes] | None = None

    @property
    def text(self) -> str:
        """The whole answer as plain text."""
        parts = [self.headline, *self.lines]
        if self.table:
            parts.append(set_table(self.table))
        if self.footer:
            parts.append(self.footer)
        return "\n".join(parts)

    @property
    def taken_at(self) -> int | None:
        """When its oldest figures were taken, UTC ms; None where it has none."""
        if "at" in self.data and "age_seconds" in self.data:
            return int(self.data["at"] - self.data["age_seconds"] * 1000)
        return None


def set_table(rows: tuple[tuple[str, ...], ...]) -> str:
    """A table in a fixed-width face: first column to the left, the others to the right."""
    widths = [max(_columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        gaps = [" " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [row[0] + gaps[0], *(gap + cell for cell, gap in zip(row[1:], gaps[1:], strict=True))]
        lines.append(" ".join(cells).rstrip()[:TABLE_WIDTH])
    return "\n".join(lines)


def _columns(cell: str) -> int:
    """How much room a cell takes: Chinese letters take two columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)
