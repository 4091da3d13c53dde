"""/cascade: where liquidations that start at a price would stop, given the orders in the books."""

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
    "Estimate where a cascade from a price would stop",
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
    estimate = work_out(board.view.curves[side], board.fresh_books(request.now), abs(math.log(target / mark)))
    footer = wording.sources(source)
    if estimate is None:
        head = _("{asset}: no order book data right now", asset=asset)
        return Answer(head, (_("/liq estimates liquidations without one."),), footer=footer)
    end = mark * math.exp(outward(side, 1) * estimate.end)
    data = {"asset": asset, "at": request.now, "price": target, "side": side, "end": end, "ends": estimate.ends}
    data |= {"first_usd": estimate.first_usd, "total_usd": estimate.total_usd, "resting_usd": estimate.resting_usd}
    text = (
        N_("{asset} {price}: ~{usd} of {sides} liquidated, stops near {end}")
        if estimate.ends
        else N_("{asset} {price}: ~{usd} of {sides} liquidated, no end within reach")
    )
    called = {"asset": asset, "price": price(target), "usd": usd(estimate.total_usd), "sides": wording.sides(side)}
    lines = (
        _(
            "{usd} at the level itself, {ratio} that in total",
            usd=usd(estimate.first_usd),
            ratio=ratio(estimate.amplification),
        ),
        _(
            "{usd} of resting orders over the next {distance}",
            usd=usd(estimate.resting_usd),
            distance=percent(abs(end / target - 1)),
        ),
        _("Order books cover a few percent; depth beyond that is extrapolated from their shape."),
        _("Simple estimate, not yet checked against outcomes. It doesn't say whether price goes there."),
        wording.rough(source),
    )
    return Answer(
        _(text, end=price(end), **called),
        tuple(line for line in lines if line),
        footer=footer,
        buttons=(
            Button(_("Liq estimate"), f"/liq {asset.lower()} {target:.6g}"),
            Button(_("Map"), f"/map {asset.lower()}"),
            refresh(f"/cascade {asset.lower()} {target:.6g}"),
        ),
        data=data | {"age_seconds": source["age_seconds"]},
    )
