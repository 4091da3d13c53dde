"""An answer in Discord's idiom: headline in the content, the rest in an embed, commands behind buttons."""

from __future__ import annotations

import re
from typing import Any

from handlers import wording
from handlers.answers import Answer, set_table

CONTENT_LIMIT = 2000
EMBED_LIMIT = 4096
CUSTOM_ID_LIMIT = 100
CUSTOM_ID_PREFIX = "cw "
LABEL_LIMIT = 80
MOST_BUTTONS = 5

_MARKUP = re.compile(r"([\\*_`|<]|~(?=~)|(?<=\])\(|^[>#-])", re.MULTILINE)


def escape(text: str) -> str:
    """Text with nothing in it that Discord would take for markup or a mention, and no more marks than that needs."""
    return _MARKUP.sub(r"\\\1", text)


def render_discord(found: Answer) -> dict[str, Any]:
    """JSON values: content, embed and buttons, each within Discord's limits."""
    body = [escape(line) for line in found.lines]
    if found.table:
        body.append("```\n" + set_table(found.table).replace("`", "'") + "\n```")
    footer = " · ".join(part for part in (found.footer, wording.DISCLAIMER) if part)
    return {
        "content": f"**{escape(found.headline)}**"[:CONTENT_LIMIT],
        "plain": found.headline[:CONTENT_LIMIT],
        "embed": {"description": "\n".join(body)[:EMBED_LIMIT], "footer": {"text": footer[:CONTENT_LIMIT]}},
        "buttons": [
            [button.label[:LABEL_LIMIT], CUSTOM_ID_PREFIX + button.command]
            for button in found.buttons[:MOST_BUTTONS]
            if len(CUSTOM_ID_PREFIX + button.command) <= CUSTOM_ID_LIMIT
        ],
    }
