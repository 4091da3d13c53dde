"""What comes in on Telegram: commands, presses, answers to questions, inline queries, and changes of membership."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import telegram
from telegram import (
    ForceReply,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultArticle,
    InputMediaPhoto,
    InputTextMessageContent,
    LinkPreviewOptions,
    MaybeInaccessibleMessage,
    ReplyParameters,
    Update,
)
from telegram.constants import ChatMemberStatus, ParseMode
from telegram.error import BadRequest, Forbidden, TelegramError
from telegram.ext import (
    Application,
    CallbackQueryHandler,
    ChatMemberHandler,
    ContextTypes,
    InlineQueryHandler,
    MessageHandler,
    filters,
)

from engine.alerts.policy import PRIVATE
from engine.errors import InputError
from engine.ports import Chat, ChatKind
from handlers.access import REFUSED, STOPPED
from handlers.answers import CLOSE, Answer, pressed
from handlers.commands import answer_within_budget
from handlers.commands.asking import Questions, ask
from handlers.commands.registry import find_command, split
from handlers.context import Membership, Request, Services
from handlers.faces.telegram_idiom import caption, render_telegram
from handlers.language import _, language_of, speaking
from handlers.lost import tell_subscriber

log = logging.getLogger(__name__)

PLATFORM = "telegram"
TOPIC = "/"
"""Between a group's id and that of a topic of it: a topic is a chat of its own."""

NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
LOST_RIGHTS = "lost its rights"
CACHE_SECONDS = 5

