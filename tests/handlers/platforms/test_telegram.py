"""The Telegram platform over real sockets: every response is classified, no token leaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from engine.errors import TokenRefusedError
from engine.messages import Message
from handlers.access import REFUSED, STOPPED
from handlers.alert_messages import alert_answer
from handlers.answers import Answer, Button
from handlers.delivery.limits import TELEGRAM, Limiter
from handlers.pictures import Pictures
from handlers.platforms.telegram.client import TelegramPlatform, check_telegram
from handlers.platforms.telegram.render import fit, render_telegram, units
from tests.conftest import until
from tests.handlers.kit import Kit
from tests.servers.telegram import PageError, RefusedError, TelegramServer, _Checker


class Rig:
    """A platform connected to a server."""

    def __init__(self, kit: Kit, server: TelegramServer) -> None:
        self.kit, self.server = kit, server
        self.pictures = Pictures(kit.services)
        self.platform = TelegramPlatform(kit.services, self.pictures.draw, server.token, server.url)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self.platform.run())
        await until(lambda: any(method == "getUpdates" for method, _ in self.server.calls))

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.pictures.close()

    def message(self, answer: Answer | None = None, *, plain: bool = False, repeat: bool = False) -> Message:
        rendered = self.platform.render(answer or Answer("headline <&>", ("a < b & c",), footer="foot"))
        return Message(1, 1, "7", "private", {}, rendered, 1, "n", 2**60, 0, plain, repeat)


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr("handlers.platforms.telegram.client.SEND_READ_SECONDS", 2.0)
    kit, server = await Kit.make(), TelegramServer()
    await server.start()
    made = Rig(kit, server)
    await made.start()
    yield made
    await made.stop()
    await server.stop()
    await kit.close()


async def test_a_message_arrives_with_markup_and_buttons(rig: Rig) -> None:
    outcome = await rig.platform.send(rig.message(Answer("h <b>", ("1 < 2",), buttons=(Button("Map", "/map btc"),))))
    assert outcome.kind == "sent"
    assert outcome.remote_id
    (sent,) = rig.server.to(7)
    assert sent.plain == "h <b>\n1 < 2"
    assert sent.buttons == [[{"text": "Map", "callback_data": "/map btc"}]]


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (RefusedError(429, "Too Many Requests: retry after 7", retry_after=7), "retry"),
        (RefusedError(403, "Forbidden: bot was blocked by the user"), "gone"),
        (RefusedError(400, "Bad Request: chat not found"), "refused"),
        (RefusedError(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1005), "moved"),
        (RefusedError(400, "Bad Request: can't parse entities: oops"), "plain"),
        (RefusedError(401, "Unauthorized"), "retry"),
        (RefusedError(500, "Internal Server Error"), "retry"),
        (RefusedError(502, "Bad Gateway"), "retry"),
    ],
)
async def test_every_refusal_is_classified(rig: Rig, refused: RefusedError, kind: str) -> None:
    rig.server.faults.append(lambda method, fields: refused if method == "sendMessage" else None)
    outcome = await rig.platform.send(rig.message())
    assert outcome.kind == kind
    assert rig.server.token not in outcome.error
    if refused.status == 429:
        assert outcome.retry_after == 7
    if kind == "moved":
        assert outcome.moved_to == "-1005"


async def test_an_unreachable_server_is_retried_and_a_hanging_one_is_unknown(rig: Rig) -> None:
    rig.server.hold_sends.clear()
    sending = asyncio.create_task(rig.platform.send(rig.message()))
    assert (await sending).kind == "unknown"
    rig.server.hold_sends.set()
    await rig.server.stop()
    assert (await rig.platform.send(rig.message())).kind == "retry"


async def test_a_repeat_says_so_and_plain_text_has_no_markup(rig: Rig) -> None:
    await rig.platform.send(rig.message(repeat=True))
    await rig.platform.send(rig.message(plain=True))
    marked, plain = rig.server.to(7)
    assert marked.plain.startswith("(may be a repeat)\nheadline <&>")
    assert plain.parse_mode == ""
    assert plain.text.startswith("headline <&>")


async def test_commands_buttons_and_pictures(rig: Rig) -> None:
    rig.server.say(7, "/liq 86000")
    await until(lambda: rig.server.to(7))
    rig.server.press(7, rig.server.to(7)[0], "Map")
    await until(lambda: len(rig.server.to(7)) == 2)
    assert rig.server.to(7)[1].photo.startswith(b"\x89PNG")
    assert any(method == "answerCallbackQuery" for method, _ in rig.server.calls)


async def test_in_a_group_other_bots_commands_are_ignored(rig: Rig) -> None:
    rig.server.say(7, "/weather", -5)
    rig.server.say(7, "/liq@other_bot 86000", -5)
    rig.server.say(7, "/liq@cliffwatch_bot 86000", -5)
    await until(lambda: rig.server.to(-5))
    await asyncio.sleep(0.2)
    assert len(rig.server.to(-5)) == 1


async def test_channels_take_commands_by_post_and_from_an_admins_private_chat(rig: Rig) -> None:
    rig.server.chats[-1009] = {"type": "channel", "title": "Mine", "username": "mine"}
    rig.server.say(7, "/subscribe @mine")
    await until(lambda: rig.server.to(7))
    assert "Only admins" in rig.server.to(7)[0].plain
    rig.server.admins[-1009] = {7}
    rig.server.say(7, "/subscribe @mine calm")
    await until(lambda: len(rig.server.to(7)) == 2)
    assert "Subscribed Mine: near calm" in rig.server.to(7)[1].plain
    rig.server.say(0, "/alerts", -1009)
    await until(lambda: rig.server.to(-1009))
    assert "near calm" in rig.server.to(-1009)[0].plain


@pytest.mark.parametrize(
    ("kind", "without", "may"),
    [
        ("channel", ("can_post_messages",), False),
        ("channel", ("can_change_info", "can_delete_messages", "can_restrict_members"), True),
        ("supergroup", ("can_change_info", "can_delete_messages", "can_restrict_members"), False),
        ("supergroup", ("can_change_info", "can_restrict_members"), True),
    ],
)
async def test_an_admin_without_rights_decides_nothing(
    rig: Rig, kind: str, without: tuple[str, ...], may: bool
) -> None:
    """Some admins have only a title, or may only invite. Such admins have flooded channels and emptied groups."""
    rig.server.chats[-1009] = {"type": kind, "title": "Mine", "username": "mine"}
    rig.server.admins[-1009] = {7}
    rig.server.without[7] = without
    rig.server.say(7, "/subscribe @mine calm")
    await until(lambda: rig.server.to(7))
    assert rig.server.to(7)[0].plain.startswith("Subscribed Mine" if may else "Only admins of @mine")
    assert {chat.kind for chat in await rig.kit.store.chats.all() if chat.remote_id == "-1009"} <= {
        kind.removeprefix("super")
    }


async def test_a_group_owner_may_do_all(rig: Rig) -> None:
    rig.server.owners[-5] = {7}
    rig.server.say(7, "/subscribe calm", -5)
    await until(lambda: rig.server.to(-5))
    assert rig.server.to(-5)[0].plain.startswith("Subscribed Group -5")


async def test_a_block_pauses_alerts_until_the_bot_is_unblocked(rig: Rig) -> None:
    rig.server.say(7, "/threshold normal")
    await until(lambda: rig.server.to(7))
    assert len(rig.kit.services.pipeline.rules.rules) == 1
    rig.server.block(7, blocked=True)
    await until(lambda: not rig.kit.services.pipeline.rules.rules)
    rig.server.block(7, blocked=False)
    await until(lambda: len(rig.kit.services.pipeline.rules.rules) == 1)
    notice = await rig.kit.store.outbox.claim("telegram", 1000, ())
    assert notice is not None
    assert alert_answer(notice.body).headline == "Welcome back: your alert is on again"


async def test_during_a_polling_conflict_messages_go_out_and_polling_is_retried(rig: Rig) -> None:
    """Every restart of a bot causes one 409, which must not stop anything."""
    other = True
    conflict = RefusedError(409, "Conflict: terminated by other getUpdates request")
    rig.server.faults.append(lambda method, _: conflict if method == "getUpdates" and other else None)
    rig.server.say(7, "/status")
    await until(lambda: "another instance polls" in rig.platform.state)
    assert (await rig.platform.send(rig.message())).kind == "sent"
    other = False
    await until(lambda: len(rig.server.to(7)) >= 2, 40)
    await until(lambda: rig.platform.state == "ok")


async def test_a_token_refused_after_a_good_start_is_retried_and_reported(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.platforms.telegram.client.DEAF_SECONDS", 1.0)
    monkeypatch.setattr("handlers.platforms.telegram.client.CHECK_SECONDS", 0.2)
    store = rig.kit.store
    await store.operators.add("discord", "99")
    chat = await store.chats.upsert("discord", "99", "private", "")
    refused = True
    rig.server.faults.append(lambda *_: RefusedError(401, "Unauthorized") if refused else None)
    await until(lambda: rig.platform.state == "token refused", 40)
    notice = await store.outbox.claim("discord", 10**9, ())
    assert notice is not None
    assert (notice.chat_id, alert_answer(notice.body).headline) == (
        chat.id,
        "Telegram refuses the token. I'll keep trying.",
    )
    refused = False
    await until(lambda: rig.platform.state == "ok", 60)
    assert await store.outbox.claim("discord", 1000, ()) is None, "reported once"


async def test_a_proxys_404_at_the_first_connect_is_not_a_token_refusal() -> None:
    kit, server = await Kit.make(), TelegramServer()
    await server.start()
    pictures = Pictures(kit.services)
    platform = TelegramPlatform(kit.services, pictures.draw, server.token, server.url)
    pages = [PageError(404, "<html>not found</html>")]
    server.faults.append(lambda *_: pages.pop() if pages else None)
    task = asyncio.create_task(platform.run())
    await until(lambda: platform.state == "ok", 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    pictures.close()
    await server.stop()
    await kit.close()


async def test_an_ill_platform_leaves_membership_unknown(rig: Rig) -> None:
    platform = rig.platform
    rig.server.members[-5] = {8}
    assert await platform.is_member("-5", "8")
    assert await platform.is_member("-5", "9") is False
    answers: list[RefusedError] = []
    rig.server.faults.append(lambda method, _: answers.pop() if method == "getChatMember" and answers else None)
    for ill in (PageError(502, "<html>"), RefusedError(400, "Bad Request: chat not found"), PageError(200, "{}")):
        answers.append(ill)
        assert await platform.is_member("-5", "8") is None
    answers.append(RefusedError(400, "Bad Request: user not found"))
    assert await platform.is_member("-5", "9") is False


async def test_writing_reactivates_a_chat(rig: Rig) -> None:
    """The user had blocked the bot, and we missed the unblocking."""
    rig.server.say(7, "/threshold normal")
    await until(lambda: rig.server.to(7))
    (chat,) = [c for c in await rig.kit.store.chats.all("telegram") if c.remote_id == "7"]
    for reason, comes_back in (("bot was blocked by the user", True), (STOPPED, False), (REFUSED, False)):
        await rig.kit.store.chats.set_active(chat.id, active=False, reason=reason)
        rig.kit.services.pipeline.rules.deactivate_chat(chat.id)
        before = len(rig.server.to(7))
        rig.server.say(7, "/alerts")
        await until(lambda n=before: len(rig.server.to(7)) > n)  # type: ignore[misc]  # its own number
        again = await rig.kit.store.chats.get(chat.id)
        assert again is not None
        assert again.active is comes_back
        assert bool(rig.kit.services.pipeline.rules.of_chat(chat.id)) is comes_back


async def test_a_wrong_token_is_reported_but_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    kit, server = await Kit.make(), TelegramServer()
    await server.start()
    wrong = "654321:WRONG-TOKEN-zyxwvutsrqponm"
    pictures = Pictures(kit.services)
    caplog.set_level(logging.DEBUG, "handlers")
    platform = TelegramPlatform(kit.services, pictures.draw, wrong, server.url)
    with pytest.raises(TokenRefusedError) as refused:
        async with asyncio.timeout(10):
            await platform.run()
    assert platform.state == "token refused"
    assert wrong not in caplog.text + str(refused.value)
    lines, well = await check_telegram(wrong, server.url)
    assert not well
    assert wrong not in " ".join(lines)
    lines, well = await check_telegram(server.token, server.url)
    assert well
    assert "https://t.me/cliffwatch_bot" in " ".join(lines)
    pictures.close()
    await server.stop()
    await kit.close()


async def test_it_connects_once_telegram_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handlers.platforms.telegram.client.RETRY_SECONDS", (0.05, 0.1))
    kit, server = await Kit.make(), TelegramServer()
    await server.start()
    port = server.port
    await server.stop()
    pictures = Pictures(kit.services)
    platform = TelegramPlatform(kit.services, pictures.draw, server.token, f"http://127.0.0.1:{port}")
    task = asyncio.create_task(platform.run())
    await until(lambda: platform.state == "cannot be reached")
    assert not platform.ready
    await server.start(port)
    await until(lambda: platform.ready)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    pictures.close()
    await server.stop()
    await kit.close()


def test_markup_is_escaped_and_never_cut_in_two() -> None:
    rendered = render_telegram(Answer("<i>&" * 3000, ("<b>" * 2000, "x" * 5000), table=(("a", "b"),), footer="<f>"))
    plain = _Checker.plain(rendered["html"])
    assert units(plain) <= 4096
    assert plain.startswith("<i>&")


def test_length_is_counted_as_telegram_counts_it() -> None:
    assert units("😀") == 2
    assert units(fit("😀" * 3000, 4096)) <= 4096


def test_a_button_that_would_be_refused_is_left_out() -> None:
    rendered = render_telegram(Answer("h", buttons=(Button("a", "/liq " + "9" * 80), Button("b", "/map"))))
    assert rendered["buttons"] == [[["b", "/map"]]]


async def test_a_429_of_an_answer_makes_alerts_to_that_chat_wait(rig: Rig) -> None:
    rig.platform.incoming.replies.limiter = limiter = Limiter(TELEGRAM, lambda: 0.0)
    refused = RefusedError(429, "Too Many Requests: retry after 3600", retry_after=3600)
    rig.server.faults.append(lambda method, _: refused if method == "sendMessage" else None)
    rig.server.say(7, "/help")
    await until(limiter.longest_wait)
    assert limiter.longest_wait() == 30.0
    (chat,) = await rig.kit.store.chats.all()
    assert not limiter.hold(chat.id, 5.0)
    assert limiter.hold(chat.id + 1, 5.0)
