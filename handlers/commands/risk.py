"""/risk: how leveraged and how crowded the market is, 0 to 100."""

from __future__ import annotations

from engine.facts import risk_of
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.buttons import others, refresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import _

A_LINE = 3


@command(
    "risk",
    "Score leverage and crowding, 0 to 100",
    "/risk btc",
    Parameter("asset", "A coin such as BTC", "asset"),
)
async def risk(request: Request, arguments: str) -> Answer:
    """Answer /risk [asset]."""
    asset = only_asset(request, arguments, "/risk btc")
    board, source = fresh(request, asset)
    assessment, name = risk_of(board, request.now), asset.lower()
    footer = wording.sources(source)
    if assessment is None:
        head = _("{asset}: too little data for a score", asset=asset)
        return Answer(head, (_("Needs a day of open interest data."),), footer=footer)
    parts = (wording.risk_parts(assessment.parts, last=A_LINE), wording.risk_parts(assessment.parts, A_LINE))
    return Answer(
        _("{asset} risk {score} of 100", asset=asset, score=f"{assessment.score:.0f}"),
        (
            *(part for part in parts if part),
            _("Average of its components. It shows how crowded leverage is, not where price goes."),
            wording.context(source),
        ),
        footer=footer,
        buttons=(
            Button(_("Alert me at {score}", score=70), f"/alert risk 70 {name}"),
            Button(_("Map"), f"/map {name}"),
            refresh(f"/risk {name}"),
            *others(request, asset, "/risk {asset}"),
        ),
        data={
            "asset": asset,
            "at": request.now,
            "score": assessment.score,
            "parts": dict(assessment.parts),
            "age_seconds": source["age_seconds"],
        },
    )
