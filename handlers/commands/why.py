"""/why: how a number was made, behind the button of that name."""

from __future__ import annotations

from engine.announce import forced_facts
from engine.history import iso
from engine.liquidation.prior import FORCED
from engine.liquidation.spans import Calibration
from handlers import wording
from handlers.answers import Answer
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import label, parse_price, usd


@command("why", "How a number was made", "/why btc 88000", Parameter("price", "A price"), hidden=True)
async def why(request: Request, arguments: str) -> Answer:
    """Answer /why [asset] price."""
    asset, rest = asset_and_rest(request, arguments)
    board, source = fresh(request, asset)
    mark = board.view.mark
    target = parse_price(rest, mark) if rest else (board.clusters[0].label_price if board.clusters else mark * 0.97)
    forced = forced_facts(board.view, board, target)
    mass = board.view.curves[board.view.side_of(target)].mass_usd(target)
    return Answer(
        f"{asset} {label(target)}: ~{usd(forced['forced_usd'])} of {usd(mass)} open on the way",
        (
            "Open: contracts by entry price, spread over leverages, less all that was closed or swept since.",
            "Forced: what liquidation feeds are expected to report. Most positions are closed or topped up first.",
            f"{forced['map_share']:.0%} of it is the map's; the rest are positions opened on the way.",
            f"Fitted {_where(board.calibration)}; band: 80 % of comparable moves.",
            "Heatmaps that show billions show positions opened, not those forced out.",
            wording.rough(source) or "Reported figures are a lower bound.",
        ),
        footer=wording.sources(source, shares=True),
    )


def _where(made: Calibration) -> str:
    return (
        f"to this coin's reports until {iso(made.end)[:10]}"
        if made.fitted
        else f"on Bitcoin until {FORCED.fitted_until}"
    )
