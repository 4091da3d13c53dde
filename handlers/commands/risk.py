"""/risk: how much leverage stands about and how crowded it is, from 0 to 100."""

from __future__ import annotations

from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.registry import Parameter, command
from handlers.context import Request


@command(
    "risk",
    "How much leverage stands about, 0 to 100",
    "/risk btc",
    Parameter("asset", "A coin such as BTC"),
)
async def risk(request: Request, arguments: str) -> Answer:
    """Answer /risk [asset]."""
    asset = only_asset(request, arguments, "/risk btc")
    board, source = fresh(request, asset)
    found = board.risk(request.now)
    footer = wording.sources(source)
    if found is None:
        return Answer(f"{asset}: too little is known for a score", ("It needs a day of open interest.",), footer=footer)
    parts = sorted(found.parts.items(), key=lambda part: -part[1])
    return Answer(
        f"{asset} risk {found.score:.0f} of 100",
        (
            *(
                " · ".join(f"{name} {share * 100:.0f}" for name, share in some)
                for some in (parts[:3], parts[3:])
                if some
            ),
            "The mean of its parts. It says how crowded leverage is, not where price goes.",
            wording.context(source),
        ),
        footer=footer,
        buttons=(Button("Tell me at 70", f"/alert risk 70 {asset.lower()}"), Button("Map", f"/map {asset.lower()}")),
        data={"asset": asset, "at": request.now, "score": found.score, "parts": dict(found.parts)},
    )
