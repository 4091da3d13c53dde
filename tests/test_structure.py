"""Architecture rules: which package may import which, and strings that the repository must not contain."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PURE = ("engine/liquidation", "engine/calibration", "engine/alerts")
ROOMS = ("engine", "handlers", "storage", "tests", "benchmarks")


def imports_of(path: Path) -> set[str]:
    """Return every module that a file imports, also inside functions."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def breaches(folder: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in sorted(imports_of(path))
        if any(name == word or name.startswith(word + ".") for word in forbidden)
    ]


def test_the_scan_finds_imports_inside_functions() -> None:
    assert "engine.loopback.server" in imports_of(ROOT / "bot.py")


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("engine", ("handlers", "storage", "bot", "telegram", "discord", "sqlite_utils", "sqlite3")),
        ("handlers", ("storage", "bot", "engine.loopback", "sqlite_utils", "sqlite3")),
        ("storage", ("handlers", "bot", "ccxt", "telegram", "discord")),
        *((folder, ("ccxt", "asyncio", "aiohttp", "engine.venues")) for folder in PURE),
        ("engine/loopback", ("engine.liquidation", "engine.board", "ccxt")),
    ],
)
def test_imports_point_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    assert breaches(folder, forbidden) == []


def test_only_venues_import_ccxt() -> None:
    everything = breaches("engine", ("ccxt",)) + breaches("handlers", ("ccxt",)) + breaches("storage", ("ccxt",))
    assert [line for line in everything if not line.startswith("engine/venues/")] == []


def test_rules_and_mutes_have_one_writer() -> None:
    """Everybody else in handlers asks handlers.subscriptions, which keeps the store and the memory equal."""
    changes = {"replace", "restore_replaced", "remove", "pause", "mute", "unmute"}
    users = []
    for path in sorted((ROOT / "handlers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            dotted = ast.unparse(node)
            in_memory = dotted.endswith("pipeline.rules")
            stored = node.attr in changes and ast.unparse(node.value).endswith("store.rules")
            if in_memory or stored or dotted.endswith("store.chats.delete"):
                users.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    allowed = ("handlers/subscriptions.py", "handlers/context.py", "handlers/startup.py")
    assert [user for user in users if not user.startswith(allowed)] == []


def test_the_loopback_exchange_is_used_by_demo_and_tests_only() -> None:
    users = breaches("engine", ("engine.loopback",)) + breaches("handlers", ("engine.loopback",))
    assert [line for line in users if not line.startswith("engine/loopback/")] == []


def test_the_repository_names_no_registry_host_and_no_local_path() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    words = ("pypi" + ".org", "pythonhosted" + ".org", "/wo" + "rk/", "/ro" + "ot/", "index" + "-url")
    hits = []
    for name in listed.stdout.split("\n"):
        path = ROOT / name
        if not name or not path.is_file() or path.suffix == ".png":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        hits += [f"{name}: {word}" for word in words if word in text]
        outside = not name.startswith(("tests/", "benchmarks/"))
        hits += [f"{name}: shared"] if outside and ".." + "/shared" in text else []
    assert hits == []


def test_no_wait_can_swallow_a_cancellation() -> None:
    """asyncio.wait_for of Python 3.11 drops a cancel that comes as its wait ends; asyncio.timeout does not."""
    users = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (*ROOT.glob("*.py"), *(p for folder in ROOMS for p in (ROOT / folder).rglob("*.py")))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "wait_for"
    ]
    assert users == []
