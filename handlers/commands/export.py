"""/export: all data stored about a chat, as a file, sent privately to the person who asked."""

from __future__ import annotations

import json

from handlers.access import require_admin
from handlers.answers import Answer
from handlers.commands.registry import command
from handlers.context import Request
from handlers.i18n import _, n_

FILE = "cliffwatch.json"
MAX_BYTES = 8_000_000


@command("export", "Export everything stored about this chat", "/export", admin_only=True, for_own_chat=True)
async def export(request: Request, arguments: str) -> Answer:  # noqa: ARG001  # takes none
    """Answer /export. In a group or channel, only admins may ask."""
    await require_admin(request)
    tables = await request.services.store.chats.export(request.chat.id)
    written = json.dumps(tables, indent=1, ensure_ascii=False).encode()
    while len(written) > MAX_BYTES and tables["messages"]:
        tables["messages"] = tables["messages"][len(tables["messages"]) // 2 + 1 :]  # the oldest go first
        written = json.dumps(tables, indent=1, ensure_ascii=False).encode()
    count = sum(len(rows) for rows in tables.values())
    head = n_("{count} row stored about this chat", "{count} rows stored about this chat", count)
    parts = ", ".join(f"{name} {len(rows)}" for name, rows in tables.items())
    return Answer(head, (parts, _("/forget deletes them.")), private=True, file=(FILE, written))
