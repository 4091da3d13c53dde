"""A platform in memory: keeps the messages it is sent and returns scripted outcomes."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.messages import Message, Outcome
from handlers.answers import Answer


class MemoryPlatform:
    """A whole sender without a network."""

    platform = "telegram"
    ready = True
    state = "ok"
    idempotent = False

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.answers: list[Outcome | Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def render(self, answer: Answer) -> dict[str, Any]:
        return {"text": answer.text}

    async def send(self, message: Message) -> Outcome:
        await self.gate.wait()
        self.sent.append(message)
        outcome = self.answers.pop(0) if self.answers else Outcome("sent", remote_id=str(len(self.sent)))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
