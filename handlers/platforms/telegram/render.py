"""Renders answers for Telegram: HTML with every value escaped, commands as inline buttons."""

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
    """Return the length as Telegram counts it, in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def render_telegram(answer: Answer) -> dict[str, Any]:
    """Return JSON values: html, plain text, and rows of buttons, each within Telegram's limits."""
    buttons = [
        [button.label[:LABEL_LIMIT], button.code]
        for button in answer.buttons
        if button.label and len(button.code.encode()) <= CALLBACK_LIMIT
    ]
    if any(button.here for button in answer.buttons):
        buttons.append(["✕", CLOSE])
    return {
        "html": _html(answer, TEXT_LIMIT),
        "plain": fit(answer.text, TEXT_LIMIT),
        "buttons": [buttons[i : i + ROW] for i in range(0, len(buttons), ROW)],
    }


def caption(answer: Answer) -> str:
    """Return the HTML caption of a picture."""
    return _html(answer, CAPTION_LIMIT)


def fit(text: str, limit: int) -> str:
    """Return plain text cut to a limit in UTF-16 code units."""
    if units(text) <= limit:
        return text
    cut = text.encode("utf-16-le")[: 2 * (limit - 1)].decode("utf-16-le", errors="ignore")
    return cut + "…"


def _html(answer: Answer, limit: int) -> str:
    """Return as many whole parts as fit: markup is never cut in two. Telegram's limit excludes the markup."""
    parts = [("<b>{}</b>", fit(answer.headline, limit - 64)), *(("{}", fit(line, limit - 64)) for line in answer.lines)]
    if answer.table:
        parts.append(("<pre>{}</pre>", set_table(answer.table)))
    if answer.footer:
        parts.append(("<i>{}</i>", answer.footer))
    out, left = [], limit
    for markup, text in parts:
        if units(text) + 1 > left:
            break
        out.append(markup.format(html.escape(text, quote=False)))
        left -= units(text) + 1
    return "\n".join(out)
