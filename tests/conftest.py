"""Shared by all tests: no network, the recorded history if there is one, small helpers."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.history import History, read_history

RECORDED = Path(__file__).resolve().parents[2] / "shared"
HISTORY = RECORDED / "data" / "btc_1h_2025-12-04_2026-03-31.csv"
FIXTURES = RECORDED / "fixtures"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

needs_history = pytest.mark.skipif(not HISTORY.exists(), reason="the recorded history is not beside the checkout")
needs_fixtures = pytest.mark.skipif(not FIXTURES.exists(), reason="raw exchange answers are not beside the checkout")


SLOW = (
    "tests/test_all_venues.py",
    "tests/test_cases.py",
    "tests/test_cli.py",
    "tests/test_crash.py",
    "tests/test_demo.py",
    "tests/test_docs.py",
    "tests/test_end_to_end.py",
    "tests/test_structure.py",
    "tests/test_words.py",
    "tests/engine/alerts/test_index.py",
    "tests/engine/calibration",
    "tests/engine/loopback/test_sources.py",
    "tests/engine/study",
    "tests/engine/test_quotes.py",
    "tests/engine/test_recording.py",
    "tests/engine/test_replay.py",
    "tests/engine/test_vetting.py",
    "tests/engine/venues",
    "tests/handlers/platforms",
    "tests/handlers/test_any_input.py",
    "tests/handlers/test_i18n.py",
    "tests/handlers/test_pictures.py",
    "tests/storage/test_damage.py",
)
"""Files and folders of slow tests."""

PROCESSES_PER_CORE = 2
"""Many tests wait for a process or a clock."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).resolve().parents[1]
    for item in items:
        if item.path.relative_to(root).as_posix().startswith(SLOW):
            item.add_marker("slow")


def pytest_xdist_auto_num_workers() -> int:
    return min(8, PROCESSES_PER_CORE * (os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow connections to this machine only, and clear our settings and proxies from the environment."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host is not None and host not in LOOPBACK:
            raise OSError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]  # whatever the caller gave

    monkeypatch.setattr(socket.socket, "connect", guarded)
    for name in list(os.environ):
        if name.startswith("CLIFFWATCH_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def recorded() -> History:
    """Return four months of recorded hourly Bitcoin bars."""
    return read_history(HISTORY)


async def until(happens: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: when it does not.
    """
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen")
        await asyncio.sleep(0.01)
