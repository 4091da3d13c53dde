"""The documentation matches the code."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from engine.venues.catalog import VENUE_IDS
from engine.venues.registry import VENUES
from handlers.commands.dispatch import all_commands
from handlers.commands.registry import MENU
from handlers.settings import PREFIX, TABLE
from tests import gallery

ROOT = Path(__file__).resolve().parents[1]


def test_every_setting_is_documented_with_its_default_and_no_other_is() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `(CLIFFWATCH_\w+)` \|([^|]*)\|", text, re.MULTILINE)
    assert {name: default.strip(" `") for name, default in rows} == {PREFIX + row.name: row.default for row in TABLE}


def test_every_command_is_documented_and_no_other_is() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    documented = set(re.findall(r"^\| `/(\w+)` \|", text, re.MULTILINE))
    assert documented == {command.name for command in all_commands(hidden=True)}


def test_menus_list_every_command_in_order() -> None:
    assert [command.name for command in all_commands()] == list(MENU)


def test_menus_fit_the_platforms() -> None:
    for command in all_commands(hidden=True):
        assert re.fullmatch(r"[a-z]{1,32}", command.name)
        assert 1 <= len(command.help) <= 100
        for parameter in command.parameters:
            assert 1 <= len(parameter.help) <= 100


def test_links_between_documents_resolve() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_example_settings_are_settings() -> None:
    names = re.findall(r"^# (CLIFFWATCH_\w+)=", (ROOT / "example.env").read_text(), re.MULTILINE)
    assert names
    assert set(names) <= {PREFIX + row.name for row in TABLE}


def test_every_venue_is_documented() -> None:
    text = (ROOT / "docs/venues.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| [^|]+\|[^|]+\|[^|]+\|", text, re.MULTILINE)) == set(VENUES)
    assert list(VENUES) == list(VENUE_IDS)


async def test_the_gallery_is_current() -> None:
    """Update it with `make gallery`. Pictures may differ a little, as fonts do between machines."""
    kit = await gallery.made_kit()
    text, drawn = await gallery.page(kit)
    await kit.close()
    assert (ROOT / "docs/gallery.md").read_text() == text
    folder = ROOT / "docs/gallery"
    assert {path.name for path in folder.glob("*.png")} == drawn.keys()
    for name, png in drawn.items():
        now, kept = (imread(source)[:, :, :3] for source in (io.BytesIO(png), folder / name))
        assert now.shape == kept.shape == (960, 1080, 3)
        assert float(np.abs(now - kept).mean()) < 0.02, name
