"""The Telegram platform: long polling in, HTML out. Answers are made elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

# Opt in to the library's next behaviour: without it a 429 ends in a deprecation warning instead of an error.
os.environ.setdefault("PTB_TIMEDELTA", "1")

from telegram import (
    BotCommand,
    BotCommandScope,
    BotCommandScopeAllChatAdministrators,
    BotCommandScopeAllGroupChats,
    BotCommandScopeDefault,
    ChatMember,
)
from telegram.constants import ChatMemberStatus, ChatType, ParseMode
from telegram.error import BadRequest, Conflict, InvalidToken, TelegramError
from telegram.ext import ApplicationBuilder
from telegram.request import HTTPXRequest

from engine.chats import ChatKind
from engine.errors import TokenRefusedError
from engine.messages import Message, Outcome
from handlers.answers import Answer
from handlers.commands.dispatch import Command, all_commands
from handlers.context import Services
from handlers.i18n import LANGUAGES, SOURCE, _, use_language
from handlers.operators import notify_operators
from handlers.platforms.telegram.outcomes import outcome_of, token_refused
from handlers.platforms.telegram.render import fit, render_telegram, units
from handlers.platforms.telegram.replies import NO_PREVIEW, PLATFORM, App, Draw, address, keyboard
from handlers.platforms.telegram.updates import Incoming

log = logging.getLogger(__name__)

MEMBERS = (
    ChatMemberStatus.OWNER,
    ChatMemberStatus.ADMINISTRATOR,
    ChatMemberStatus.MEMBER,
    ChatMemberStatus.RESTRICTED,
)
RIGHTS: dict[ChatKind, tuple[str, ...]] = {
    "channel": ("can_post_messages",),
    "group": ("can_change_info", "can_delete_messages", "can_restrict_members"),
    "private": (),
}
"""An admin needs one of these rights to decide about a chat's messages: some admins have only the title."""

POLL_SECONDS = 30
RETRY_SECONDS = (1.0, 30.0)
STOP_SECONDS = 3.0
CHECK_SECONDS = 5.0
HEARD_SECONDS = 3.0
DEAF_SECONDS = 2.0 * POLL_SECONDS + 15
REPEAT_NOTE = "(may be a repeat)\n"
ANSWERS = (TelegramError, KeyError, TypeError, AttributeError, ValueError)
"""Exceptions that the library raises for error responses, malformed ones included."""

NO_MEMBER = ("user not found", "member not found", "participant_id_invalid", "user_not_participant", "user_id_invalid")
"""Errors that mean "not in this chat", where Telegram does not report that the user left."""

SEND_READ_SECONDS = 60.0
"""How long to wait for the response to a send: a late one still means that the message was delivered."""

PATIENCE_SECONDS = 15.0


