"""The crash matrix: kills the program at random moments, start-up included, during a simulated day.

Chats on Telegram and Discord have one-off price rules for levels of that day. The expected alerts follow from the
market alone, not from the program: every level that price crossed while the rule existed must arrive, in its own alert
or in the message after a restart. Meanwhile the platforms return errors, two kinds at a time, that do not concern a
message or chat, so the program must give up neither. On Discord a duplicate within the nonce window is a failure. On
Telegram only a message whose response was cut off may be repeated, and it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.alerts.rules import ONCE, Rule
from engine.clock import ScaledClock, SystemClock
from engine.loopback.server import LoopbackExchange
from engine.loopback.simulated import SimulatedSource
from engine.loopback.tape import Tape
from engine.market import HOUR_MS, MINUTE_MS
from storage.store import Store
from tests.process import ROOT, connected
from tests.servers.discord import DiscordServer
from tests.servers.ills import weather
from tests.servers.telegram import TelegramServer

KILLS, HOURS, TELEGRAM_CHATS, DISCORD_CHANNELS, LEVELS = 220, 24, 8, 3, 20
MARKET_SEED, MADE_FOR, HISTORY_DAYS = 11, 1_795_320_000_000, 3
START_SECONDS = 4.0
"""Approximate start-up time: half of the kills come within it."""

AFTER_SECONDS = 9.0
AIMED_SECONDS = 60.0
SLOW_SECONDS = 0.4
SETTLES_SECONDS = 300.0
"""Time limit for delivery to finish: a message refused many times waits for minutes."""

SURE_MS = 5 * MINUTE_MS
"""Levels that price reached only this close to the start or end are not required."""

REPEAT = "may be a repeat"
BROKEN = ROOT / "benchmarks" / "marks_first.py"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a run.

    Attributes:
        kills: number of times the program was killed.
        wanted: pairs of chat and level that had to be alerted.
        lost: wanted pairs that never arrived.
        doubled_discord: pairs that Discord received more than once without a repeat note.
        doubled_telegram_unmarked: pairs that Telegram received more than once without a repeat note.
        repeats: pairs received more than once, with or without a repeat note.
        traceback: True if the program printed a traceback or ended with an error.
    """

    kills: int
    wanted: int
    lost: int
    doubled_discord: int
    doubled_telegram_unmarked: int
    repeats: int
    traceback: bool


def run() -> Iterator[tuple[str, float, str]]:
    """Run the whole matrix and yield its figures. Takes some twenty minutes."""
    seed = random.SystemRandom().randrange(10**6)
    outcome = asyncio.run(matrix(seed, KILLS, HOURS))
    yield "crash.seed", float(seed), "of the moments of the kills"
    yield "crash.kills", float(outcome.kills), "SIGKILLs by another process"
    yield "crash.wanted", float(outcome.wanted), "alerts that had to arrive"
    yield "crash.lost", float(outcome.lost), "of them, none is right"
    yield "crash.doubled_discord", float(outcome.doubled_discord), "none is right"
    yield "crash.doubled_telegram_unmarked", float(outcome.doubled_telegram_unmarked), "none is right"
    yield "crash.repeats", float(outcome.repeats), "that say so"
    yield "crash.tracebacks", float(outcome.traceback), "none is right"


