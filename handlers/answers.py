"""What a command answers, before any face renders it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_LINES = 8
TABLE_WIDTH = 34


@dataclass(frozen=True, slots=True)
class Button:
    """A label and the command that pressing it stands for; the presser needs the right to give that command."""

    label: str
    command: str


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """A picture to draw: of what, of which asset, how far in price (a fraction either way), and the same in words."""

    kind: str
    asset: str
    reach: float
    alt: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The one number asked for first, then what it means, then where it comes from, and a tap to what is next.

    Attributes:
        headline: what a push shows; plain text.
        lines: at most eight short lines, plain text.
        table: rows of cells, the first its head; at most 34 characters wide when set.
        data: the same facts for machines, JSON values.
        private: meant for the one who asked.
    """

    headline: str
    lines: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    footer: str = ""
    buttons: tuple[Button, ...] = ()
    picture: PictureRequest | None = None
    data: dict[str, Any] = field(default_factory=dict)
    private: bool = False

    @property
    def text(self) -> str:
        """The whole answer as plain text."""
        parts = [self.headline, *self.lines]
        if self.table:
            parts.append(set_table(self.table))
        if self.footer:
            parts.append(self.footer)
        return "\n".join(parts)


def set_table(rows: tuple[tuple[str, ...], ...]) -> str:
    """A table in a fixed-width face: first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(" ".join(cells).rstrip()[:TABLE_WIDTH])
    return "\n".join(lines)
