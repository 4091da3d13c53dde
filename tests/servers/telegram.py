"""A Telegram Bot API server: long polling, messages, photos, members, and faults on demand."""

from __future__ import annotations

import asyncio
import html.parser
import json
import random
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

TOKEN = "123456:TEST-TOKEN-abcdefghijklmnop"
BOT = {"id": 123456, "is_bot": True, "first_name": "Cliffwatch", "username": "cliffwatch_bot"}
ADMIN_RIGHTS = [
    "can_be_edited",
    "can_manage_chat",
    "can_delete_messages",
    "can_manage_video_chats",
    "can_restrict_members",
    "can_promote_members",
    "can_change_info",
    "can_invite_users",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
]
TAGS = frozenset(
    "a b strong i em s strike del u ins span pre code blockquote tg-spoiler tg-emoji".split()  # noqa: SIM905
)


class RefusedError(Exception):
    """The platform's error response, raised instead of handling the call."""

    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status, self.description, self.parameters = status, description, parameters


class PageError(RefusedError):
    """A response from a proxy in front of the platform: a text as it is."""

    def __init__(self, status: int, text: str, content_type: str = "text/html") -> None:
        super().__init__(status, text)
        self.content_type = content_type


@dataclass
class Sent:
    """A message as the server accepted it."""

    chat_id: int
    text: str
    method: str
    buttons: list[list[dict[str, str]]] = field(default_factory=list)
    photo: bytes = b""
    parse_mode: str = ""
    at: float = 0.0
    message_id: int = 0
    topic: int | None = None
    replies_to: int | None = None
    forces_reply: bool = False
    file: bytes = b""
    edits: int = 0

    @property
    def plain(self) -> str:
        return _Checker.plain(self.text) if self.parse_mode == "HTML" else self.text


Spoil = Literal["cut", "garbage", "silence"]


async def spoil(request: web.Request, how: Spoil) -> web.StreamResponse:
    """Send a broken response: the connection is reset halfway, it is a page, or it never comes."""
    if how == "silence":
        await asyncio.sleep(600)
    if how == "garbage":
        return web.Response(text="<html>busy</html>", content_type="text/html")
    response = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"ok"')
    assert request.transport is not None
    request.transport.abort()
    return response


Fault = Callable[[str, dict[str, str]], RefusedError | None]


class Permitted:
    """Telegram's limits: 30 messages a second in all, one a second in a chat, 20 a minute in a group."""

    def __init__(self) -> None:
        self.refused = 0
        self._all: deque[float] = deque()
        self._chats: dict[int, deque[float]] = {}

    def __call__(self, method: str, fields: dict[str, str]) -> RefusedError | None:
        """Return a refusal if a send exceeds a limit, else None."""
        if not method.startswith("send"):
            return None
        now, chat_id = time.monotonic(), int(fields["chat_id"])
        mine = self._chats.setdefault(chat_id, deque())
        for times, seconds in ((self._all, 1.0), (mine, 60.0)):
            while times and times[0] <= now - seconds:
                times.popleft()
        lately = sum(at > now - 0.95 for at in mine)
        if len(self._all) >= 30 or lately or (chat_id < 0 and len(mine) >= 20):
            self.refused += 1
            return RefusedError(429, "Too Many Requests: retry after 1", retry_after=1)
        self._all.append(now)
        mine.append(now)
        return None


