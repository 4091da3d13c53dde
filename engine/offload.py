"""Runs long computations in a separate process, outside the event loop and its threads, killed on cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from engine.errors import OffloadError

log = logging.getLogger(__name__)

NICENESS = 10
"""Low priority, so that answers and alerts go first."""

T = TypeVar("T")


async def offload(function: Callable[..., T], *arguments: object) -> T:
    """Run a module's function in another process and return its result. Cancellation kills the process.

    Raises:
        OffloadError: when the function raised or the process failed; its stderr is logged.
    """
    home = str(Path(__file__).parent.parent)
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.offload"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # an interrupt typed at the terminal goes to the bot, which ends this process itself
    )
    try:
        answer, errors = await process.communicate(pickle.dumps((function, arguments)))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode != 0:
        log.error("%s failed in its process:\n%s", function.__name__, errors.decode(errors="replace")[-4000:])
        raise OffloadError(f"{function.__name__} did not end well (status {process.returncode})")
    return cast("T", pickle.loads(answer))  # noqa: S301  # from our own process


def main() -> None:
    """Run the pickled call from standard input and write the pickled result to standard output."""
    os.nice(NICENESS)
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the process that started this one
    sys.stdout.buffer.write(pickle.dumps(function(*arguments)))


if __name__ == "__main__":
    main()
