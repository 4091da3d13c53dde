"""offload() runs a function in another process, reports its failure, and kills it on cancellation."""

from __future__ import annotations

import asyncio
import math
import os
import time
from pathlib import Path

import pytest

from engine.errors import OffloadError
from engine.offload import offload


async def test_it_runs_in_another_process() -> None:
    assert await offload(math.sqrt, 2.0) == math.sqrt(2)
    assert await offload(os.getpid) != os.getpid()


async def test_failures_there_raise_one_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OffloadError, match="sqrt did not end well"):
        await offload(math.sqrt, -1.0)
    assert "math domain error" in caplog.text


async def test_cancelling_kills_the_process() -> None:
    before = set(children())
    task = asyncio.create_task(offload(time.sleep, 60))
    while not (started := set(children()) - before):  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (number,) = started
    async with asyncio.timeout(5):
        while running(number):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def running(number: int) -> bool:
    """Return whether a process is alive: a zombie has no command line."""
    line = Path(f"/proc/{number}/cmdline")
    return line.exists() and bool(line.read_bytes())


def children() -> list[int]:
    pids = []
    for task in Path("/proc/self/task").iterdir():
        pids += [int(word) for word in (task / "children").read_text().split()]
    return pids
