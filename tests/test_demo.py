"""The demo as a new user tries it: commands piped in, good answers out, and a clean exit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.process import ROOT, WARNINGS


def demo(folder: Path, commands: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *WARNINGS, str(ROOT / "bot.py"), "demo", *options],
        cwd=folder,
        input=commands,
        capture_output=True,
        timeout=90,
        check=False,
    )


def test_three_commands_get_three_good_answers_and_it_ends(tmp_path: Path) -> None:
    done = demo(tmp_path, b"/liq 88000\n/clusters\n/map\n")
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    heads = [line for line in out.splitlines() if line.startswith("[SIMULATED]")]
    assert any("BTC 88,000: ~$" in head for head in heads)
    assert any("clusters" in head for head in heads)
    picture = tmp_path / next(line for line in out.splitlines() if line.startswith("Picture: ")).removeprefix(
        "Picture: "
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Binance" in out
    assert "STALE" not in out


def test_every_line_of_rubbish_gets_an_answer(tmp_path: Path) -> None:
    lines = [b"\xff\xfe\x00rubbish", b"/liq " + b"9" * 5000, b"/liq 88", b"[bold]/x[/bold]", b"", b"/status"]
    done = demo(tmp_path, b"\n".join(lines))
    out = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert out.count("[SIMULATED]") >= 5
    assert "Did you mean 88.0k?" in out
    assert "Cliffwatch is healthy" in out
