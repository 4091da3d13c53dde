"""Incoming updates on Telegram: commands, buttons, answers to questions, inline queries, membership changes."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable

import telegram
from telegram import InlineQueryResultArticle, InputTextMessageContent, MaybeInaccessibleMessage, Update
from telegram.constants import ChatMemberStatus, ParseMode
from telegram.error import TelegramError
from telegram.ext import (
    CallbackQueryHandler,
    ChatMemberHandler,
    ContextTypes,
    InlineQueryHandler,
    MessageHandler,
    filters,
)

from engine.chats import Chat, ChatKind
from engine.preferences import PRIVATE, Preferences
from handlers.access import REFUSED, STOPPED, TOPIC, group_of
from handlers.answers import CLOSE, Answer, pressed
from handlers.commands.dispatch import answer, answer_within_budget
from handlers.commands.prompts import Questions, ask
from handlers.commands.registry import find_command, is_command, split
from handlers.context import Membership, Request, Services
from handlers.delivery.failures import notify_subscriber
from handlers.i18n import _, language_of, use_language
from handlers.platforms.telegram.render import fit, render_telegram
from handlers.platforms.telegram.replies import NO_PREVIEW, PLATFORM, App, Draw, Place, Replies

log = logging.getLogger(__name__)

LOST_RIGHTS = "lost its rights"
CACHE_SECONDS = 5
INLINE_COST = 0.5
DRAWN_MS = 30_000
"""For this long after a press brings a picture into a group, another press does not bring it again."""
NOTICE_LIMIT = 200

WORDS = filters.TEXT & ~filters.COMMAND & ~filters.UpdateType.EDITED & ~filters.VIA_BOT & ~filters.IS_AUTOMATIC_FORWARD


def remote_id(chat: telegram.Chat, topic: int | None) -> str:
    """Return the id under which a chat is stored: a topic's follows its group's."""
    return f"{chat.id}{TOPIC}{topic}" if topic else str(chat.id)


class Incoming:
    """Answers updates. face answers questions about membership; app() is the connected application, or None."""

    def __init__(self, services: Services, draw: Draw, face: Membership, app: Callable[[], App | None]) -> None:
        self._services, self._face = services, face
        self._questions = Questions()
        self._drawn: dict[tuple[int, str], int] = {}
        self.replies = Replies(draw, app)

    def add_to(self, app: App) -> None:
        """Register our handlers with an application."""
        app.add_handler(MessageHandler(filters.COMMAND, self._on_command))
        app.add_handler(MessageHandler(WORDS, self._on_text))
        app.add_handler(MessageHandler(filters.StatusUpdate.MIGRATE, self._on_migration))
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
        if chat.kind != "private" and not is_command(name):
            return  # in a group an unknown command is another bot's
        request = self._request(chat, message, message.text)
        self._questions.take(request)  # a command cancels an open question
        await self._answer(request, _place(message))

    async def _on_text(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        """Handle text without a command: the answer to a question, or in a private chat also a coin or price."""
        message = update.effective_message
        if message is None or not message.text:
            return
        asks_us = message.reply_to_message is not None and _by_bot(message.reply_to_message, context)
        if message.chat.type != "private" and not asks_us:
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
        # All users who write as a channel share one placeholder account.
        sender = message.from_user if message.sender_chat is None else None
        user, locale = (str(sender.id), sender.language_code or "") if sender else ("", "")
        return Request(PLATFORM, user, chat, text, self._services, self._face, as_chat, locale=locale)

    # -- buttons

    async def _on_button(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002  # PTB's
        query = update.callback_query
        if query is None:
            return
        message = query.message
        if not isinstance(message, telegram.Message) or not query.data or not _has(message, query.data):
            await _settle(query)  # forged: the message has no such button
            return
        press = pressed(query.data)
        chat = await self._chat(message.chat, message, query.from_user)
        user, locale = str(query.from_user.id), query.from_user.language_code or ""
        request = Request(PLATFORM, user, chat, press.command, self._services, self._face, locale=locale)
        if press.here and not await _may_change(message, request):
            with use_language(language_of(chat.preferences, locale)):
                notice = _(
                    "Only the person who asked can use these buttons. Run {command} yourself.", command=press.command
                )
            await _settle(query, notice)
            return
        if chat.kind == "channel" and not await request.by_admin():
            # A reader's press posts nothing to the channel: only they see the answer.
            response = await answer_within_budget(request)
            await _settle(query, response.text if response is not None else None)
            return
        refusal = await self._refusal(request, here=press.here)
        if refusal is not None:
            await _settle(query, refusal)
            return
        await _settle(query)
        if query.data == CLOSE:
            with contextlib.suppress(TelegramError):  # too old to be deleted
                await message.delete()
            return
        place = _place_of_press(message, query.from_user)
        if press.asks:
            with use_language(language_of(chat.preferences, locale)):
                response = ask(press.command)
            self._questions.put(request, response.asks)
            await self.replies.reply(request, place, response)
            return
        await self._answer(request, Place(message.chat.id, place.topic, changes=message) if press.here else place)

    async def _refusal(self, request: Request, *, here: bool) -> str | None:
        """Return the notice that refuses a press in a group (for admins only, or shown just now), or None."""
        name = split(request.text)[0]
        if request.chat.kind != "group" or not is_command(name):
            return None
        command = find_command(name)
        with use_language(language_of(request.chat.preferences, request.locale)):
            if command.admin_only and not await request.by_admin():
                return _("Only admins of this group can do that.")
            now, key = self._services.wall.now(), (request.chat.id, request.text)
            if command.picture and not here:
                self._drawn = {each: at for each, at in self._drawn.items() if 0 <= now - at < DRAWN_MS}
                if key in self._drawn:
                    return _("Just posted, see below.")
                self._drawn[key] = now
        return None

    async def _on_inline(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002  # PTB's
        """Answer @bot btc 88000 in any chat: the user posts the answer as their own message, without buttons."""
        query = update.inline_query
        if query is None:
            return
        user, services = query.from_user, self._services
        # Every typed letter is a query, so inline queries have their own budget.
        spent = services.budget.spend(
            ("inline", str(user.id)), f"inline {user.id}", services.wall.now(), cost=INLINE_COST
        )
        results = []
        if spent == "yes":
            locale = user.language_code or ""
            # Do not store users who only send inline queries.
            stored_chat = await services.store.chats.find(PLATFORM, str(user.id))
            chat = stored_chat or Chat(0, PLATFORM, str(user.id), "private", preferences=Preferences(locale=locale))
            for name in ("liq", "market"):
                words = query.query if name == "liq" else query.query.split(" ")[0]
                line = f"/{name} {words}"
                reply = await answer(Request(PLATFORM, str(user.id), chat, line, services, self._face, locale=locale))
                results.append(_article(line, reply))
        with contextlib.suppress(TelegramError):  # too old to be answered
            await query.answer(results, cache_time=CACHE_SECONDS, is_personal=True)

    # -- membership

    async def _on_migration(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002
        """Move the rules of a group that became a supergroup to its new id, and reactivate it if we had lost it."""
        message = update.effective_message
        if message is None or message.migrate_to_chat_id is None:
            return
        store = self._services.store
        old = await store.chats.find(PLATFORM, str(message.chat.id))
        if old is not None:
            taken = await store.chats.find(PLATFORM, str(message.migrate_to_chat_id))
            merged_id = taken.id if taken is not None else None
            await self._services.subscriptions.move_chat(old.id, str(message.migrate_to_chat_id), merged_id)
            if not old.active and old.off_reason not in (STOPPED, REFUSED):
                await self._welcome(old)

    async def _on_membership(self, update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG002
        """Switch a chat and its topics off when the bot loses access, on when it regains it. Rules are kept."""
        change = update.my_chat_member
        if change is None:
            return
        user = change.from_user if change.chat.type == "private" else None
        stored_chat = await self._chat(change.chat, None, user)
        topics = [chat for chat in await self._services.store.chats.all(PLATFORM) if _is_topic_of(chat, change.chat)]
        reason = _why_not(change.chat, change.new_chat_member)
        for chat in (stored_chat, *topics):
            if reason and chat.active:
                await self._lose(chat, reason)
            elif not reason and not chat.active and chat.off_reason not in (STOPPED, REFUSED):
                await self._welcome(chat)

    async def _lose(self, chat: Chat, reason: str) -> None:
        await self._services.subscriptions.deactivate_chat(chat.id, reason)
        if chat.kind != "private":
            await notify_subscriber(self._services, chat, self._face)

    async def _welcome(self, chat: Chat) -> None:
        rules = await self._services.subscriptions.activate_chat(chat.id)
        await self._services.store.outbox.add_message(chat.id, {"kind": "welcome", "rules": len(rules)})
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
        return await self._services.store.chats.upsert(PLATFORM, remote_id(chat, topic), kind, title, locale, parent)

    # -- answers

    async def _answer(self, request: Request, place: Place) -> None:
        response = await answer_within_budget(request)
        if response is None or (response.notice and place.changes is not None):
            return  # do not overwrite an answer with a rate-limit notice
        if request.chat.kind != "private" and request.user_id:
            alone = response.private or (request.chat.kind == "group" and await self._privately(request))
            place = Place(int(request.user_id)) if alone else place
        elif request.chat.kind != "private" and response.private:
            # A sender who acts as the chat has no private chat, so withhold a private answer.
            with use_language(language_of(request.chat.preferences)):
                response = Answer(_("That only works in a private chat with me."))
        if response.asks:
            self._questions.put(request, response.asks)
        await self.replies.reply(request, place, response)

    async def _privately(self, request: Request) -> bool:
        """Return whether this group has its members' commands answered privately. Admins are exempt."""
        rooms = (request.chat.preferences.room, (await group_of(request)).preferences.room)
        return PRIVATE in rooms and not await request.by_admin()


