"""The terminal platform: commands from standard input, answers and alerts to standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from engine.chats import Chat
from engine.messages import Message, Outcome
from handlers.answers import Answer, PictureRequest, set_table
from handlers.commands.dispatch import answer
from handlers.context import NoMembership, Request, Services
from handlers.numbers import is_number

PLATFORM = "terminal"
LOCAL = "local"
PATIENCE_SECONDS = 600.0

Draw = Callable[[Answer], Awaitable[bytes]]


class TerminalPlatform:
    """One user at a terminal, who is the operator.

    Args:
        draw: renders an answer's picture to PNG.
        pictures: directory to save pictures in.
    """

    def __init__(self, services: Services, chat: Chat, draw: Draw, pictures: Path) -> None:
        self._services, self._chat, self._draw, self._pictures = services, chat, draw, pictures
        self._console = Console(highlight=False, soft_wrap=True)
        self.state = "ok"
        self.ready = True
        self.idempotent = False
        self._lines: asyncio.Queue[str | None] | None = None

    @property
    def platform(self) -> str:
        return PLATFORM

    def render(self, answer: Answer) -> dict[str, Any]:
        return {"markup": markup(answer)}

    async def send(self, message: Message) -> Outcome:
        """Print one message."""
        assert message.rendered is not None  # noqa: S101  # the dispatcher renders first
        try:
            self._console.print(message.rendered["markup"] + "\n")
        except OSError as error:
            return Outcome("dead", type(error).__name__)
        return Outcome("sent", remote_id=str(message.id))

    async def run(self) -> None:
        """Answer lines until standard input ends."""
        if self._lines is None:
            self._lines = asyncio.Queue()
            _read_lines(self._lines)
        while (line := await self._lines.get()) is not None:
            if line.strip():
                await self.answer_line(line.strip())

    async def answer_line(self, line: str) -> None:
        """Answer one command line."""
        text = self._meant(line)
        chat = await self._services.store.chats.find(PLATFORM, LOCAL) or self._chat
        request = Request(
            PLATFORM, LOCAL, chat, text, self._services, NoMembership(), patience_seconds=PATIENCE_SECONDS
        )
        response = await answer(request)
        self._console.print(self.render(response)["markup"])
        if response.picture is not None:
            await self._show_picture(response, response.picture)
        if response.file is not None:
            await self._keep_file(*response.file)
        self._console.print()

    def _meant(self, line: str) -> str:
        """Return the command that a line means: the slash is optional, and a bare price or coin means /liq."""
        if line.startswith("/"):
            return line
        first = line.split(maxsplit=1)[0]
        if is_number(first.lstrip("~≈")) or first.upper().lstrip("$") in self._services.assets:
            return f"/liq {line}"
        return f"/{line}"

    async def _show_picture(self, answer: Answer, picture: PictureRequest) -> None:
        """Save the picture to a file and print its path."""
        path = self._pictures / f"{picture.kind}-{picture.asset.lower()}.png"
        try:
            png = await self._draw(answer)
            self._pictures.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(path.write_bytes, png)
        except OSError as error:
            self._console.print(f"The picture could not be kept: {error.strerror}. {escape(picture.alt)}")
            return
        self._console.print(f"Picture: {escape(str(path))}")

    async def _keep_file(self, name: str, content: bytes) -> None:
        try:
            await asyncio.to_thread(Path(name).write_bytes, content)
        except OSError as error:
            self._console.print(f"The file could not be kept: {error.strerror}.")
            return
        self._console.print(f"File: {escape(name)}")


def markup(answer: Answer) -> str:
    """Return an answer in rich's markup, every value escaped."""
    parts = [f"[bold]{_escaped(answer.headline)}[/bold]", *(_escaped(line) for line in answer.lines)]
    if answer.table:
        parts.append(_escaped(set_table(answer.table)))
    if answer.footer:
        parts.append(f"[dim]{_escaped(answer.footer)}[/dim]")
    if answer.buttons:
        hints = "  ".join(f"{button.label}: {button.command}" for button in answer.buttons)
        parts.append(f"[dim]{_escaped(hints)}[/dim]")
    return "\n".join(parts)


def _escaped(text: str) -> str:
    """Escape rich markup. After a trailing backslash add a space, as it would escape the tag that follows."""
    return escape(text) if not text.endswith("\\") else escape(text) + " "


def _read_lines(lines: asyncio.Queue[str | None]) -> None:
    """Put standard input's lines on a queue, and None at its end.

    It uses a daemon thread, so that a user who types nothing does not keep the process alive. The thread reads the file
    descriptor: one blocked inside sys.stdin would hold its lock, and the interpreter would abort at exit.
    """
    loop = asyncio.get_running_loop()
    number = sys.stdin.fileno()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be gone before the last line is read
            tail = b""
            try:
                while data := os.read(number, 65_536):
                    *whole, tail = (tail + data).split(b"\n")
                    for line in whole:
                        loop.call_soon_threadsafe(lines.put_nowait, line.decode("utf-8", errors="replace"))
                if tail:
                    loop.call_soon_threadsafe(lines.put_nowait, tail.decode("utf-8", errors="replace"))
            except (OSError, ValueError):
                return  # closed while we read: end of input
            finally:
                loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True, name="terminal").start()
