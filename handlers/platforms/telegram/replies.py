"""Outgoing answers on Telegram: new messages, edits, pictures, files and questions."""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import telegram
from telegram import (
    ForceReply,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    LinkPreviewOptions,
    ReplyParameters,
)
from telegram.constants import ParseMode
from telegram.error import BadRequest, Forbidden, RetryAfter, TelegramError
from telegram.ext import Application

from handlers.access import TOPIC
from handlers.answers import Answer
from handlers.context import Request
from handlers.delivery.limits import Limiter
from handlers.i18n import _, language_of, use_language
from handlers.platforms.telegram.outcomes import outcome_of
from handlers.platforms.telegram.render import caption, render_telegram

log = logging.getLogger(__name__)

PLATFORM = "telegram"
FILE = "cliffwatch.png"
LONGEST_WAIT_SECONDS = 30.0
"""An answer that must wait longer is not sent: the user has gone by then."""

NO_PREVIEW = LinkPreviewOptions(is_disabled=True)

App = Application[Any, Any, Any, Any, Any, Any]
Draw = Callable[[Answer], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer goes.

    Attributes:
        topic: id of a forum's topic, None elsewhere.
        replies_to: in groups, the message that asked: it shows whose answer this is, and who may change it.
        changes: the message to replace, None for a new one.
        calls: id and name of the user to mention in a question, where others read along.
    """

    chat_id: int
    topic: int | None = None
    replies_to: int | None = None
    changes: telegram.Message | None = None
    calls: tuple[int, str] | None = None


def address(remote: str) -> tuple[int, int | None]:
    """Return chat and topic of a stored id."""
    chat_id, _slash, topic = remote.partition(TOPIC)
    return int(chat_id), int(topic) if topic else None


def keyboard(rendered: dict[str, Any]) -> InlineKeyboardMarkup | None:
    rows = [[InlineKeyboardButton(label, callback_data=code) for label, code in row] for row in rendered["buttons"]]
    return InlineKeyboardMarkup(rows) if rows else None


class Replies:
    """Sends answers at once. app() is the connected application, or None."""

    def __init__(self, draw: Draw, app: Callable[[], App | None]) -> None:
        self._draw, self._app = draw, app
        self.limiter: Limiter | None = None
        """Shared with the dispatcher, as the platform counts all messages."""

    async def reply(self, request: Request, place: Place, answer: Answer) -> None:
        """Send an answer, as plain text if the markup is refused. Other failures are only logged."""
        app = self._app()
        if app is None:
            return
        rendered = render_telegram(answer)
        png = await self._png(answer)
        to = _to(place)
        try:
            await self._paced(request, lambda: _put(app, place, answer, rendered, png))
        except BadRequest as error:
            log.warning("telegram: an answer was refused (%s), sent as plain text", error.message)
            with contextlib.suppress(TelegramError):
                await app.bot.send_message(text=rendered["plain"], link_preview_options=NO_PREVIEW, **to)
        except Forbidden:
            with contextlib.suppress(TelegramError):
                await _say_closed(app, request)
        except TelegramError as error:
            log.warning("telegram: an answer was not delivered (%s)", type(error).__name__)

    async def _paced(self, request: Request, send: Callable[[], Awaitable[None]]) -> None:
        """Send in turn with alerts, which go first. Retry once if the answer is rate-limited."""
        for again in (True, False):
            flight = await self.limiter.turn(request.chat.id, request.chat.kind) if self.limiter else None
            try:
                await send()
            except RetryAfter as error:
                wait = outcome_of(error).retry_after or 0.0
                if self.limiter is not None:
                    self.limiter.hold(request.chat.id, min(wait, LONGEST_WAIT_SECONDS))
                if not again or wait > LONGEST_WAIT_SECONDS:
                    raise
                await asyncio.sleep(wait)
            else:
                return
            finally:
                if self.limiter is not None and flight is not None:
                    self.limiter.answered(flight)

    async def _png(self, answer: Answer) -> bytes | None:
        """Return the answer's picture; None if it has none or cannot be drawn."""
        if answer.picture is None:
            return None
        try:
            return await self._draw(answer)
        except Exception:
            log.exception("a picture could not be drawn")
            return None


def _to(place: Place) -> dict[str, Any]:
    to: dict[str, Any] = {"chat_id": place.chat_id, "message_thread_id": place.topic}
    if place.replies_to is not None:
        to["reply_parameters"] = ReplyParameters(place.replies_to, allow_sending_without_reply=True)
    return to


async def _put(app: App, place: Place, answer: Answer, rendered: dict[str, Any], png: bytes | None) -> None:
    """Replace a message by an answer, or send a new one."""
    if place.changes is None or not await _changed(app, place.changes, answer, rendered, png):
        await _send(app, place, answer, rendered, png)


async def _send(app: App, place: Place, answer: Answer, rendered: dict[str, Any], png: bytes | None) -> None:
    """Send a new message: with its picture, as a file, as a question, or as text."""
    to, text = _to(place), rendered["html"]
    if png is not None:
        under = caption(answer)
        markup = keyboard(rendered)
        await app.bot.send_photo(
            photo=png, caption=under, parse_mode=ParseMode.HTML, reply_markup=markup, filename=FILE, **to
        )
        return
    if answer.file is not None:
        name, content = answer.file
        under = caption(answer)
        await app.bot.send_document(document=content, filename=name, caption=under, parse_mode=ParseMode.HTML, **to)
        return
    if answer.asks and place.calls is not None:
        user_id, called = place.calls
        text = f'<a href="tg://user?id={user_id}">{html.escape(called[:64], quote=False)}</a>: {text}'
    await app.bot.send_message(
        text=text,
        parse_mode=ParseMode.HTML,
        reply_markup=ForceReply(selective=True) if answer.asks else keyboard(rendered),
        link_preview_options=NO_PREVIEW,
        **to,
    )


async def _changed(
    app: App, message: telegram.Message, answer: Answer, rendered: dict[str, Any], png: bytes | None
) -> bool:
    """Edit a message into an answer. Return False if it is of another kind or cannot be edited."""
    if bool(message.photo) != (png is not None) or answer.file is not None or answer.asks:
        return False
    to: dict[str, Any] = {"chat_id": message.chat.id, "message_id": message.message_id}
    markup = keyboard(rendered)
    try:
        if png is not None:
            media = InputMediaPhoto(png, caption=caption(answer), parse_mode=ParseMode.HTML, filename=FILE)
            await app.bot.edit_message_media(media, reply_markup=markup, **to)
        else:
            text = rendered["html"]
            await app.bot.edit_message_text(
                text, parse_mode=ParseMode.HTML, reply_markup=markup, link_preview_options=NO_PREVIEW, **to
            )
    except BadRequest as error:
        return "not modified" in error.message.lower()
    return True


async def _say_closed(app: App, request: Request) -> None:
    """Ask a group member to open a private chat with the bot first."""
    if request.chat.kind != "group":
        return
    chat_id, topic = address(request.chat.remote_id)
    with use_language(language_of(request.chat.preferences, request.locale)):
        text = _("Answers here are private. Message me first: {link}", link=f"t.me/{app.bot.username}")
    await app.bot.send_message(chat_id, text, message_thread_id=topic, link_preview_options=NO_PREVIEW)