class PollRequest(HTTPXRequest):
    """The polling connection, which records when a poll was last answered."""

    def __init__(self) -> None:
        super().__init__(connection_pool_size=1)
        self._answered = time.monotonic()
        self._refused = False
        self._began = 0.0

    @property
    def conflict(self) -> bool:
        """True while another instance polls with our token. A conflicting poll would be refused at once."""
        waits = self._began and time.monotonic() - self._began > HEARD_SECONDS
        return self._refused and not waits

    def idle_seconds(self) -> float:
        return time.monotonic() - self._answered

    async def do_request(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        self._began = time.monotonic()
        try:
            status, body = await super().do_request(*args, **kwargs)
        finally:
            self._began = 0.0
        self._refused = status == HTTPStatus.CONFLICT
        if status == HTTPStatus.OK or self._refused:
            self._answered = time.monotonic()
        return status, body


class TelegramPlatform:
    """A bot on Telegram. run() connects, and reconnects after failures; send() sends one message."""

    def __init__(self, services: Services, draw: Draw, token: str, api: str | None = None) -> None:
        self._token, self._api, self._services = token, api, services
        self._app: App | None = None
        self._incoming = Incoming(services, draw, self, lambda: self._app)
        self._polls: PollRequest | None = None
        self._state = "connecting"
        self._was_connected = False
        self.idempotent = False

    @property
    def platform(self) -> str:
        return PLATFORM

    @property
    def incoming(self) -> Incoming:
        return self._incoming

    # -- life cycle

    @property
    def state(self) -> str:
        """The connection's state in a few words: ok, or the problem."""
        if self._app is not None and self._polls is not None and self._polls.conflict:
            return "another instance polls; messages are sent"
        return self._state

    @property
    def ready(self) -> bool:
        return self._app is not None

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            TokenRefusedError: when Telegram itself refuses the token before the first successful connect. Later we
                retry forever: an ailing platform may refuse tokens for minutes.
        """
        wait = RETRY_SECONDS[0]
        while True:
            polls = PollRequest()
            app = _application(self._token, self._api, polls)
            self._incoming.add_to(app)
            try:
                await app.initialize()
            except TelegramError as error:
                await app.bot.shutdown()
                refused = token_refused(error)
                if refused and not self._was_connected:
                    self._state = "token refused"
                    raise TokenRefusedError(
                        "telegram: the token was refused; check CLIFFWATCH_TELEGRAM_TOKEN"
                    ) from None
                if refused and self._state != "token refused":
                    await self._tell_operators("token refused")
                self._state = "token refused" if refused else "cannot be reached"
                log.warning("telegram: %s; next try in %.0f s", self._state, wait)
            else:
                wait = RETRY_SECONDS[0]
                await self._serve(app, polls)
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, RETRY_SECONDS[1])

    async def _tell_operators(self, state: str) -> None:
        await notify_operators(self._services, {"kind": "platform", "platform": PLATFORM, "state": state}, but=PLATFORM)

    async def _serve(self, app: App, polls: PollRequest) -> None:
        """Poll with a connected application until polling ends or no poll is answered for DEAF_SECONDS."""
        assert app.updater is not None  # noqa: S101  # built with one
        menus = asyncio.create_task(set_menus(app), name="telegram menus")
        try:
            await app.start()
            self._app, self._polls, self._state = app, polls, "ok"
            self._was_connected = True
            await app.updater.start_polling(
                timeout=POLL_SECONDS,
                bootstrap_retries=-1,
                allowed_updates=["message", "channel_post", "callback_query", "inline_query", "my_chat_member"],
                error_callback=self._poll_failed,
            )
            log.info("telegram: polling as @%s", app.bot.username)
            while app.updater.running and polls.idle_seconds() <= DEAF_SECONDS:  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(CHECK_SECONDS)
            # The library silently stops polling when the token is refused for a moment.
            self._state = "no poll answered"
            log.warning("telegram: no poll was answered for %.0f s; connecting again", polls.idle_seconds())
        finally:
            self._app = None
            try:
                menus.cancel()
                with contextlib.suppress(TimeoutError, TelegramError, RuntimeError):
                    async with asyncio.timeout(STOP_SECONDS):
                        await app.updater.stop()
                with contextlib.suppress(RuntimeError):
                    await app.stop()
            finally:  # also when cancelled again during shutdown
                try:
                    await app.shutdown()
                except RuntimeError:  # the updater is still pausing after an error
                    await app.bot.shutdown()

    def _poll_failed(self, error: TelegramError) -> None:
        if isinstance(error, Conflict):
            log.warning("telegram: another instance polls with this token; still sending, polling will be retried")
            return
        log.warning("telegram: polling: %s", type(error).__name__)

    # -- out

    def render(self, answer: Answer) -> dict[str, Any]:
        return render_telegram(answer)

    async def send(self, message: Message) -> Outcome:
        """Send one message."""
        app, rendered = self._app, message.rendered
        if app is None or rendered is None:
            return Outcome("retry", self.state)
        note = REPEAT_NOTE if message.repeat else ""
        text = rendered["plain"] if message.plain else rendered["html"]
        if units(note + text) > 4096:
            text = fit(rendered["plain"], 4096 - units(note))
        try:
            if message.edits:
                return await self._edit(app, message, text)
            chat_id, topic = address(message.remote_chat)
            sent = await app.bot.send_message(
                chat_id,
                note + text,
                None if message.plain else ParseMode.HTML,
                message_thread_id=topic,
                reply_markup=None if message.plain else keyboard(rendered),
                link_preview_options=NO_PREVIEW,
            )
        except ANSWERS as error:
            return outcome_of(error)
        return Outcome("sent", remote_id=str(sent.message_id))

    async def _edit(self, app: Any, message: Message, text: str) -> Outcome:
        """Edit a sent message. One that has this text already counts as sent."""
        assert message.rendered is not None  # noqa: S101  # send() has checked it
        try:
            await app.bot.edit_message_text(
                text,
                address(message.remote_chat)[0],
                int(message.edits or 0),
                parse_mode=None if message.plain else ParseMode.HTML,
                reply_markup=None if message.plain else keyboard(message.rendered),
                link_preview_options=NO_PREVIEW,
            )
        except ANSWERS as error:
            outcome = outcome_of(error, edit=True)
            return replace(outcome, remote_id=message.edits or "") if outcome.kind == "sent" else outcome
        return Outcome("sent", remote_id=message.edits or "")

    # -- who is who

    async def is_admin(self, remote_chat: str, user_id: str, kind: ChatKind) -> bool:
        """Return whether a user owns the chat, or is an admin with one of the RIGHTS for its kind."""
        member, status = await self._member(remote_chat, user_id)
        if status != ChatMemberStatus.ADMINISTRATOR:
            return status == ChatMemberStatus.OWNER
        return any(getattr(member, right, False) is True for right in RIGHTS[kind])

    async def is_member(self, remote_chat: str, user_id: str) -> bool | None:
        status = (await self._member(remote_chat, user_id))[1]
        return status in MEMBERS if status else None

    async def resolve(self, name: str) -> tuple[str, str, ChatKind] | None:
        if self._app is None:
            return None
        try:
            chat = await self._app.bot.get_chat(name)
            await self._app.bot.get_chat_member(chat.id, self._app.bot.id)
        except TelegramError:
            return None
        if chat.type == ChatType.PRIVATE:
            return None
        return str(chat.id), chat.title or name, "channel" if chat.type == ChatType.CHANNEL else "group"

    async def private_chat(self, user_id: str) -> str | None:
        return user_id or None

    def user_of(self, remote_chat: str) -> str | None:
        return remote_chat if remote_chat.isdecimal() else None

    async def _member(self, remote_chat: str, user_id: str) -> tuple[ChatMember | None, str]:
        """Return a user's membership of a chat and their status, empty if Telegram does not report it."""
        if self._app is None or not user_id:
            return None, ""
        try:
            member = await self._app.bot.get_chat_member(address(remote_chat)[0], int(user_id))
        except ANSWERS as error:
            words = str(error).lower() if isinstance(error, BadRequest) else ""
            return None, ChatMemberStatus.LEFT if any(each in words for each in NO_MEMBER) else ""
        if member.status == ChatMemberStatus.RESTRICTED and not getattr(member, "is_member", False):
            return member, ChatMemberStatus.LEFT
        return member, str(member.status)


def _application(token: str, api: str | None, polls: PollRequest | None = None) -> App:
    builder = ApplicationBuilder().token(token).concurrent_updates(True)  # the builder's signature
    builder = builder.read_timeout(SEND_READ_SECONDS).write_timeout(PATIENCE_SECONDS).pool_timeout(PATIENCE_SECONDS)
    if polls is not None:
        builder = builder.get_updates_request(polls)
    if api is not None:
        builder = builder.base_url(f"{api}/bot").base_file_url(f"{api}/file/bot")
    return builder.build()


SCOPES: tuple[tuple[BotCommandScope, Callable[[Command], bool]], ...] = (
    (BotCommandScopeDefault(), lambda command: not command.group_only),
    (BotCommandScopeAllGroupChats(), lambda command: not command.admin_only),
    (BotCommandScopeAllChatAdministrators(), lambda _command: True),
)
"""Which commands the menu shows: by default, in a group, and to its admins."""


async def set_menus(app: App) -> None:
    """Set the command menus by scope and language. Log the first failure and stop there."""
    for tag in LANGUAGES:
        for scope, shown in SCOPES:
            with use_language(tag):
                menu = [BotCommand(c.name, _(c.help)) for c in all_commands() if shown(c)]
            code = None if tag == SOURCE else tag.partition("-")[0]
            try:
                await app.bot.set_my_commands(menu, scope=scope, language_code=code)
            except TelegramError as error:
                log.warning("telegram: a menu was not set (%s)", type(error).__name__)
                return


async def check_telegram(token: str, api: str | None) -> tuple[list[str], bool]:
    """Check the token. Return lines to print (name and links of the bot), and whether it works."""
    app = _application(token, api)
    try:
        await app.bot.initialize()
        me = app.bot.bot
        link = f"https://t.me/{me.username}"
        privacy = "reads all group messages" if me.can_read_all_group_messages else "sees only commands in groups"
        lines = [f"reached as @{me.username} ({privacy})", f"link {link}", f"into a group {link}?startgroup=1"]
    except InvalidToken:
        return ["the token was refused"], False
    except TelegramError as error:
        return [f"cannot be reached ({type(error).__name__})"], False
    else:
        return lines, True
    finally:
        await app.bot.shutdown()
