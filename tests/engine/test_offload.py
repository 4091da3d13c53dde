"""Long computations have a process of their own, whose end and errors are known."""

from __future__ import annotations

import asyncio
import math
import os
import time
from pathlib import Path

import pytest

from engine.errors import OffloadError
from engine.offload import offload


async def test_it_runs_elsewhere_and_its_answer_comes_back() -> None:
    assert await offload(math.sqrt, 2.0) == math.sqrt(2)
    assert await offload(os.getpid) != os.getpid()


async def test_what_goes_wrong_there_is_one_error_here(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OffloadError, match="sqrt did not end well"):
        await offload(math.sqrt, -1.0)
    assert "math domain error" in caplog.text


async def test_whoever_is_cancelled_takes_the_process_along() -> None:
    before = set(children())
    task = asyncio.create_task(offload(time.sleep, 60))
    while not (started := set(children()) - before):  # noqa: ASYNC110  # the other process tells nobody
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (number,) = started
    async with asyncio.timeout(5):
        while running(number):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def running(number: int) -> bool:
    """Whether a process is more than a name that nobody has asked about yet."""
    line = Path(f"/proc/{number}/cmdline")
    return line.exists() and bool(line.read_bytes())


def children() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found
