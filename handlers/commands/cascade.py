"""/cascade: where forced orders that begin at a price would stop, against what rests in the books."""

from __future__ import annotations

import math

from engine.liquidation.grid import outward
from engine.outlook.cascade import cascade as work_out
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.buttons import refresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import N_, _
from handlers.numbers import parse_price, percent, price, ratio, usd


@command(
    "cascade",
    "Where forced orders from a price on would stop",
    "/cascade 88000",
    Parameter("price", "A price such as 88000", "price"),
    Parameter("asset", "A coin such as BTC", "asset"),
)
async def cascade(request: Request, arguments: str) -> Answer:
    """Answer /cascade [asset] [price]."""
    asset, rest = asset_and_rest(request, arguments)
    board, source = fresh(request, asset)
    mark = board.view.mark
    nearest = min((c for c in board.clusters if c.distance(mark) > 0), key=lambda c: c.distance(mark), default=None)
    target = parse_price(rest, mark) if rest else (nearest.near_price if nearest else mark * 0.99)
    side = board.view.side_of(target)
    found = work_out(board.view.curves[side], board.fresh_books(request.now), abs(math.log(target / mark)))
    footer = wording.sources(source)
    if found is None:
        head = _("{asset}: no order book is known now", asset=asset)
        return Answer(head, (_("/liq says what is forced out on the way."),), footer=footer)
    end = mark * math.exp(outward(side, 1) * found.end)
    data = {"asset": asset, "at": request.now, "price": target, "side": side, "end": end, "ends": found.ends}
    data |= {"first_usd": found.first_usd, "total_usd": found.total_usd, "resting_usd": found.resting_usd}
    text = (
        N_("{asset} {price}: ~{usd} {sides} in all, stops near {end}")
        if found.ends
        else N_("{asset} {price}: ~{usd} {sides} in all, finds no end within reach")
    )
    called = {"asset": asset, "price": price(target), "usd": usd(found.total_usd), "sides": wording.sides(side)}
    lines = (
        _(
            "{usd} at the level itself, {ratio} that in all",
            usd=usd(found.first_usd),
            ratio=ratio(found.amplification),
        ),
        _(
            "{usd} rest on the way, {distance} further",
            usd=usd(found.resting_usd),
            distance=percent(abs(end / target - 1)),
        ),
        _("Books are seen to a few per cent; beyond, they are carried on by their own shape."),
        _("A plain estimate, not yet held against what followed. It does not say whether price goes there."),
        wording.rough(source),
    )
    return Answer(
        _(text, end=price(end), **called),
        tuple(line for line in lines if line),
        footer=footer,
        buttons=(
            Button(_("On the way"), f"/liq {asset.lower()} {target:.6g}"),
            Button(_("Map"), f"/map {asset.lower()}"),
            refresh(f"/cascade {asset.lower()} {target:.6g}"),
        ),
        data=data | {"age_seconds": source["age_seconds"]},
    )
