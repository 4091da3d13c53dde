"""The program with a planted fault: it marks messages as sent before sending. The crash matrix must detect it."""

from __future__ import annotations

import sys

import bot
from engine.messages import Message, Outcome
from handlers.delivery.dispatcher import Dispatcher

_send = Dispatcher._send  # noqa: SLF001  # a fault is planted inside


async def _mark_and_send(self: Dispatcher, message: Message) -> Outcome:
    await self._store.outbox.mark_sent(message.id, "")
    return await _send(self, message)


Dispatcher._send = _mark_and_send  # type: ignore[method-assign]  # noqa: SLF001

if __name__ == "__main__":
    sys.exit(bot.main())
