"""/skill: how well the map has done, against rivals that know no map."""

from __future__ import annotations

from typing import Any

from engine.board import AssetBoard
from engine.history import iso
from engine.liquidation.prior import FORCED
from engine.liquidation.spans import Calibration
from engine.market import DAY_MS
from engine.offload import offload
from engine.track import SCORED_DAYS, TrackRecord, track_record
from handlers import wording
from handlers.answers import Answer, Button, PictureRequest
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import usd


@command(
    "skill",
    "How well the map predicted what was liquidated",
    "/skill btc",
    Parameter("asset", "A coin such as BTC"),
)
async def skill(request: Request, arguments: str) -> Answer:
    """Answer /skill [asset]."""
    asset = only_asset(request, arguments, "/skill btc")
    board, source = fresh(request, asset)
    record = await _record(request, board)
    footer, buttons = wording.sources(source), (Button("Clusters", f"/clusters {asset.lower()}"),)
    data: dict[str, Any] = {"asset": asset, "at": request.now, **record.figures}
    if record.score is None:
        lines = (
            record.why[:1].upper() + record.why[1:],
            *_so_far(record),
            *_coefficients(board.calibration),
        )
        return Answer(f"{asset}: no track record yet", lines, footer=footer, buttons=buttons, data=data)
    lines = (*_lines(record), *_coefficients(board.calibration))
    alt = f"Liquidations of {asset} predicted and reported over {len(record.days_usd)} days"
    picture = PictureRequest("skill", asset, 0.0, alt)
    return Answer(_headline(record), lines, footer=footer, buttons=buttons, picture=picture, data=data)


def _headline(record: TrackRecord) -> str:
    assert record.score is not None  # noqa: S101  # asked for by the caller
    better = record.score.d2
    if better <= 0:
        return f"{record.asset}: the map did no better than distance alone"
    return f"{record.asset}: the map removes {better:.0%} of the error of distance alone"


def _lines(record: TrackRecord) -> tuple[str, ...]:
    found = record.score
    assert found is not None  # noqa: S101
    (longs, shorts), (seen_longs, seen_shorts) = record.expected_usd, record.reported_usd
    held = f"80% bands held {found.coverage:.0%} of them" if found.coverage is not None else "bands unmeasured"
    path = f"{found.d2_path:.0%}" if found.d2_path > 0 else "nothing"
    return (
        f"Of the error of the whole price path without a map: {path}",
        f"Last {min(SCORED_DAYS, found.bars / 24):.0f} d, {found.bars} hours, each from what came before it; {held}",
        f"Longs: predicted {usd(longs)}, reported {usd(seen_longs)}",
        f"Shorts: predicted {usd(shorts)}, reported {usd(seen_shorts)}",
        "Skill at where and how much, given where price went; none at whether it goes there",
    )


def _so_far(record: TrackRecord) -> tuple[str, ...]:
    """Before there is a score: what the shipped coefficients made of the hours heard."""
    if not sum(record.expected_usd):
        return ()
    (longs, shorts), (seen_longs, seen_shorts) = record.expected_usd, record.reported_usd
    return (
        f"Longs: predicted {usd(longs)} by the shipped coefficients, reported {usd(seen_longs)}",
        f"Shorts: predicted {usd(shorts)}, reported {usd(seen_shorts)}",
    )


def _coefficients(made: Calibration) -> tuple[str, ...]:
    """What F(P) rests on."""
    if made.fitted:
        days = (made.end - made.start) / DAY_MS
        return (f"F(P) is fitted to {days:.0f} d of reports until {iso(made.end)[:10]}",)
    return (f"F(P) rests on recorded Bitcoin until {FORCED.fitted_until}: {made.why}",)


async def _record(request: Request, board: AssetBoard) -> TrackRecord:
    """The asset's track record, made anew at most once a day; who asks meanwhile waits for the same one."""
    services, asset = request.services, board.asset
    async with services.recording:
        record = services.records.get(asset)
        if record is None or board.hours.last_closed_at - record.at >= DAY_MS:
            record = services.records[asset] = await offload(track_record, asset, board.hours.hours())
    return record
