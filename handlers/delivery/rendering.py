"""Turns a stored message into the answer that is sent, when it is first claimed."""

from __future__ import annotations

from collections.abc import Callable

from engine.facts import final_count
from engine.messages import Message
from engine.ports import Clock
from handlers.alert_messages import alert_answer
from handlers.answers import Answer
from handlers.context import Services
from handlers.i18n import language_of, use_language


def answer_of(services: Services, wall: Clock) -> Callable[[Message], Answer]:
    """Return a function that makes an answer from a stored message's facts."""

    def make(message: Message) -> Answer:
        board = services.pipeline.boards.get(message.body.get("asset", ""))
        price_now = board.mark if board is not None and board.ready else None
        late_ms = 0 if message.edits else wall.now() - message.created_at
        facts = message.body
        if facts.get("final") and board is not None and board.ready:
            facts = facts | final_count(board, facts)
        with use_language(language_of(message.preferences)):
            return alert_answer(facts, late_ms=late_ms, price_now=price_now, simulated=services.simulated)

    return make
