"""The whole program as a process of its own, over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Protocol

from engine.loopback.server import LoopbackExchange
from tests.servers.discord import DiscordServer
from tests.servers.telegram import TelegramServer

ROOT = Path(__file__).resolve().parents[1]

WARNINGS = ("-W", "error", "-W", "ignore:'audioop' is deprecated:DeprecationWarning")
"""Warnings are errors in the program too, except for a module that discord.py imports and we do not use."""


class Platforms(Protocol):
    """Servers that the program connects to, and the rehearsal's clock."""

    telegram: TelegramServer
    discord: DiscordServer
    exchange: LoopbackExchange

    @property
    def clock(self) -> MarketClock: ...


class MarketClock(Protocol):
    """A clock that the settings can give to the program."""

    @property
    def text(self) -> str: ...


def connected(of: Platforms, folder: Path, database: Path, history_days: int, script: Path | None = None) -> Process:
    """Return the program with both chats and three venues of a loopback market, polled once a market minute."""
    return Process(
        folder,
        script or ROOT / "bot.py",
        DATABASE=str(database),
        TELEGRAM_TOKEN=of.telegram.token,
        TELEGRAM_API=of.telegram.url,
        DISCORD_TOKEN=of.discord.token,
        DISCORD_API=of.discord.api,
        DISCORD_GATEWAY=of.discord.gateway,
        VENUE_GATEWAY=of.exchange.url,
        ASSETS="BTC",
        VENUES="binanceusdm,bybit,okx",
        CLOCK=of.clock.text,
        ACCESS="open",
        HISTORY_DAYS=str(history_days),
        POLL_SECONDS="60",
    )


class Process:
    """`bot.py run` with settings. Keeps its output."""

    def __init__(self, folder: Path, script: Path = ROOT / "bot.py", **settings: str) -> None:
        self._folder, self._script = folder, script
        self._settings = {f"CLIFFWATCH_{name}": value for name, value in settings.items()}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Future[tuple[None, None]] | None = None
        self.errors = ""
        self.output = ""

    def set(self, **settings: str) -> None:
        """Change settings for the next start."""
        self._settings |= {f"CLIFFWATCH_{name}": value for name, value in settings.items()}

    async def start(self, *command: str, typing: bool = False) -> None:
        """Start it. typing: with an open standard input that sends nothing."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CLIFFWATCH_")}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *WARNINGS,
            str(self._script),
            *(command or ("run",)),
            cwd=self._folder,
            env={**environment, **self._settings, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE if typing else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.output = ""
        self._reading = asyncio.gather(self._read_errors(self._process), self._read_output(self._process))

    async def _read_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.errors += line.decode(errors="replace")

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self.output += (await process.stdout.read()).decode(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        await self.ended()

    async def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end. Return its exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        async with asyncio.timeout(20):
            return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended by itself. Return its exit status."""
        assert self._process is not None
        status = await self._process.wait()
        if self._reading is not None:
            await self._reading
        return status

    async def close(self) -> None:
        if self.running:
            await self.kill()
