"""/map: a picture of an asset's liquidation map."""

from __future__ import annotations

from engine.board import AssetBoard
from engine.errors import InputError
from handlers import wording
from handlers.answers import Answer, Button, PictureRequest
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.buttons import others, picture_of, refresh
from handlers.commands.clusters import grounds_of
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import _
from handlers.numbers import label, price, usd

DEFAULT_REACH = 0.08
REACHES = (0.01, 0.5)
OFFERED = (3, 8, 20)
"""Price ranges either way that buttons offer, per cent."""


@command(
    "map",
    "Chart price and dense levels over time",
    "/map btc 5%",
    Parameter("asset", "A coin such as BTC", "asset"),
    Parameter("range", "Range either way, such as 5%"),
    picture=True,
)
async def draw_map(request: Request, arguments: str) -> Answer:
    """Answer /map [asset] [range]."""
    asset, rest = asset_and_rest(request, arguments)
    board, source = fresh(request, asset)
    reach = _reach(rest) if rest else DEFAULT_REACH
    mark, name, shown = board.view.mark, asset.lower(), f"{reach * 100:g}"
    picture = map_request(request, board, reach)
    return Answer(
        _(
            "{asset} {price}: where positions get liquidated, ±{range}%",
            asset=asset,
            price=price(mark),
            range=shown,
        ),
        tuple(line for line in (_dense(board, reach, request.now), wording.rough(source)) if line),
        footer=wording.sources(source, shares=True),
        buttons=(
            refresh(f"/map {name} {shown}%"),
            *(Button(f"±{wide}%", f"/map {name} {wide}%", here=True) for wide in OFFERED if wide != reach * 100),
            *others(request, asset, f"/map {{asset}} {shown}%"),
            Button(_("Clusters"), f"/clusters {name}"),
        ),
        picture=picture,
        data={"asset": asset, "at": request.now, "reference_price": mark, "reach": reach, **source},
    )


def map_request(request: Request, board: AssetBoard, reach: float) -> PictureRequest:
    """Return the request for the map's picture, with its alt text."""
    alt = _(
        "{asset} at {price}, levels within {range}%: {clusters}",
        asset=board.asset,
        price=price(board.view.mark),
        range=f"{reach * 100:g}",
        clusters=_named(board, reach),
    )
    return picture_of(request, "map", board, alt=alt, reach=reach)


def _dense(board: AssetBoard, reach: float, now: int) -> str:
    """Return a line that names the clusters within reach; if there are none, the untraded stretches."""
    grounds = grounds_of(board, now)
    seen = any(abs(c.label_price / board.view.mark - 1) <= reach for c in board.clusters)
    return " · ".join(grounds) if grounds and not seen else _("Dense: {clusters}", clusters=_named(board, reach))


def _named(board: AssetBoard, reach: float) -> str:
    seen = [c for c in board.clusters if abs(c.label_price / board.view.mark - 1) <= reach]
    names = (f"{wording.sides(c.side)} {label(c.label_price)} ~{usd(c.forced_usd)}" for c in seen)
    return ", ".join(names) or _("none")


def _reach(text: str) -> float:
    try:
        value = float(text.strip().removesuffix("%").replace(",", ".")) / 100
    except ValueError:
        raise InputError("{word!r} is not a range.", "/map btc 5%", word=text[:20]) from None
    if not REACHES[0] <= value <= REACHES[1]:
        raise InputError("Range must be 1% to 50%, not {word}.", "/map btc 5%", word=text[:20])
    return value
