"""An answer in Telegram's idiom: HTML with every value escaped, commands behind inline buttons."""

from __future__ import annotations

import html
from typing import Any

from handlers.answers import CLOSE, Answer, set_table

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
CALLBACK_LIMIT = 64
LABEL_LIMIT = 64
ROW = 3


def units(text: str) -> int:
    """Length as Telegram counts it: UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def render_telegram(found: Answer) -> dict[str, Any]:
    """JSON values: html, the same as plain text, and rows of buttons, each within Telegram's limits."""
    buttons = [
        [button.label[:LABEL_LIMIT], button.code]
        for button in found.buttons
        if button.label and len(button.code.encode()) <= CALLBACK_LIMIT
    ]
    if any(button.here for button in found.buttons):
        buttons.append(["✕", CLOSE])
    return {
        "html": _html(found, TEXT_LIMIT),
        "plain": fit(found.text, TEXT_LIMIT),
        "buttons": [buttons[i : i + ROW] for i in range(0, len(buttons), ROW)],
    }


def caption(found: Answer) -> str:
    """The HTML under a picture."""
    return _html(found, CAPTION_LIMIT)


def fit(text: str, limit: int) -> str:
    """Plain text cut to a limit in UTF-16 units."""
    if units(text) <= limit:
        return text
    cut = text.encode("utf-16-le")[: 2 * (limit - 1)].decode("utf-16-le", errors="ignore")
    return cut + "…"


def _html(found: Answer, limit: int) -> str:
    """Whole parts as long as they fit: markup is never cut in two. Telegram counts after entities are parsed."""
    parts = [("<b>{}</b>", fit(found.headline, limit - 64)), *(("{}", fit(line, limit - 64)) for line in found.lines)]
    if found.table:
        parts.append(("<pre>{}</pre>", set_table(found.table)))
    if found.footer:
        parts.append(("<i>{}</i>", found.footer))
    out, left = [], limit
    for markup, text in parts:
        if units(text) + 1 > left:
            break
        out.append(markup.format(html.escape(text, quote=False)))
        left -= units(text) + 1
    return "\n".join(out)
