"""Time until the demo answers, relative to its imports, and its memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = "import bot, engine.loopback.server, engine.loopback.simulated"


def run() -> Iterator[tuple[str, float, str]]:
    """Start the demo, send one command, and yield times until its answer and exit, and its memory."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, check=True)
    imports = time.perf_counter() - started
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "bot.py", "demo"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None  # noqa: S101  # asked for above
        assert process.stdout is not None  # noqa: S101
        process.stdin.write("/liq 88000\n")
        process.stdin.close()
        process.stdout.readline()
        answered = time.perf_counter() - started
        process.stdout.read()
    ended = time.perf_counter() - started
    yield "start.first_answer_seconds", answered, "s"
    yield "start.first_answer_imports", answered / imports, "times the imports alone"
    yield "start.end_seconds", ended - answered, "s after the answer"
    yield "start.memory_mb", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, "MB"
