"""/cascade: where forced orders that begin at a price would stop, against what rests in the books."""

from __future__ import annotations

import math

from engine.liquidation.grid import outward
from engine.outlook.cascade import cascade as work_out
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import parse_price, percent, price, usd


@command(
    "cascade",
    "Where forced orders from a price on would stop",
    "/cascade 88000",
    Parameter("price", "A price such as 88000"),
    Parameter("asset", "A coin such as BTC"),
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
        return Answer(
            f"{asset}: no order book is known now", ("/liq says what is forced out on the way.",), footer=footer
        )
    end = mark * math.exp(outward(side, 1) * found.end)
    data = {"asset": asset, "at": request.now, "price": target, "side": side, "end": end, "ends": found.ends}
    data |= {"first_usd": found.first_usd, "total_usd": found.total_usd, "resting_usd": found.resting_usd}
    stops = f"stops near {price(end)}" if found.ends else "finds no end within reach"
    return Answer(
        f"{asset} {price(target)}: ~{usd(found.total_usd)} {side}s in all, {stops}",
        (
            f"{usd(found.first_usd)} at the level itself, {found.amplification:.1f} times that in all",
            f"{usd(found.resting_usd)} rest on the way, {percent(abs(end / target - 1))} further",
            "Books are seen to a few per cent; beyond, they are carried on by their own shape.",
            "A plain estimate, not yet held against what followed. It does not say whether price goes there.",
            wording.rough(source),
        )[: 5 if wording.rough(source) else 4],
        footer=footer,
        buttons=(
            Button("On the way", f"/liq {asset.lower()} {target:.6g}"),
            Button("Map", f"/map {asset.lower()}"),
        ),
        data=data,
    )
