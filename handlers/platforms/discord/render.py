"""Renders answers for Discord: headline in the content, the rest in an embed, commands as buttons."""

from __future__ import annotations

import re
from typing import Any

from handlers import wording
from handlers.answers import Answer, set_table
from handlers.i18n import _

CONTENT_LIMIT = 2000
EMBED_LIMIT = 4096
CUSTOM_ID_LIMIT = 100
CUSTOM_ID_PREFIX = "cw "
FORM_PREFIX = "cf "
LABEL_LIMIT = 80
MAX_BUTTONS = 15
COLOUR = 0x4FA3FF

_MARKUP = re.compile(r"([\\*_`|<]|~(?=~)|(?<=\])\(|^[>#-])", re.MULTILINE)
_CHANNELS = re.compile(r"\\<#(\d{5,20})>")


def escape(text: str) -> str:
    """Return text with only the characters escaped that Discord would take for markup or a mention."""
    return _MARKUP.sub(r"\\\1", text)


def marked(text: str) -> str:
    """Return escaped text in which channels are shown by name, which notifies no one."""
    return _CHANNELS.sub(r"<#\1>", escape(text))


def render_discord(answer: Answer) -> dict[str, Any]:
    """Return JSON values: content, plain text, embed and buttons, each within Discord's limits."""
    body = [marked(line) for line in answer.lines]
    if answer.table:
        body.append("```\n" + set_table(answer.table).replace("`", "'") + "\n```")
    if answer.taken_at is not None:
        body.append("-# " + _("data from {moment}", moment=f"<t:{answer.taken_at // 1000}:R>"))
    footer = " · ".join(part for part in (answer.footer, wording.disclaimer()) if part)
    buttons = [
        [button.label[:LABEL_LIMIT], CUSTOM_ID_PREFIX + button.code]
        for button in answer.buttons
        if button.label and len(CUSTOM_ID_PREFIX + button.code) <= CUSTOM_ID_LIMIT
    ]
    unique = {custom_id: [label, custom_id] for label, custom_id in reversed(buttons)}
    return {
        "content": _bold(answer.headline),
        "plain": answer.headline[:CONTENT_LIMIT],
        "embed": {
            "description": fit_lines(body, EMBED_LIMIT),
            "footer": {"text": footer[:CONTENT_LIMIT]},
            "color": COLOUR,
        },
        "buttons": list(reversed(unique.values()))[:MAX_BUTTONS],
    }


def _bold(headline: str) -> str:
    """Return the headline in bold. It is cut before escaping, so that no escape sequence is cut in two."""
    room = CONTENT_LIMIT - len("****")
    while len(escape(headline)) > room:
        headline = headline[: len(headline) - max((len(escape(headline)) - room) // 2, 1)]
    return f"**{marked(headline)}**"


def fit_lines(lines: list[str], limit: int) -> str:
    """Return as many whole lines as fit: markup is never cut in two."""
    out: list[str] = []
    left = limit
    for line in lines:
        if len(line) + 1 > left:
            break
        out.append(line)
        left -= len(line) + 1
    return "\n".join(out)
