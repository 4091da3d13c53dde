"""What answers have at their end: pages, other assets, a picture of what they say."""

from __future__ import annotations

import re

from engine.board import AssetBoard
from engine.errors import InputError
from handlers.answers import Button, PictureRequest
from handlers.context import Request
from handlers.i18n import _, spoken

MAX_OTHERS = 3
_PAGE = re.compile(r"(?<!\S)p(\d{1,3})(?!\S)", re.IGNORECASE)


def split_page(arguments: str) -> tuple[str, int]:
    """The other words, and the page that was asked for as p2, from 1.

    Raises:
        InputError: for a page 0.
    """
    found = _PAGE.search(arguments)
    if not found:
        return arguments, 1
    if int(found[1]) < 1:
        raise InputError("Pages start at 1.")
    return (arguments[: found.start()] + arguments[found.end() :]).strip(), int(found[1])


def page_buttons(line: str, page: int, count: int, a_page: int) -> tuple[Button, ...]:
    """Buttons to the page before and the one after, in place."""
    back = (Button("‹", f"{line} p{page - 1}", here=True),) if page > 1 else ()
    on = (Button("›", f"{line} p{page + 1}", here=True),) if page * a_page < count else ()
    return back + on


def others(request: Request, asset: str, line: str) -> tuple[Button, ...]:
    """Buttons to the same of other assets, in place; {asset} in the line stands for it."""
    rest = [other for other in request.services.assets if other != asset][:MAX_OTHERS]
    return tuple(Button(other, line.replace("{asset}", other.lower()), here=True) for other in rest)


def picture_of(
    request: Request, kind: str, board: AssetBoard, *, alt: str, reach: float = 0.0, hours: int = 0
) -> PictureRequest:
    """A picture as the chat likes it: its language, clock and colours."""
    preferences = request.chat.preferences
    return PictureRequest(
        kind,
        board.asset,
        reach,
        alt,
        hours=hours,
        light=preferences.light,
        language=spoken(),
        timezone=preferences.timezone,
    )


def refresh(line: str) -> Button:
    return Button(_("Refresh"), line, here=True)
