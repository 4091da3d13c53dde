"""Health: well only while there is no trouble and the heartbeat is fresh."""

from __future__ import annotations

import pytest

from handlers.health import SILENT_MS, START_SECONDS, Signs, heartbeat, read_heartbeat, troubles

NOW = 1_765_000_000_000


@pytest.mark.parametrize(
    ("signs", "wrong"),
    [
        (Signs(), set()),
        (Signs(ages={"BTC": 299.0}, platforms={"telegram": "ok"}, venues_well=6, venues=11), set()),
        (Signs(ages={"BTC": 301.0, "ETH": 1.0}), {"figures"}),
        (Signs(ages={"BTC": None}), {"figures"}),
        (Signs(ages={"BTC": None}, up=START_SECONDS - 1), set()),
        (Signs(tick_age=121.0), {"ticks"}),
        (Signs(oldest_due=121.0), {"messages"}),
        (Signs(platforms={"telegram": "token refused"}), {"platform"}),
        (Signs(platforms={"telegram": "connecting"}, up=1.0), set()),
        (Signs(dead=1), {"dead"}),
        (Signs(clock_ahead=-31.0), {"clock"}),
        (Signs(set_aside=("chat #7: its time zone",)), {"set aside"}),
        (Signs(database="the database file is gone"), {"database"}),
        (Signs(venues_well=5, venues=11), {"venues"}),
    ],
)
def test_each_sign_of_trouble_is_named(signs: Signs, wrong: set[str]) -> None:
    assert troubles(signs).keys() == wrong
    lines, well = read_heartbeat(heartbeat(NOW, signs), NOW + 1000)
    assert well is not bool(wrong)
    assert {line.split(":")[0] for line in lines} == (wrong or {"well 1 s ago"})


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"at": "x", "troubles": {}}', '{"at": 1, "troubles": 3}'])
def test_no_heartbeat_is_trouble(text: str | None) -> None:
    lines, well = read_heartbeat(text, NOW)
    assert not well
    assert lines


@pytest.mark.parametrize("off", [SILENT_MS + 1, -SILENT_MS - 1])
def test_an_old_heartbeat_is_trouble(off: int) -> None:
    lines, well = read_heartbeat(heartbeat(NOW, Signs()), NOW + off)
    assert (lines, well) == ([f"no sign of life for {off / 1000:.0f} s"], False)
