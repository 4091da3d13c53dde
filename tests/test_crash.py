"""The crash matrix in short: nothing is lost however the plug is pulled, and a build that marks first is found out."""

from __future__ import annotations

import pytest

from benchmarks.crash import BROKEN, matrix


@pytest.mark.timeout(180)
async def test_nothing_is_lost_or_doubled_however_often_the_plug_is_pulled() -> None:
    found = await matrix(seed=4, kills=4, hours=3)
    assert found.wanted > 20
    assert (found.lost, found.doubled_discord, found.doubled_telegram_unmarked) == (0, 0, 0)
    assert not found.traceback


@pytest.mark.timeout(180)
async def test_a_build_that_marks_before_it_sends_is_found_out() -> None:
    found = await matrix(seed=1, kills=3, hours=3, script=BROKEN, aimed=True)
    assert found.lost > 0
