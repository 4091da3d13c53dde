"""Parts that answers share: page buttons, buttons for other assets, picture requests."""

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
    """Return the other words and the page number, given as p2 for example; 1 by default.

    Raises:
        InputError: for a page 0.
    """
    match = _PAGE.search(arguments)
    if not match:
        return arguments, 1
    if int(match[1]) < 1:
        raise InputError("Pages start at 1.")
    return (arguments[: match.start()] + arguments[match.end() :]).strip(), int(match[1])


def page_buttons(line: str, page: int, count: int, a_page: int) -> tuple[Button, ...]:
    """Return buttons that show the previous and the next page in place."""
    back = (Button("‹", f"{line} p{page - 1}", here=True),) if page > 1 else ()
    on = (Button("›", f"{line} p{page + 1}", here=True),) if page * a_page < count else ()
    return back + on


def others(request: Request, asset: str, line: str) -> tuple[Button, ...]:
    """Return buttons that run the line for other assets in place; {asset} is replaced in it."""
    other_assets = [other for other in request.services.assets if other != asset][:MAX_OTHERS]
    return tuple(Button(other, line.replace("{asset}", other.lower()), here=True) for other in other_assets)


def picture_of(
    request: Request, kind: str, board: AssetBoard, *, alt: str, reach: float = 0.0, hours: int = 0
) -> PictureRequest:
    """Return a picture request with the chat's language, time zone and colours."""
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
