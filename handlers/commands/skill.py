"""/skill: the map's track record against reference forecasts without a map."""

from __future__ import annotations

from typing import Any

from engine.board import AssetBoard
from engine.calibration.coefficients import Calibration
from engine.calibration.track_record import MIN_DAYS, SCORED_DAYS, TrackRecord, track_record
from engine.history import iso
from engine.liquidation.prior import FORCED
from engine.market import DAY_MS
from engine.offload import offload
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.buttons import others, picture_of
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import N_, _, n_
from handlers.numbers import usd


@command(
    "skill",
    "Score the map's predictions against reported liquidations",
    "/skill btc",
    Parameter("asset", "A coin such as BTC", "asset"),
    picture=True,
)
async def skill(request: Request, arguments: str) -> Answer:
    """Answer /skill [asset]."""
    asset = only_asset(request, arguments, "/skill btc")
    board, source = fresh(request, asset)
    record = await _record(request, board)
    footer = wording.sources(source)
    buttons = (Button(_("Clusters"), f"/clusters {asset.lower()}"), *others(request, asset, "/skill {asset}"))
    data: dict[str, Any] = {"asset": asset, "at": request.now, "age_seconds": source["age_seconds"], **record.figures}
    if record.score is None:
        so_far = _(
            "{days} of {least} days of liquidation reports so far",
            days=f"{record.days:.0f}",
            least=f"{MIN_DAYS:.0f}",
        )
        lines = (so_far, *_so_far(record), *_coefficients(board.calibration))
        head = _("{asset}: no track record yet", asset=asset)
        return Answer(head, lines, footer=footer, buttons=buttons, data=data)
    lines = (*_lines(record), *_coefficients(board.calibration))
    days = len(record.days_usd)
    alt = n_(
        "{asset} liquidations, predicted vs reported, over {count} day",
        "{asset} liquidations, predicted vs reported, over {count} days",
        days,
        asset=asset,
    )
    picture = picture_of(request, "skill", board, alt=alt)
    return Answer(_headline(record), lines, footer=footer, buttons=buttons, picture=picture, data=data)


def _headline(record: TrackRecord) -> str:
    assert record.score is not None  # noqa: S101  # checked by the caller
    better = record.score.d2
    if better <= 0:
        return _("{asset}: the map did no better than a distance-only model", asset=record.asset)
    share = f"{better:.0%}"
    return _("{asset}: the map cuts {share} off a distance-only model's error", asset=record.asset, share=share)


def _lines(record: TrackRecord) -> tuple[str, ...]:
    skill_score = record.score
    assert skill_score is not None  # noqa: S101
    (longs, shorts), (seen_longs, seen_shorts) = record.expected_usd, record.reported_usd
    held = (
        _("80% ranges covered {share}", share=f"{skill_score.coverage:.0%}")
        if skill_score.coverage is not None
        else _("80% ranges not measured yet")
    )
    path = f"{skill_score.d2_path:.0%}" if skill_score.d2_path > 0 else _("nothing")
    window = _(
        "Last {days} d, {hours} hours, each predicted from earlier data",
        days=f"{min(SCORED_DAYS, skill_score.bars / 24):.0f}",
        hours=skill_score.bars,
    )
    return (
        _("Error cut vs a price-path model without a map: {share}", share=path),
        f"{window}; {held}",
        _("Longs: predicted {predicted}, reported {reported}", predicted=usd(longs), reported=usd(seen_longs)),
        _("Shorts: predicted {predicted}, reported {reported}", predicted=usd(shorts), reported=usd(seen_shorts)),
        _("Predicts where and how much for a given price path, not whether price goes there"),
    )


def _so_far(record: TrackRecord) -> tuple[str, ...]:
    """Return lines, before there is a score, that compare the shipped coefficients' forecast with the reports."""
    if not sum(record.expected_usd):
        return ()
    (longs, shorts), (seen_longs, seen_shorts) = record.expected_usd, record.reported_usd
    return (
        _("With the shipped coefficients:"),
        _("Longs: predicted {predicted}, reported {reported}", predicted=usd(longs), reported=usd(seen_longs)),
        _("Shorts: predicted {predicted}, reported {reported}", predicted=usd(shorts), reported=usd(seen_shorts)),
    )


def _coefficients(calibration: Calibration) -> tuple[str, ...]:
    """Return a line on the data that F was fitted to."""
    if calibration.fitted:
        days = f"{(calibration.end - calibration.start) / DAY_MS:.0f}"
        return (_("Model fitted on {days} d of reports to {day}", days=days, day=iso(calibration.end)[:10]),)
    why = _(_WHY.get(calibration.why, calibration.why))
    return (_("Model uses Bitcoin data to {day}: {why}", day=FORCED.fitted_until, why=why),)


_WHY = {
    "nothing was fitted yet": N_("not fitted to this coin yet"),
    "too few days of reports": N_("too few days of reports"),
    "too few liquidations to fit to": N_("too few liquidations to fit"),
    "a fit did worse than the shipped coefficients": N_("the fit did worse than the shipped coefficients"),
    "a fit did not settle": N_("the fit didn't converge"),
}


async def _record(request: Request, board: AssetBoard) -> TrackRecord:
    """Return the asset's track record, recomputed at most once a day, one computation at a time."""
    services, asset = request.services, board.asset
    async with services.recording:
        record = services.records.get(asset)
        if record is None or board.hours.last_closed_at - record.at >= DAY_MS:
            record = services.records[asset] = await offload(track_record, asset, board.hours.hours())
    return record
