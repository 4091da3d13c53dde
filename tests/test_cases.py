"""Inputs from the field, as files. The checks beside them say how each must be handled.

Those checks call internal functions by the names of that time. We replace names that have changed since; inputs and
expectations stay as they are.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT.parent / "shared" / "cases"
PASSED = 33

MOVED = {
    "engine.venues.exchange": "engine.venues.ccxt_client",
    "engine.venues.shapes": "engine.venues.parsing",
    "engine.alerts.policy": "engine.preferences",
    "from engine.ports import AlertRecord, TickRecord": "from engine.messages import AlertRecord, TickRecord",
    "from engine.ports import Message": "from engine.messages import Message",
    "from engine.board import AssetBoard, AssetUpdate": (
        "from engine.board import AssetBoard; from engine.facts import market_facts\n"
        "    from engine.market import AssetUpdate"
    ),
    "b.facts(t + HOUR_MS)": "market_facts(b, t + HOUR_MS)",
    "handlers.faces.discord import outcome_of": "handlers.platforms.discord.outcomes import outcome_of",
    "handlers.faces.telegram import outcome_of": "handlers.platforms.telegram.outcomes import outcome_of",
    "handlers.faces.webhook": "handlers.platforms.discord.webhook",
    "tests.handlers.faces": "tests.handlers.platforms",
    "WebhookFace": "DiscordWebhook",
    "store.see_chat": "store.chats.upsert",
    "store.set_wishes": "store.chats.save_preferences",
    "store.counts": "store.outbox.counts",
    '["BTC"], store, clock': '["BTC"], store.market, clock',
    "r.face": "r.platform",
    "rig.face": "rig.platform",
    "a.wishes": "a.preferences",
}
"""Outdated code in the checks, with its current replacement."""


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside the checkout")
@pytest.mark.timeout(180)
def test_every_case_from_the_field_is_handled(tmp_path: Path) -> None:
    for path in CASES.iterdir():
        if path.is_file():
            text = path.read_bytes()
            if path.suffix == ".py":
                text = _moved(text.decode()).encode()
            (tmp_path / path.name).write_bytes(text)
    result = subprocess.run(
        [sys.executable, str(tmp_path / "check.py")], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False
    )
    failed = [line for line in result.stdout.splitlines() if not line.startswith("PASS ")]
    assert result.stdout.count("PASS ") == PASSED, "\n".join([*failed, result.stderr[-2000:]])


def _moved(text: str) -> str:
    for old, new in MOVED.items():
        text = re.sub(rf"(?<![\w.]){re.escape(old)}(?!\w)" if old[0].isalpha() else re.escape(old), new, text)
    return text