async def _settle(query: telegram.CallbackQuery, notice: str | None = None) -> None:
    """Stop a button's spinner, and show the user who pressed it a notice, if any."""
    with contextlib.suppress(TelegramError):  # too old to be answered: act anyway
        await query.answer(fit(notice, NOTICE_LIMIT) if notice else None, show_alert=bool(notice))


def _article(line: str, response: Answer) -> InlineQueryResultArticle:
    rendered = render_telegram(response)
    return InlineQueryResultArticle(
        hashlib.sha256(f"{line} {response.headline}".encode()).hexdigest()[:32],
        response.headline[:64],
        InputTextMessageContent(rendered["html"], ParseMode.HTML, link_preview_options=NO_PREVIEW),
        description=" ".join(response.lines)[:120],
    )


def _place(message: telegram.Message) -> Place:
    in_group = message.chat.type in ("group", "supergroup")
    return Place(message.chat.id, _topic(message), message.message_id if in_group else None)


def _topic(message: MaybeInaccessibleMessage | None) -> int | None:
    if isinstance(message, telegram.Message) and message.is_topic_message:
        return message.message_thread_id
    return None


def _asker(message: telegram.Message) -> int | None:
    """Return the id of the user whom a message in a group answers, or None if it does not show."""
    asked = message.reply_to_message
    if asked is None or asked.from_user is None or asked.from_user.is_bot or asked.forum_topic_created is not None:
        return None
    return asked.from_user.id


