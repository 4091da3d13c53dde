"""/map: the picture of an asset's dense levels."""

from __future__ import annotations

from engine.errors import InputError
from handlers import wording
from handlers.answers import Answer, Button, PictureRequest
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import label, price, usd

DEFAULT_REACH = 0.08
REACHES = (0.01, 0.5)


@command(
    "map",
    "Picture: price and dense levels over time",
    "/map btc 5%",
    Parameter("asset", "A coin such as BTC"),
    Parameter("range", "How far either way, such as 5%"),
)
async def draw_map(request: Request, arguments: str) -> Answer:
    """Answer /map [asset] [range]."""
    asset, rest = asset_and_rest(request, arguments)
    board, source = fresh(request, asset)
    reach = _reach(rest) if rest else DEFAULT_REACH
    mark = board.view.mark
    seen = [c for c in board.clusters if abs(c.label_price / mark - 1) <= reach]
    names = ", ".join(f"{c.side} {label(c.label_price)} ~{usd(c.forced_usd)}" for c in seen) or "none"
    alt = f"{asset} at {price(mark)}, levels within {reach * 100:g}%: {names}"
    return Answer(
        f"{asset} {price(mark)}: where positions would be forced out, ±{reach * 100:g}%",
        tuple(line for line in (f"Dense: {names}", wording.rough(source)) if line),
        footer=wording.sources(source, shares=True),
        buttons=(Button("Clusters", f"/clusters {asset.lower()}"),),
        picture=PictureRequest("map", asset, reach, alt),
        data={"asset": asset, "at": request.now, "reference_price": mark, "reach": reach, **source},
    )


def _reach(text: str) -> float:
    try:
        value = float(text.strip().removesuffix("%").replace(",", ".")) / 100
    except ValueError:
        raise InputError(f"{text[:20]!r} is not a range.", "/map btc 5%") from None
    if not REACHES[0] <= value <= REACHES[1]:
        raise InputError(f"A range lies between 1% and 50%, not {text[:20]}.", "/map btc 5%")
    return value