App = Application[Any, Any, Any, Any, Any, Any]
Draw = Callable[[Answer], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer goes.

    Attributes:
        topic: of a forum, None elsewhere.
        replies_to: the message that asked, in groups: whose answer it is stays visible, and who may change it known.
        changes: the message whose place it takes, None for a new one.
    """

    chat_id: int
    topic: int | None = None
    replies_to: int | None = None
    changes: telegram.Message | None = None


def remote_id(chat: telegram.Chat, topic: int | None) -> str:
    """A chat's id as it is stored, a topic's with its group's before it."""
    return f"{chat.id}{TOPIC}{topic}" if topic else str(chat.id)


def address(remote: str) -> tuple[int, int | None]:
    """Chat and topic of a stored id."""
    chat_id, _slash, topic = remote.partition(TOPIC)
    return int(chat_id), int(topic) if topic else None


def keyboard(rendered: dict[str, Any]) -> InlineKeyboardMarkup | None:
    rows = [[InlineKeyboardButton(label, callback_data=code) for label, code in row] for row in rendered["buttons"]]
    return InlineKeyboardMarkup(rows) if rows else None


class Incoming:
    """Answers what people send. face says who is what; app() is the connected application, None while there is none."""

    def __init__(self, services: Services, draw: Draw, face: Membership, app: Callable[[], App | None]) -> None:
        self._services, self._draw, self._face, self._app = services, draw, face, app
        self._questions = Questions()

    def add_to(self, app: App) -> None:
        """Let an application's updates come here."""
        app.add_handler(MessageHandler(filters.COMMAND, self._on_command))
        app.add_handler(MessageHandler(filters.TEXT & ~filters.COMMAND & ~filters.UpdateType.EDITED, self._on_text))
        app.add_handler(CallbackQueryHandler(self._on_button))
        app.add_handler(InlineQueryHandler(self._on_inline))
        app.add_handler(ChatMemberHandler(self._on_membership, ChatMemberHandler.MY_CHAT_MEMBER))

    # -- commands and words

    async def _on_command(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        message = update.effective_message
        if message is None or not message.text or update.edited_message or update.edited_channel_post:
            return
        name, addressed = _addressed(message.text, context.bot.username)
        if not addressed:
            return
        chat = await self._chat(message.chat, message, message.from_user)
        if chat.kind != "private" and not _known(name):
            return  # in a group an unknown command is another bot's
        request = self._request(chat, message, message.text)
        self._questions.take(request)  # a command ends what was asked
        await self._answer(request, _place(message))

    async def _on_text(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002  # its signature
        """Words without a command: the answer to a question, or in a private chat a coin or a price."""
        message = update.effective_message
        if message is None or not message.text:
            return
        chat = await self._chat(message.chat, message, message.from_user)
        request = self._request(chat, message, message.text)
        if (asked := self._questions.take(request)) is not None:
            request = self._request(chat, message, pressed(asked).filled(message.text))
        elif chat.kind == "private":
            request = self._request(chat, message, f"/liq {message.text}")
        else:
            return
        await self._answer(request, _place(message))

    def _request(self, chat: Chat, message: telegram.Message, text: str) -> Request:
        as_chat = message.sender_chat is not None and message.sender_chat.id == message.chat.id
        sender = None if as_chat else message.from_user
        user, locale = (str(sender.id), sender.language_code or "") if sender else ("", "")
        return Request(PLATFORM, user, chat, text, self._services, self._face, as_chat, locale=locale)

    # -- buttons

    async def _on_button(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002  # its signature
        query = update.callback_query
        if query is None:
            return
        press, message = pressed(query.data or ""), query.message
        if message is None or not query.data or not isinstance(message, telegram.Message):
            await _settle(query, None)
            return
        chat = await self._chat(message.chat, message, query.from_user)
        locale = query.from_user.language_code or ""
        with speaking(language_of(chat.wishes, locale)):
            foreign = press.here and _asker(message) not in (None, query.from_user.id)
            notice = _("This answer is somebody else's. Ask for your own: {command}", command=press.command)
        await _settle(query, notice[:200] if foreign else None)
        if foreign:
            return
        if query.data == CLOSE:
            with contextlib.suppress(TelegramError):  # too old to be deleted
                await message.delete()
            return
        user = str(query.from_user.id)
        request = Request(PLATFORM, user, chat, press.command, self._services, self._face, locale=locale)
        place = Place(message.chat.id, _topic(message), message.message_id if chat.kind == "group" else None)
        if press.asks:
            with speaking(language_of(chat.wishes, locale)):
                await self._reply(request, place, ask(press.command))
            return
        if press.here:
            place = Place(message.chat.id, _topic(message), changes=message)
        await self._answer(request, place)

    async def _on_inline(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002  # its signature
        """@bot btc 88000 in any chat: the answer as a message of whoever typed it, without buttons."""
        query = update.inline_query
        if query is None:
            return
        user = query.from_user
        locale = user.language_code or ""
        store = self._services.store
        chat = await store.see_chat(PLATFORM, str(user.id), "private", user.first_name, locale)
        results = []
        for name in ("liq", "market"):
            words = query.query if name == "liq" else query.query.split(" ")[0]
            line = f"/{name} {words}"
            request = Request(PLATFORM, str(user.id), chat, line, self._services, self._face, locale=locale)
            found = await answer_within_budget(request)
            if found is not None:
                results.append(_article(line, found))
        with contextlib.suppress(TelegramError):  # too old to be answered
            await query.answer(results, cache_time=CACHE_SECONDS, is_personal=True)

    # -- membership

    async def _on_membership(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002
        """The bot was blocked, removed, cannot write any more, or was let in again: keep the rules, switch the chat."""
        change = update.my_chat_member
        if change is None:
            return
        user = change.from_user if change.chat.type == "private" else None
        known = await self._chat(change.chat, None, user)
        topics = [chat for chat in await self._services.store.chats(PLATFORM) if _is_topic_of(chat, change.chat)]
        reason = _why_not(change.chat, change.new_chat_member)
        for chat in (known, *topics):
            if reason and chat.active:
                await self._lose(chat, reason)
            elif not reason and not chat.active and chat.off_reason not in (STOPPED, REFUSED):
                await self._welcome(chat)

    async def _lose(self, chat: Chat, reason: str) -> None:
        await self._services.store.switch_chat(chat.id, active=False, reason=reason)
        self._services.watch.book.pause(chat.id)
        if chat.kind != "private":
            await tell_subscriber(self._services, chat)

    async def _welcome(self, chat: Chat) -> None:
        store = self._services.store
        await store.switch_chat(chat.id, active=True)
        rules = await store.rules_of_chat(chat.id)
        for rule in rules:
            self._services.watch.book.add(rule)
        await store.add_message(chat.id, {"kind": "welcome", "rules": len(rules)})
        self._services.wake()

    async def _chat(
        self, chat: telegram.Chat, message: telegram.Message | None = None, user: telegram.User | None = None
    ) -> Chat:
        kinds: dict[str, ChatKind] = {"private": "private", "channel": "channel"}
        title = chat.title or chat.username or chat.first_name or ""
        kind = kinds.get(chat.type, "group")
        topic = _topic(message)
        locale = user.language_code or "" if user is not None and kind == "private" else ""
        parent = str(chat.id) if topic else ""
        return await self._services.store.see_chat(PLATFORM, remote_id(chat, topic), kind, title, locale, parent)

    # -- answers

    async def _answer(self, request: Request, place: Place) -> None:
        found = await answer_within_budget(request)
        if found is None:
            return
        if request.chat.kind == "group" and request.user_id and await self._privately(request):
            place = Place(int(request.user_id))
        await self._reply(request, place, found)

    async def _privately(self, request: Request) -> bool:
        """Whether a group has its members' commands answered to them alone."""
        return request.chat.wishes.room == PRIVATE and not await request.by_admin()

    async def _reply(self, request: Request, place: Place, found: Answer) -> None:
        """Answer at once; what cannot be delivered is logged, and as plain text if the markup was refused."""
        app = self._app()
        if app is None:
            return
        if found.asks:
            self._questions.put(request, found.asks)
        rendered = render_telegram(found)
        try:
            if place.changes is not None and await self._changed(app, place.changes, found, rendered):
                return
            await self._send(app, place, found, rendered)
        except BadRequest as error:
            log.warning("telegram: markup refused (%s), sent as plain text", error.message)
            with contextlib.suppress(TelegramError):
                await app.bot.send_message(place.chat_id, rendered["plain"], link_preview_options=NO_PREVIEW)
        except Forbidden:
            with contextlib.suppress(TelegramError):
                await self._say_closed(app, request)
        except TelegramError as error:
            log.warning("telegram: an answer was not delivered (%s)", type(error).__name__)

    async def _say_closed(self, app: App, request: Request) -> None:
        """Tell a group's member that they have to write first."""
        if request.chat.kind != "group":
            return
        chat_id, topic = address(request.chat.remote_id)
        with speaking(language_of(request.chat.wishes, request.locale)):
            text = _("Answers go to you alone here. Write to me first: {link}", link=f"t.me/{app.bot.username}")
        await app.bot.send_message(chat_id, text, message_thread_id=topic, link_preview_options=NO_PREVIEW)

    async def _send(self, app: App, place: Place, found: Answer, rendered: dict[str, Any]) -> None:
        """A new message: with its picture, as a file, as a question, or as text."""
        to: dict[str, Any] = {"chat_id": place.chat_id, "message_thread_id": place.topic}
        if place.replies_to is not None:
            to["reply_parameters"] = ReplyParameters(place.replies_to, allow_sending_without_reply=True)
        markup = keyboard(rendered)
        if found.picture is not None:
            png = await self._draw(found)
            await app.bot.send_photo(
                photo=png, caption=caption(found), parse_mode=ParseMode.HTML, reply_markup=markup, filename=FILE, **to
            )
        elif found.file is not None:
            name, content = found.file
            await app.bot.send_document(
                document=content, filename=name, caption=caption(found), parse_mode=ParseMode.HTML, **to
            )
        else:
            asking = ForceReply(selective=True) if found.asks else None
            await app.bot.send_message(
                text=rendered["html"],
                parse_mode=ParseMode.HTML,
                reply_markup=asking or markup,
                link_preview_options=NO_PREVIEW,
                **to,
            )

    async def _changed(self, app: App, message: telegram.Message, found: Answer, rendered: dict[str, Any]) -> bool:
        """Put an answer in the place of a message; False where that one is of another kind, or can't be changed."""
        if bool(message.photo) != (found.picture is not None) or found.file is not None or found.asks:
            return False
        to: dict[str, Any] = {"chat_id": message.chat.id, "message_id": message.message_id}
        try:
            if found.picture is not None:
                png = await self._draw(found)
                media = InputMediaPhoto(png, caption=caption(found), parse_mode=ParseMode.HTML, filename=FILE)
                await app.bot.edit_message_media(media, reply_markup=keyboard(rendered), **to)
            else:
                await app.bot.edit_message_text(
                    rendered["html"],
                    parse_mode=ParseMode.HTML,
                    reply_markup=keyboard(rendered),
                    link_preview_options=NO_PREVIEW,
                    **to,
                )
        except BadRequest as error:
            return "not modified" in error.message.lower()
        return True


FILE = "cliffwatch.png"


async def _settle(query: telegram.CallbackQuery, notice: str | None) -> None:
    """End a button's spinning, with a word to whoever pressed it."""
    with contextlib.suppress(BadRequest):  # too old to be answered is no reason not to act
        await query.answer(notice)


def _article(line: str, found: Answer) -> InlineQueryResultArticle:
    rendered = render_telegram(found)
    return InlineQueryResultArticle(
        hashlib.sha256(f"{line} {found.headline}".encode()).hexdigest()[:32],
        found.headline[:64],
        InputTextMessageContent(rendered["html"], ParseMode.HTML, link_preview_options=NO_PREVIEW),
        description=" ".join(found.lines)[:120],
    )


def _place(message: telegram.Message) -> Place:
    in_group = message.chat.type in ("group", "supergroup")
    return Place(message.chat.id, _topic(message), message.message_id if in_group else None)


def _topic(message: MaybeInaccessibleMessage | None) -> int | None:
    if isinstance(message, telegram.Message) and message.is_topic_message:
        return message.message_thread_id
    return None


def _asker(message: telegram.Message) -> int | None:
    """Whom a message in a group answers, None where nobody in particular."""
    asked = message.reply_to_message
    if message.chat.type == "private" or asked is None or asked.from_user is None or asked.from_user.is_bot:
        return None
    return asked.from_user.id


def _is_topic_of(chat: Chat, group: telegram.Chat) -> bool:
    return chat.remote_id.startswith(f"{group.id}{TOPIC}")


def _why_not(chat: telegram.Chat, me: telegram.ChatMember) -> str:
    """Why the bot cannot write in a chat any more, empty where it can."""
    if me.status in (ChatMemberStatus.LEFT, ChatMemberStatus.BANNED):
        return "removed"
    if chat.type == "channel":
        posts = me.status == ChatMemberStatus.ADMINISTRATOR and getattr(me, "can_post_messages", False)
        return "" if posts else LOST_RIGHTS
    if me.status == ChatMemberStatus.RESTRICTED and not getattr(me, "can_send_messages", True):
        return LOST_RIGHTS
    return ""


def _addressed(text: str, username: str) -> tuple[str, bool]:
    """The command's name, and whether it is meant for this bot: /liq@other is not."""
    first = text.split(maxsplit=1)[0]
    target = first.partition("@")[2]
    return split(text)[0], not target or target.lower() == username.lower()


def _known(name: str) -> bool:
    try:
        find_command(name)
    except InputError:
        return False
    return True