async def _may_change(message: telegram.Message, request: Request) -> bool:
    """Return whether the user may change a message: in private, as the one who asked for it, or as an admin."""
    if request.chat.kind == "private":
        return True
    return str(_asker(message)) == request.user_id or await request.by_admin()


def _place_of_press(message: telegram.Message, user: telegram.User) -> Place:
    """Return where to answer a press: in a group below that user's command, so that they may change the answer."""
    if message.chat.type == "private":
        return Place(message.chat.id, _topic(message))
    asked = message.reply_to_message
    mine = asked is not None and _asker(message) == user.id
    replies_to = asked.message_id if asked is not None and mine else message.message_id
    return Place(message.chat.id, _topic(message), replies_to, calls=(user.id, user.first_name))


def _has(message: telegram.Message, code: str) -> bool:
    """Return whether a message has a button with that code."""
    markup = message.reply_markup
    return markup is not None and any(button.callback_data == code for row in markup.inline_keyboard for button in row)


def _by_bot(message: telegram.Message, context: ContextTypes.DEFAULT_TYPE) -> bool:
    return message.from_user is not None and message.from_user.id == context.bot.id


def _is_topic_of(chat: Chat, group: telegram.Chat) -> bool:
    return chat.remote_id.startswith(f"{group.id}{TOPIC}")


def _why_not(chat: telegram.Chat, me: telegram.ChatMember) -> str:
    """Return why the bot can no longer write in a chat, or "" if it can."""
    if me.status in (ChatMemberStatus.LEFT, ChatMemberStatus.BANNED):
        return "removed"
    if chat.type == "channel":
        posts = me.status == ChatMemberStatus.ADMINISTRATOR and getattr(me, "can_post_messages", False)
        return "" if posts else LOST_RIGHTS
    if me.status == ChatMemberStatus.RESTRICTED and not getattr(me, "can_send_messages", True):
        return LOST_RIGHTS
    return ""


def _addressed(text: str, username: str) -> tuple[str, bool]:
    """Return the command's name, and whether it is meant for this bot: /liq@other is not."""
    first = text.split(maxsplit=1)[0]
    target = first.partition("@")[2]
    return split(text)[0], not target or target.lower() == username.lower()
