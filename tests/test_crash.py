"""The crash matrix in short: kills lose nothing, and a build that marks messages before it sends them is caught."""

from __future__ import annotations

import pytest

from benchmarks.crash import BROKEN, matrix


@pytest.mark.timeout(180)
async def test_repeated_kills_lose_and_duplicate_nothing() -> None:
    result = await matrix(seed=4, kills=4, hours=3)
    assert result.wanted > 20
    assert (result.lost, result.doubled_discord, result.doubled_telegram_unmarked) == (0, 0, 0)
    assert not result.traceback


@pytest.mark.timeout(180)
async def test_a_build_that_marks_before_sending_is_caught() -> None:
    result = await matrix(seed=1, kills=3, hours=3, script=BROKEN, aimed=True)
    assert result.lost > 0