class TelegramServer:
    """Keeps the messages that were sent. Push updates of users with say() and press()."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.sent: list[Sent] = []
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.slow_seconds = 0.0
        """Upper bound of the random delay before a message is accepted. Once the sender is gone, a share is dropped."""

        self.unheard_share = 0.5
        self.spoils: Spoil | None = None
        """How to break the response to an accepted message."""

        self.on_the_wire = asyncio.Event()
        self.watched = ""
        """If set, a message that contains this sets on_the_wire, waits until its sender is gone, and is dropped."""

        self.unheard: list[tuple[int, str]] = []
        """Chat and text of messages dropped because their sender was gone."""

        self.menus: dict[tuple[str, str], list[str]] = {}
        """Names of commands by scope and language."""

        self.notices: list[str] = []
        """Notices shown to users who pressed buttons."""

        self.inline: list[list[dict[str, Any]]] = []
        """Answers to inline queries."""

        self.languages: dict[int, str] = {}
        """Languages of users' apps, by user."""

        self.hold_sends = asyncio.Event()
        self.hold_sends.set()
        self.admins: dict[int, set[int]] = {}
        self.members: dict[int, set[int]] = {}
        self.owners: dict[int, set[int]] = {}
        self.without: dict[int, tuple[str, ...]] = {}
        """Rights that admins lack, by user."""
        self.chats: dict[int, dict[str, Any]] = {}
        self._updates: list[dict[str, Any]] = []
        self._said: dict[int | None, dict[str, Any]] = {}
        self._chance = random.Random(1)
        self._update_id = 100
        self._message_id = 10
        self._news = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=32 << 20)
        app.router.add_route("*", "/bot{token}/{method}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    # -- people

    def person(self, user_id: int) -> dict[str, Any]:
        profile = {"id": user_id, "is_bot": False, "first_name": f"User{user_id}"}
        return profile | ({"language_code": self.languages[user_id]} if user_id in self.languages else {})

    def chat(self, chat_id: int) -> dict[str, Any]:
        profile = {"id": chat_id, "type": "private" if chat_id > 0 else "supergroup"}
        if chat_id < 0:
            profile["title"] = f"Group {chat_id}"
        return {**profile, **self.chats.get(chat_id, {})}

    def forge(self, user_id: int, message: Sent, code: str) -> None:
        """Send a press of a button that the message does not have."""
        self.press(user_id, message, "", code)

    def say(
        self,
        user_id: int,
        text: str,
        chat_id: int | None = None,
        topic: int | None = None,
        replies_to: Sent | None = None,
    ) -> int:
        """Write as a user: privately, in a group or in a topic of it. Return the id of the message."""
        chat = self.chat(chat_id if chat_id is not None else user_id)
        number = self._next_id()
        message = {"message_id": number, "date": int(time.time()), "chat": chat, "text": text}
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}]
        if topic is not None:
            message |= {"message_thread_id": topic, "is_topic_message": True}
        if replies_to is not None:
            shown = {"message_id": replies_to.message_id, "date": int(time.time()), "chat": chat, "text": "x"}
            message["reply_to_message"] = {**shown, "from": BOT}
        if chat["type"] == "channel":
            message["sender_chat"] = chat
            self._push(channel_post=message)
        else:
            message["from"] = self.person(user_id)
            self._push(message=message)
        self._said[number] = message
        return number

    def ask_inline(self, user_id: int, text: str) -> None:
        """Type @bot and words in any chat, as a user."""
        query = {"id": str(self._next_id()), "from": self.person(user_id), "query": text, "offset": ""}
        self._push(inline_query=query)

    def press(self, user_id: int, message: Sent, label: str, code: str | None = None) -> None:
        """Press a button of a message, as a user."""
        data = code or next(b["callback_data"] for row in message.buttons for b in row if b["text"] == label)
        shown: dict[str, Any] = {
            "message_id": message.message_id,
            "date": int(time.time()),
            "chat": self.chat(message.chat_id),
            "from": BOT,
            "reply_markup": {"inline_keyboard": message.buttons},
        }
        if message.photo:
            shown["photo"] = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
        else:
            shown["text"] = message.plain
        if message.replies_to in self._said:
            shown["reply_to_message"] = self._said[message.replies_to]
        if message.topic is not None:
            shown |= {"message_thread_id": message.topic, "is_topic_message": True}
        query = {"id": str(self._next_id()), "from": self.person(user_id), "chat_instance": "1", "data": data}
        self._push(callback_query={**query, "message": shown})

    def block(self, user_id: int, *, blocked: bool) -> None:
        """Block or unblock the bot, as a user."""
        me: dict[str, Any] = {"status": "kicked", "user": BOT, "until_date": 0}
        free: dict[str, Any] = {"status": "member", "user": BOT}
        change = {"chat": self.chat(user_id), "from": self.person(user_id), "date": int(time.time())}
        self._push(
            my_chat_member={
                **change,
                "old_chat_member": free if blocked else me,
                "new_chat_member": me if blocked else free,
            }
        )

    def migrate(self, old: int, new: int) -> None:
        """Turn a group into a supergroup."""
        message = {"message_id": self._next_id(), "date": int(time.time()), "chat": self.chat(old)}
        self._push(message={**message, "migrate_to_chat_id": new})

    def demote(self, chat_id: int, user_id: int, *, posts: bool) -> None:
        """Take away the bot's right to post in a channel, or give it back."""
        rights = dict.fromkeys(ADMIN_RIGHTS, True) | {"can_be_edited": False, "is_anonymous": False}
        member: dict[str, Any] = {"status": "administrator", "user": BOT, **rights}
        change = {"chat": self.chat(chat_id), "from": self.person(user_id), "date": int(time.time())}
        before, after = (member | {"can_post_messages": can} for can in (not posts, posts))
        self._push(my_chat_member={**change, "old_chat_member": before, "new_chat_member": after})

    def to(self, chat_id: int) -> list[Sent]:
        """Return the messages sent to a chat."""
        return [sent for sent in self.sent if sent.chat_id == chat_id]

    def _push(self, **update: Any) -> None:
        self._update_id += 1
        self._updates.append({"update_id": self._update_id, **update})
        self._news.set()

    def _next_id(self) -> int:
        self._message_id += 1
        return self._message_id

    # -- the wire

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        fields, photo = await _fields(request)
        self.calls.append((method, fields))
        try:
            for fault in tuple(self.faults):
                if (refused := fault(method, fields)) is not None:
                    raise refused
            if request.match_info["token"] != self.token:
                raise RefusedError(401, "Unauthorized")
            if method.startswith("send"):
                await self._listen(request, fields)
            handler = getattr(self, f"_{method}", None)
            if handler is None:
                raise RefusedError(404, "Not Found")
            result = handler(fields, photo)
            if asyncio.iscoroutine(result):
                result = await result
        except PageError as page:
            return web.Response(text=page.description, status=page.status, content_type=page.content_type)
        except RefusedError as refused:
            body: dict[str, Any] = {"ok": False, "error_code": refused.status, "description": refused.description}
            if refused.parameters:
                body["parameters"] = refused.parameters
            return web.json_response(body, status=refused.status)
        if method.startswith("send") and self.spoils:
            return await spoil(request, self.spoils)
        return web.json_response({"ok": True, "result": result})

    async def _listen(self, request: web.Request, fields: dict[str, str]) -> None:
        """Delay a message as configured. Refuse it if it is dropped because its sender is gone."""
        text = fields.get("text", "")
        aimed = bool(self.watched) and self.watched in text
        if aimed:
            self.on_the_wire.set()
            while request.transport is not None:  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.01)
        elif self.slow_seconds:
            await asyncio.sleep(self.slow_seconds * self._chance.random())
        if request.transport is None and (aimed or self._chance.random() < self.unheard_share):
            self.unheard.append((int(fields["chat_id"]), text))
            raise RefusedError(500, "the sender is gone")

    def _getMe(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802  # the API's names
        return {**BOT, "can_join_groups": True, "can_read_all_group_messages": False}

    def _deleteWebhook(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        return True

    def _setMyCommands(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        for command in json.loads(fields["commands"]):
            if not command["command"].islower() or not 1 <= len(command["description"]) <= 256:
                raise RefusedError(400, "Bad Request: BOT_COMMAND_INVALID")
        scope = json.loads(fields["scope"])["type"] if "scope" in fields else "default"
        self.menus[scope, fields.get("language_code", "")] = [c["command"] for c in json.loads(fields["commands"])]
        return True

    def _answerCallbackQuery(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        if len(fields.get("text", "")) > 200:
            raise RefusedError(400, "Bad Request: MESSAGE_TOO_LONG")
        if fields.get("text"):
            self.notices.append(fields["text"])
        return True

    def _answerInlineQuery(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        results = json.loads(fields["results"])
        for result in results:
            if not 1 <= len(result["id"].encode()) <= 64 or not result["title"]:
                raise RefusedError(400, "Bad Request: RESULT_ID_INVALID")
            self._check_text(result["input_message_content"]["message_text"], "HTML", 4096, "message is too long")
        self.inline.append(results)
        return True

    def _deleteMessage(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        gone = [sent for sent in self.to(int(fields["chat_id"])) if sent.message_id == int(fields["message_id"])]
        if not gone:
            raise RefusedError(400, "Bad Request: message to delete not found")
        self.sent.remove(gone[0])
        return True

    def _sendDocument(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        self._check_text(fields.get("caption", ""), fields.get("parse_mode", ""), 1024, "caption is too long")
        message = self._keep(fields, fields.get("caption", ""), "sendDocument", b"")
        self.sent[-1].file = photo
        return message

    def _editMessageMedia(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        if not photo.startswith(b"\x89PNG"):
            raise RefusedError(400, "Bad Request: IMAGE_PROCESS_FAILED")
        media = json.loads(fields["media"])
        self._check_text(media["caption"], media.get("parse_mode", ""), 1024, "caption is too long")
        return self._change(fields, media["caption"], photo)

    async def _getUpdates(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        offset, deadline = int(fields.get("offset", 0)), time.monotonic() + int(fields.get("timeout", 0))
        # Kept until a larger offset confirms them: a poll that was cut off must not lose any.
        self._updates = [u for u in self._updates if u["update_id"] >= offset]
        while not self._updates and time.monotonic() < deadline:
            self._news.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._news.wait()
            except TimeoutError:
                break
        return self._updates

    async def _sendMessage(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        await self.hold_sends.wait()
        self._check_text(fields.get("text", ""), fields.get("parse_mode", ""), 4096, "message is too long")
        return self._keep(fields, fields["text"], "sendMessage", b"")

    def _editMessageText(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        self._check_text(fields.get("text", ""), fields.get("parse_mode", ""), 4096, "message is too long")
        return self._change(fields, fields["text"], b"")

    def _change(self, fields: dict[str, str], text: str, photo: bytes) -> Any:
        number = int(fields["message_id"])
        target = next((sent for sent in self.to(int(fields["chat_id"])) if sent.message_id == number), None)
        if target is None:
            raise RefusedError(400, "Bad Request: message to edit not found")
        if target.text == text and target.photo == photo:
            raise RefusedError(400, "Bad Request: message is not modified: specified new message content is the same")
        target.text, target.photo, target.edits = text, photo, target.edits + 1
        target.buttons = json.loads(fields["reply_markup"])["inline_keyboard"] if "reply_markup" in fields else []
        shown = {"message_id": number, "date": int(time.time()), "edit_date": int(time.time())}
        return {**shown, "chat": self.chat(target.chat_id), "text": target.text}

    def _sendPhoto(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        if not photo.startswith(b"\x89PNG"):
            raise RefusedError(400, "Bad Request: IMAGE_PROCESS_FAILED")
        if fields.get("caption"):
            text = fields["caption"]
            self._check_text(text, fields.get("parse_mode", ""), 1024, "message caption is too long")
        return self._keep(fields, fields.get("caption", ""), "sendPhoto", photo)

    def _getChat(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        wanted = fields["chat_id"]
        matching_id = next((i for i, chat in self.chats.items() if f"@{chat.get('username')}" == wanted), None)
        if matching_id is None and not wanted.lstrip("-").isdigit():
            raise RefusedError(400, "Bad Request: chat not found")
        gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
        chat = self.chat(matching_id if matching_id is not None else int(wanted))
        return {
            **chat,
            "accent_color_id": 0,
            "max_reaction_count": 11,
            "accepted_gift_types": dict.fromkeys(gifts, True),
        }

    def _getChatMember(self, fields: dict[str, str], photo: bytes) -> Any:  # noqa: N802
        chat_id, user_id = int(fields["chat_id"]), int(fields["user_id"])
        user = BOT if user_id == BOT["id"] else self.person(user_id)
        if user_id in self.admins.get(chat_id, set()):
            rights = dict.fromkeys(ADMIN_RIGHTS, True)
            if self.chat(chat_id)["type"] == "channel":
                rights |= {"can_post_messages": True, "can_edit_messages": True}
            rights |= dict.fromkeys(self.without.get(user_id, ()), False)
            return {"status": "administrator", "user": user, "is_anonymous": False, **rights}
        if user_id in self.owners.get(chat_id, set()):
            return {"status": "creator", "user": user, "is_anonymous": False}
        if user_id in self.members.get(chat_id, set()) or user_id == BOT["id"]:
            return {"status": "member", "user": user}
        return {"status": "left", "user": user}

    def _keep(self, fields: dict[str, str], text: str, method: str, photo: bytes) -> Any:
        markup = json.loads(fields.get("reply_markup", "{}"))
        buttons = markup.get("inline_keyboard", [])
        for row in buttons:
            for button in row:
                if not 1 <= len(button.get("callback_data", "").encode()) <= 64:
                    raise RefusedError(400, "Bad Request: BUTTON_DATA_INVALID")
        chat_id = int(fields["chat_id"])
        mode = fields.get("parse_mode", "")
        number = self._next_id()
        answered = json.loads(fields.get("reply_parameters", "{}")).get("message_id")
        topic = int(fields["message_thread_id"]) if "message_thread_id" in fields else None
        forced = bool(markup.get("force_reply"))
        kept = Sent(chat_id, text, method, buttons, photo, mode, time.monotonic(), number, topic, answered, forced)
        self.sent.append(kept)
        message: dict[str, Any] = {"message_id": number, "date": int(time.time()), "chat": self.chat(chat_id)}
        if photo:
            size = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}
            return {**message, "photo": [size], "caption": text}
        return {**message, "text": text}

    def _check_text(self, text: str, mode: str, limit: int, too_long: str) -> None:
        if mode == "HTML":
            text = _Checker.plain(text)
        if not text.strip():
            raise RefusedError(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > limit:
            raise RefusedError(400, f"Bad Request: {too_long}")


async def _fields(request: web.Request) -> tuple[dict[str, str], bytes]:
    if not request.content_type.startswith("multipart/"):
        return {key: str(value) for key, value in (await request.post()).items()}, b""
    fields, photo = {}, b""
    async for part in await request.multipart():
        if getattr(part, "filename", None):
            photo = bytes(await part.read())  # type: ignore[union-attr]  # a body part, not a nested multipart
        else:
            fields[str(part.name)] = await part.text()  # type: ignore[union-attr]
    return fields, photo


class _Checker(html.parser.HTMLParser):
    """Telegram's rules for HTML: known tags, properly nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.stack: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            raise RefusedError(
                400, f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}" at byte offset 0'
            )
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            raise RefusedError(400, "Bad Request: can't parse entities: Unmatched end tag at byte offset 0")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @classmethod
    def plain(cls, text: str) -> str:
        if re.search(r"<(?!/?[a-z])", text):
            raise RefusedError(400, 'Bad Request: can\'t parse entities: Unsupported start tag "" at byte offset 0')
        checker = cls()
        checker.feed(text)
        checker.close()
        if checker.stack:
            raise RefusedError(400, f"Bad Request: can't parse entities: Can't find end tag for {checker.stack[-1]}")
        return "".join(checker.text)