class Matrix:
    """A market, both platforms, and the program between them."""

    def __init__(self, seed: int, kills: int, hours: float, folder: Path, script: Path, *, aimed: bool) -> None:
        self.aimed = aimed
        self.chance, self.kills, self.hours, self.folder = random.Random(seed), kills, hours, folder
        start = MADE_FOR - round((hours + 2) * HOUR_MS)
        # Average duration of all kills and restarts; the market's hours are scaled to fit into it.
        seconds = 30 + kills * (START_SECONDS + AFTER_SECONDS) / 2
        self.clock = ScaledClock(start, SystemClock().now(), max(hours * 3600 / seconds, 60))
        self.tape = Tape(SimulatedSource(MARKET_SEED, MADE_FOR, HISTORY_DAYS))
        self.exchange = LoopbackExchange({"BTC": self.tape}, self.clock)
        self.telegram, self.discord = TelegramServer(), DiscordServer()
        self.database = folder / "crash.sqlite"
        self.script = script
        self.levels: dict[tuple[str, str], list[int]] = {}

    async def prepare(self) -> None:
        """Start the servers, and store the chats with their price rules."""
        await asyncio.gather(self.exchange.start(), self.telegram.start(), self.discord.start())
        self.telegram.slow_seconds = self.discord.slow_seconds = SLOW_SECONDS
        channels = [self.discord.channel] + [
            self.discord.backend.create_channel(self.discord.guild.id, f"more-{n}") for n in range(1, DISCORD_CHANNELS)
        ]
        chats = [("telegram", str(n), "private") for n in range(1, TELEGRAM_CHATS + 1)]
        chats += [("discord", str(channel.id), "channel") for channel in channels]
        begins, ends = self.clock.now(), self.clock.now() + round(self.hours * HOUR_MS)
        closes = np.array([candle.close for candle in self.tape.candles(MINUTE_MS, begins, ends, ends)])
        store = Store(self.database, SystemClock())
        await store.open()
        for number, (platform, remote_id, kind) in enumerate(chats):
            chat = await store.chats.upsert(platform, remote_id, "private" if kind == "private" else "channel", "")
            await store.chats.approve(chat.id, approved=True)
            shares = (np.arange(LEVELS) + (number + 0.5) / len(chats)) / LEVELS
            levels = sorted({round(float(level)) for level in np.quantile(closes, shares)})
            self.levels[platform, remote_id] = levels
            for level in levels:
                rule = Rule(0, chat.id, "price", "BTC", level=float(level), every_ms=ONCE)
                await store.rules.replace(chat.id, [rule], ["price"])
        await store.close()
        self.program = connected(self, self.folder, self.database, HISTORY_DAYS, self.script)

    async def go(self) -> Outcome:
        """Kill and restart the program while the platforms return errors. Return the outcome."""
        await self.program.start()
        await self._answered()
        begins = self.clock.now()
        ills = asyncio.create_task(weather(self.telegram, self.discord, self.chance)) if not self.aimed else None
        for _ in range(self.kills):
            await self._moment()
            await self.program.kill()
            await self.program.start()
        if ills is not None:
            ills.cancel()
            await asyncio.gather(ills, return_exceptions=True)
        await self._answered()
        ends = self.clock.now()
        await self._settled()
        status = await self.program.terminate()
        return self._outcome(begins, ends, bad_end=status != 0)

    async def _moment(self) -> None:
        """Wait for the moment of a kill: random, or when a message is in flight to Telegram."""
        if not self.aimed:
            limit = START_SECONDS if self.chance.random() < 0.5 else AFTER_SECONDS
            await asyncio.sleep(self.chance.uniform(0, limit))
            return
        self.telegram.on_the_wire.clear()
        self.telegram.watched = "reached"
        async with asyncio.timeout(AIMED_SECONDS):
            await self.telegram.on_the_wire.wait()
        self.telegram.watched = ""

    async def stop(self) -> None:
        await self.program.close()
        await asyncio.gather(self.exchange.stop(), self.telegram.stop(), self.discord.stop())

    async def _answered(self) -> None:
        """Wait until the program answers /liq: the map is ready, and rules have seen their first price."""
        before, deadline = len(self.telegram.to(ASKING)), time.monotonic() + 60
        self.telegram.say(ASKING, "/liq 88000")
        while len(self.telegram.to(ASKING)) == before:
            if time.monotonic() > deadline:
                raise TimeoutError(self.program.errors[-2000:])
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)

    async def _settled(self) -> None:
        """Wait until the outbox is empty and no message has arrived for five seconds."""
        deadline = time.monotonic() + SETTLES_SECONDS
        while self._waiting() and time.monotonic() < deadline:  # noqa: ASYNC110  # another process sends
            await asyncio.sleep(0.5)
        count, since = -1, time.monotonic()
        while time.monotonic() - since < 5:
            now = len(self.telegram.sent) + sum(len(self._told(*chat)) for chat in self.levels if chat[0] == "discord")
            if now != count:
                count, since = now, time.monotonic()
            await asyncio.sleep(0.2)

    def _waiting(self) -> int:
        """Return the number of undelivered messages, including those waiting for a retry."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            query = "SELECT COUNT(*) FROM message WHERE state IN ('ready', 'sending') AND edits IS NULL"
            return int(db.execute(query).fetchone()[0])

    def _told(self, platform: str, remote_id: str) -> list[str]:
        if platform == "telegram":
            return [sent.plain for sent in self.telegram.to(int(remote_id))]
        return [
            "\n".join([message.content, *(str(embed.get("description", "")) for embed in map(_embed, message.embeds))])
            for message in self.discord.messages(int(remote_id))
        ]

    def _outcome(self, begins: int, ends: int, *, bad_end: bool) -> Outcome:
        path = self.tape.candles(MINUTE_MS, begins + SURE_MS, ends - SURE_MS, ends)
        low, high = min(candle.low for candle in path), max(candle.high for candle in path)
        wanted = lost = doubled = unmarked = repeats = 0
        begun = {("telegram", str(chat), level) for chat, text in self.telegram.unheard for level in _named(text)}
        for (platform, remote_id), levels in self.levels.items():
            texts = self._told(platform, remote_id)
            plain = Counter(level for text in texts if REPEAT not in text for level in _named(text))
            marked = Counter(level for text in texts if REPEAT in text for level in _named(text))
            for level in levels:
                if low * 1.0002 < level < high * 0.9998 or (platform, remote_id, level) in begun:
                    wanted += 1
                    lost += not plain[level] and not marked[level]
                if platform == "discord":
                    # After the nonce window, a repeat has a note, as on Telegram.
                    doubled += plain[level] > 1
                    repeats += plain[level] + marked[level] > 1
                else:
                    unmarked += plain[level] > 1
                    repeats += plain[level] + marked[level] > 1
        traceback = "Traceback" in self.program.errors or bad_end
        return Outcome(self.kills, wanted, lost, doubled, unmarked, repeats, traceback)


ASKING = 999
"""Chat of a user who only sends commands."""


def _embed(embed: object) -> dict[str, object]:
    return embed if isinstance(embed, dict) else vars(embed)


def _named(text: str) -> list[int]:
    """Return the levels that a message reports as reached."""
    levels = []
    for line in text.split("\n"):
        if (alone := re.search(r"BTC reached ([\d,]+)", line)) is not None:
            levels.append(alone[1])
        if "Reached meanwhile: " in line:
            levels += re.findall(r"\d{1,3}(?:,\d{3})+", line.split("Reached meanwhile: ")[1])
    return [int(number.replace(",", "")) for number in levels]


async def matrix(
    seed: int, kills: int, hours: float, script: Path = ROOT / "bot.py", *, aimed: bool = False
) -> Outcome:
    """Run the crash matrix. Return its outcome.

    Args:
        script: the program, or one with a planted fault.
        aimed: kill whenever a message is in flight to Telegram, which then discards it.
    """
    with tempfile.TemporaryDirectory() as folder:
        experiment = Matrix(seed, kills, hours, Path(folder), script, aimed=aimed)
        await experiment.prepare()
        try:
            return await experiment.go()
        finally:
            await experiment.stop()
