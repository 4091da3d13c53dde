"""/market: open interest, funding and what was forced out."""

from __future__ import annotations

from engine.market import SIDES
from engine.outlook.depth import resting_usd
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import price, signed_percent, usd

BOOK_DISTANCE = 0.01


@command(
    "market",
    "Open interest, funding, liquidations of a coin",
    "/market eth",
    Parameter("asset", "A coin such as BTC"),
    aliases=("oi", "funding"),
)
async def market(request: Request, arguments: str) -> Answer:
    """Answer /market [asset]."""
    asset = only_asset(request, arguments, "/market eth")
    (board, source), now = fresh(request, asset), request.now
    facts = board.facts(now)
    change = facts.interest_change_24h
    lines = [
        f"Open interest {usd(facts.interest_usd)}"
        + (f", {signed_percent(change)} contracts in 24h" if change is not None else ", 24h change unknown"),
        f"Funding {facts.funding_rate * 100:.3f}% per 8h" if facts.funding_rate is not None else "Funding unknown",
    ]
    liquidated = facts.liquidated_24h_usd
    if liquidated is None:
        lines.append("Liquidations: no feed yet")
    else:
        total = sum(liquidated.values())
        share = f", {liquidated['long'] / total:.0%} longs" if total else ""
        lines.append(f"Reported liquidations 24h {usd(total)}{share} (feeds under-report)")
    books = board.fresh_books(now)
    if books:
        below, above = (usd(resting_usd(books, side, BOOK_DISTANCE)) for side in SIDES)
        count = f"{len(books)} book{'s' if len(books) > 1 else ''}"
        lines.append(f"Resting within 1%: bids {below}, asks {above} ({count})")
    return Answer(
        f"{asset} {price(board.view.mark)}: open interest {usd(facts.interest_usd)}",
        tuple(lines),
        footer=wording.sources(source, shares=True),
        buttons=(Button("Map", f"/map {asset.lower()}"), Button("Liq", f"/liq {asset.lower()}")),
        data={
            "asset": asset,
            "at": now,
            "reference_price": board.view.mark,
            "liquidated_24h_usd": liquidated,
            **source,
        },
    )
