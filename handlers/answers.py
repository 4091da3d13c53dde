"""Answers of commands, before a platform renders them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any

MAX_LINES = 8
TABLE_WIDTH = 34

BLANK = "?"
"""Placeholder in a button's command for a value that the user types after pressing it."""

HERE = "!"
"""Prefix of a button's command whose answer replaces the message with the button."""


@dataclass(frozen=True, slots=True)
class Button:
    """A label and the command that it runs, with the rights of the user who presses it.

    Attributes:
        command: a command line; if it contains the word ?, the user is asked for a value to replace it.
        here: whether the answer replaces the message.
    """

    label: str
    command: str
    here: bool = False

    @property
    def code(self) -> str:
        """The command as a platform stores it: all we have when the button is pressed, even days later."""
        return f"{HERE if self.here else ''}{self.command}"


CLOSE = f"{HERE}/close"
"""Code of a button that deletes its own message, handled by each platform itself."""


@dataclass(frozen=True, slots=True)
class Press:
    """A pressed button: its command, and whether the answer replaces the message."""

    command: str
    here: bool

    @property
    def asks(self) -> bool:
        """Whether the command still has a blank."""
        return BLANK in self.command.split()

    def filled(self, word: str) -> str:
        """Return the command with the blank replaced by a word."""
        return " ".join(word if part == BLANK else part for part in self.command.split())


def pressed(code: str) -> Press:
    """Parse a button's code."""
    return Press(code.removeprefix(HERE), code.startswith(HERE))


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """A picture to draw.

    Attributes:
        reach: price range either way, a fraction.
        alt: the content in words.
        hours: hours of the past to show, for the liquidations picture.
        light: dark ink on white.
        language, timezone: for its texts and times.
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
    """An answer: the requested number first, then its meaning, its sources, and buttons for the next step.

    Attributes:
        headline: plain text, the line that a push notification shows.
        lines: at most eight short lines, plain text.
        table: rows of cells, the header first, at most 34 characters wide when rendered.
        data: the same facts for machines, JSON values.
        private: only for the person who asked, to be sent to them alone in a group.
        changed: the command changed a chat's settings; a group's log records who used it.
        notice: a rate-limit notice, which replaces no message.
        asks: a command line with a blank, which the user's next message fills.
        file: name and bytes of an attached file.
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
        """Time of its oldest data, UTC ms, or None without data."""
        if "at" in self.data and "age_seconds" in self.data:
            return int(self.data["at"] - self.data["age_seconds"] * 1000)
        return None


def set_table(rows: tuple[tuple[str, ...], ...]) -> str:
    """Return a table for a fixed-width font: first column aligned left, the others right."""
    widths = [max(_columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        gaps = [" " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [row[0] + gaps[0], *(gap + cell for cell, gap in zip(row[1:], gaps[1:], strict=True))]
        lines.append(" ".join(cells).rstrip()[:TABLE_WIDTH])
    return "\n".join(lines)


def _columns(cell: str) -> int:
    """Return the width of a cell; Chinese letters take two columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in cell)
