"""The main job: venues in, map, alert and answer out, over real sockets, with a kill in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.clock import ScaledClock, SystemClock
from engine.history import parse_time, read_history
from engine.loopback.recorded import RecordedSource
from engine.loopback.server import LoopbackExchange
from engine.loopback.simulated import SimulatedSource
from engine.loopback.tape import Source, Tape
from tests.conftest import HISTORY, needs_history, until
from tests.process import Process, connected
from tests.servers.discord import DiscordServer
from tests.servers.telegram import Sent, TelegramServer

USER, GROUP, GROUP_ADMIN = 7, -100500, 8
SETUP_SPEED, SPEED = 5.0, 120.0
"""Market seconds per second: slow until everything has been set up and answered, however long that takes, then fast."""

PATIENCE = 200.0
"""Seconds to wait for what the market does, on a machine that does other things too."""

FALL = "2025-12-15T13:25:00Z"
"""Bitcoin at 89,900 an hour and a half before it fell through 88,000 to 85,000."""

HISTORY_DAYS = 10
FALLING_SEED = 11
FALLING_BEFORE_MS = round(62.2 * 3_600_000)
"""Time before its end when this market comes near a long cluster, ms. A sweep follows within half an hour."""


class GatedClock:
    """A market clock that can be given another speed."""

    def __init__(self, start: int, speed: float) -> None:
        self._clock = ScaledClock(start, SystemClock().now(), speed)

    @property
    def speed(self) -> float:
        return self._clock.speed

    @property
    def text(self) -> str:
        return self._clock.text

    def now(self) -> int:
        return self._clock.now()

    def run_at(self, speed: float) -> None:
        self._clock = ScaledClock(self.now(), SystemClock().now(), speed)


class World:
    """An exchange, both chat platforms, and the program between them."""

    def __init__(self, source: Source, start: int, folder: Path) -> None:
        self.clock = GatedClock(start, SETUP_SPEED)
        self.exchange = LoopbackExchange({"BTC": Tape(source)}, self.clock)
        self.telegram, self.discord = TelegramServer(), DiscordServer()
        self.telegram.admins[GROUP] = {GROUP_ADMIN}
        self._folder, self.database = folder, folder / "a.sqlite"
        self.tier = "normal"
        self.program: Process

    async def start(self) -> None:
        await asyncio.gather(self.exchange.start(), self.telegram.start(), self.discord.start())
        self.program = connected(self, self._folder, self.database, HISTORY_DAYS)
        await self.program.start()

    async def speed_up(self) -> None:
        """Start the program again on a fast clock: what has been set up is in its database."""
        assert await self.program.terminate() == 0
        self.clock.run_at(SPEED)
        self.program.set(CLOCK=self.clock.text)
        await self.program.start()

    async def stop(self) -> None:
        await self.program.close()
        await asyncio.gather(self.exchange.stop(), self.telegram.stop(), self.discord.stop())

    async def ask(self, text: str, user: int = USER, chat: int | None = None) -> Sent:
        """Send a text on Telegram as a user. Return the answer."""
        where = chat if chat is not None else user
        before = len(self.answers(where))
        self.telegram.say(user, text, chat)
        await until(lambda: len(self.answers(where)) > before, PATIENCE)
        return self.answers(where)[-1]

    async def ready(self) -> None:
        """Wait until the history has been read, so that answers are about now."""
        async with asyncio.timeout(PATIENCE):
            while True:
                text = (await self.ask("/liq 88000")).plain
                if not any(words in text for words in ("too stale", "Still building", "Too many")):
                    return
                await asyncio.sleep(2)

    def answers(self, chat: int) -> list[Sent]:
        return [sent for sent in self.telegram.to(chat) if not is_alert(sent.plain)]

    def alerts(self, chat: int, kind: str) -> list[str]:
        return [sent.plain for sent in self.telegram.to(chat) if kind_of(sent.plain) == kind]

    def channel_alerts(self, kind: str) -> list[str]:
        texts = [f"{m.content} {m.embeds}" for m in self.discord.messages(self.discord.channel.id)]
        return [text for text in texts if kind_of(text) == kind]

    async def slash(self, user: int, name: str, **options: Any) -> Any:
        """Give a slash command on Discord. Return the answer."""
        await until(lambda: name in self.discord.synced(), PATIENCE)
        record = self.discord.slash(user, self.discord.channel.id, name, **options)
        await until(lambda: self.discord.answer(record) is not None, PATIENCE)
        return self.discord.answer(record)


def stories(database: Path) -> dict[str, dict[str, list[str]]]:
    """The kinds of each chat's alerts in order, by the chat's platform and id and by the cluster they are about."""
    query = (
        "SELECT chat.platform || ' ' || chat.remote_id, json_extract(event.facts, '$.cluster.id'), event.kind "
        "FROM alert JOIN event ON event.id = event_id JOIN chat ON chat.id = alert.chat_id "
        "WHERE event.kind IN ('near', 'swept') ORDER BY alert.id"
    )
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        by_chat: dict[str, dict[str, list[str]]] = {}
        for chat, cluster, kind in db.execute(query):
            by_chat.setdefault(chat, {}).setdefault(cluster, []).append(kind)
    return by_chat


def headline(text: str) -> str:
    """Return the first line of a message, without the note that it may be a repeat."""
    return text.removeprefix("(may be a repeat)\n").split("\n")[0]


def kind_of(text: str) -> str:
    head = headline(text)
    for kind, words in (("near", "% above long cluster"), ("swept", " swept "), ("offline", "I was offline")):
        if words in head:
            return kind
    return "other" if "cluster" in head and "[SIMULATED]" in head and "Dense" not in text else ""


def is_alert(text: str) -> bool:
    if any(words in headline(text) for words in ("Test alert", "below short cluster", "data is back", "no data")):
        return True
    return kind_of(text) in ("near", "swept", "offline")


def december() -> tuple[Source, int, str]:
    """Return recorded bars, the time to start at, and an alert tier."""
    return RecordedSource(read_history(HISTORY)), parse_time(FALL), "normal"


def made_up() -> tuple[Source, int, str]:
    """Return a simulated market, a time shortly before it falls through a cluster, and an alert tier."""
    made_for = 1_795_320_000_000
    return SimulatedSource(FALLING_SEED, made_for, HISTORY_DAYS), made_for - FALLING_BEFORE_MS, "busy"


@pytest.fixture(params=[pytest.param(december, marks=needs_history), made_up])
async def fall(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    source, start, tier = request.param()
    world = World(source, start, tmp_path)
    world.tier = tier
    await world.start()
    yield world
    await world.stop()


async def test_chats_and_a_channel_get_alerts_of_a_fall_despite_a_kill(fall: World) -> None:
    await fall.ready()
    answer = await fall.ask("/liq 88000")
    assert "BTC 88,000: ~$" in answer.plain
    assert "of longs liquidated on the way" in answer.plain
    assert "Binance" in answer.plain
    assert "Bybit" in answer.plain
    assert "OI " in answer.plain
    assert f"near {fall.tier}" in (await fall.ask(f"/threshold {fall.tier}")).plain
    assert "Subscribed" in (await fall.ask(f"/subscribe {fall.tier}", GROUP_ADMIN, GROUP)).plain
    refused = await fall.slash(fall.discord.member.id, "quiet", hours="23:00-07:00")
    assert "Only admins" in refused.content
    assert "Subscribed" in (await fall.slash(fall.discord.admin.id, "subscribe", tier=fall.tier)).content
    picture = await fall.ask("/map")
    assert picture.photo.startswith(b"\x89PNG")

    await fall.speed_up()
    # Price comes near. We kill the program while the alert to Telegram is in flight; it arrives after the restart.
    fall.telegram.hold_sends.clear()
    await until(lambda: fall.channel_alerts("near"), PATIENCE)
    await until(lambda: any(method == "sendMessage" for method, _ in fall.telegram.calls[-3:]), PATIENCE)
    await fall.program.kill()
    fall.telegram.hold_sends.set()
    await fall.program.start()

    for chat in (USER, GROUP):
        await until(lambda c=chat: fall.alerts(c, "near"), PATIENCE)  # type: ignore[misc]  # its own chat
        await until(lambda c=chat: fall.alerts(c, "swept"), PATIENCE)  # type: ignore[misc]
    await until(lambda: fall.channel_alerts("swept"), PATIENCE)

    chats = {f"telegram {USER}": USER, f"telegram {GROUP}": GROUP}
    places = (f"discord {fall.discord.channel.id}", *chats)

    def all_know_an_end() -> bool:
        by_chat = stories(fall.database)
        return all(["near", "swept"] in by_chat.get(place, {}).values() for place in places)

    await until(all_know_an_end, PATIENCE)
    by_chat = stories(fall.database)
    for place in places:
        kinds = by_chat[place].values()
        assert all(len(kind) == len(set(kind)) for kind in kinds), by_chat
        assert ["swept", "near"] not in kinds, by_chat
    for name, number in chats.items():
        near = [text for text in fall.alerts(number, "near") if "may be a repeat" not in text]
        # What was on the wire when the plug was pulled may come twice on Telegram, and then says so.
        assert len(near) <= sum("near" in kind for kind in by_chat[name].values())
        texts = [sent.plain for sent in fall.telegram.to(number)]
        assert all(text.removeprefix("(may be a repeat)\n").startswith("[SIMULATED]") for text in texts)
    assert await fall.program.terminate() == 0
    for secret in (fall.telegram.token, fall.discord.token):
        assert secret not in fall.program.errors
    assert "Traceback" not in fall.program.errors, fall.program.errors


@pytest.fixture
async def simulated(tmp_path: Path) -> AsyncIterator[World]:
    start = 1_795_320_000_000
    world = World(SimulatedSource(7, start, HISTORY_DAYS), start, tmp_path)
    await world.start()
    yield world
    await world.stop()


async def test_both_chats_are_answered_and_state_survives_a_restart(simulated: World) -> None:
    await simulated.ready()
    simulated.telegram.say(USER, "/start")
    await until(lambda: any("Test alert" in sent.plain for sent in simulated.telegram.to(USER)), PATIENCE)
    assert "Alerts set: near 2% busy" in (await simulated.ask("/threshold 2% busy")).plain
    answer = await simulated.slash(simulated.discord.member.id, "liq", price="88k")
    assert "BTC 88,000" in answer.content
    assert answer.components
    pressed = simulated.discord.click(simulated.discord.member.id, simulated.discord.channel.id, answer, "Map")
    await until(lambda: simulated.discord.answer(pressed) is not None, PATIENCE)
    assert simulated.discord.answer(pressed).attachments
    assert await simulated.program.terminate() == 0
    assert "Traceback" not in simulated.program.errors, simulated.program.errors
    await simulated.program.start()
    assert "near 2% busy" in (await simulated.ask("/alerts")).plain
    assert "without" not in (await simulated.ask("/clusters")).plain
    assert await simulated.program.terminate() == 0


async def until_said(world: World, command: str, words: str) -> None:
    """Ask until an answer has these words: a venue is missed only once its data is old."""
    async with asyncio.timeout(PATIENCE):
        while words not in (await world.ask(command)).plain:  # noqa: ASYNC110  # the answer is what is awaited
            await asyncio.sleep(5)


async def test_a_wrong_token_ends_the_program_but_a_venue_outage_does_not(tmp_path: Path) -> None:
    start = 1_795_320_000_000
    world = World(SimulatedSource(7, start, HISTORY_DAYS), start, tmp_path)
    world.exchange.fail("okx", "down")
    await world.start()
    try:
        await world.ready()
        await until_said(world, "/liq 88000", "without OKX")
        status = (await world.ask("/status")).plain
        assert "OKX: failing" in status
        assert await world.program.terminate(signal.SIGINT) == 0
        world.program.set(DISCORD_TOKEN="wrong-discord-token")
        await world.program.start()
        assert await world.program.ended() == 2
        assert "token was refused" in world.program.errors
        assert "wrong-discord-token" not in world.program.errors
        assert "Traceback" not in world.program.errors
    finally:
        await world.stop()
