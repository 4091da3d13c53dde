"""Pictures: real PNGs of a fixed size, drawn once for equal requests, with alt text."""

from __future__ import annotations

import itertools
import struct
from collections.abc import AsyncIterator

import numpy as np
import pytest

from engine.calibration.hourly_model import MIN_HOURS
from engine.calibration.track_record import track_record
from engine.liquidation.grid import bin_of, outward, prices_outward
from engine.market import SIDES, Side
from handlers import pictures
from handlers.numbers import label
from handlers.pictures import Pictures
from handlers.pictures.map import MapPicture, apart, draw_map, map_picture
from handlers.pictures.skill import skill_picture
from tests.engine.calibration.test_hourly_model import made_up
from tests.handlers.kit import Kit


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await Kit.make()
    yield made
    await made.close()


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


async def test_equal_requests_share_one_drawing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[MapPicture] = []

    def counted(data: MapPicture) -> bytes:
        drawn.append(data)
        return draw_map(data)

    monkeypatch.setattr(pictures, "draw_map", counted)
    drawer = Pictures(kit.services)
    one, two = [await drawer.draw(await kit.ask("/map")) for _ in range(2)]
    other = await drawer.draw(await kit.ask("/map 3%"))
    assert one == two != other
    assert len(drawn) == 2
    assert size(one) == (1080, 960)
    drawer.close()


async def test_a_failed_drawing_is_not_cached(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: MapPicture) -> bytes:
        raise OSError("no memory")

    drawer = Pictures(kit.services)
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "draw_map", broken)
        with pytest.raises(OSError, match="no memory"):
            await drawer.draw(await kit.ask("/map"))
    assert size(await drawer.draw(await kit.ask("/map"))) == (1080, 960)
    drawer.close()


async def test_the_picture_matches_the_map(kit: Kit) -> None:
    answer = await kit.ask("/map 8%")
    assert answer.picture is not None
    board = kit.services.pipeline.boards["BTC"]
    data = map_picture(board, answer.picture, kit.clock.at)
    for side in SIDES:
        within = [
            usd
            for usd, price in _levels(board.view.open_usd[side], side, data)
            if data.prices[0] <= price < data.prices[-1]
        ]
        assert data.now[side].sum() == pytest.approx(sum(within), rel=1e-6)
    shown = {(side, forced) for side, _, _, _, forced in data.clusters}
    on_board = {(c.side, c.forced_usd) for c in board.clusters}
    assert shown <= on_board
    assert all(label(price) in answer.picture.alt for _, price, *_ in data.clusters)


async def test_assets_without_history_can_be_drawn(kit: Kit) -> None:
    answer = await kit.ask("/map")
    assert answer.picture is not None
    data = map_picture(kit.services.pipeline.boards["BTC"], answer.picture, kit.clock.at)
    rows = len(data.prices) - 1
    bare = MapPicture(
        data.frame,
        data.mark,
        np.zeros(0),
        np.zeros(0),
        data.prices,
        {"long": np.zeros((rows, 0)), "short": np.zeros((rows, 0))},
        {"long": np.zeros(rows), "short": np.zeros(rows)},
        (),
        (),
    )
    assert size(draw_map(bare)) == (1080, 960)


def _levels(usd: np.ndarray, side: Side, data: MapPicture) -> list[tuple[float, float]]:
    prices = prices_outward(side, outward(side, bin_of(data.mark)) + 1, len(usd))
    return list(zip(usd.tolist(), prices.tolist(), strict=True))


async def test_a_track_record_is_drawn_day_by_day(kit: Kit) -> None:
    record = track_record("BTC", made_up(count=MIN_HOURS + 24 * 25))
    kit.services.records["BTC"] = record
    kit.services.pipeline.boards["BTC"].hours.rows.clear()
    answer = await kit.ask("/skill")
    assert answer.picture is not None
    assert "predicted vs reported" in answer.picture.alt
    drawer = Pictures(kit.services)
    assert size(await drawer.draw(answer)) == (1080, 960)
    drawer.close()
    data = skill_picture(kit.services.pipeline.boards["BTC"], record, answer.picture, kit.clock.at)
    assert data.reported.sum(axis=0) == pytest.approx(np.array(record.reported_usd))
    assert data.expected.sum(axis=0) == pytest.approx(np.array(record.expected_usd))
    assert (np.diff(data.days) == 1).all()


@pytest.mark.parametrize("wanted", [[], [50.0], [50.0, 50.1, 50.2], [0.1, 0.2, 99.9, 99.95], [10.0, 40.0, 90.0]])
def test_labels_keep_apart_and_stay_within_the_picture(wanted: list[float]) -> None:
    places = apart(wanted, 6.0, 0.0, 100.0)
    assert len(places) == len(wanted)
    assert all(later - place >= 6.0 - 1e-9 for place, later in itertools.pairwise(places))
    assert all(3.0 - 1e-9 <= place <= 97.0 + 1e-9 for place in places)
    if wanted == [10.0, 40.0, 90.0]:
        assert places == wanted
