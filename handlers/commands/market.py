"""/market: open interest, funding and reported liquidations."""

from __future__ import annotations

from engine.facts import market_facts
from engine.market import SIDES
from engine.outlook.depth import resting_usd
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.buttons import others, picture_of, refresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import _, n_
from handlers.numbers import price, signed_percent, usd

BOOK_DISTANCE = 0.01


@command(
    "market",
    "Show a coin's open interest, funding and liquidations",
    "/market eth",
    Parameter("asset", "A coin such as BTC", "asset"),
    aliases=("oi", "funding"),
    picture=True,
)
async def market(request: Request, arguments: str) -> Answer:
    """Answer /market [asset]."""
    asset = only_asset(request, arguments, "/market eth")
    (board, source), now, name = fresh(request, asset), request.now, asset.lower()
    facts = market_facts(board, now)
    change, held = facts.interest_change_24h, usd(facts.interest_usd)
    lines = [
        _("{change} in contracts over 24h", change=signed_percent(change))
        if change is not None
        else _("24h change in contracts unknown"),
        _("Funding {rate} per 8h", rate=wording.rate_text(facts.funding_rate))
        if facts.funding_rate is not None
        else _("Funding unknown"),
    ]
    liquidated = facts.liquidated_24h_usd
    if liquidated is None:
        lines.append(_("Liquidations: no feed yet"))
    else:
        total = sum(liquidated.values())
        line = _("Reported liquidations 24h {usd} (feeds under-report)", usd=usd(total))
        if total:
            line += " · " + _("{share} longs", share=f"{liquidated['long'] / total:.0%}")
        lines.append(line)
    books = board.fresh_books(now)
    if books:
        below, above = (usd(resting_usd(books, side, BOOK_DISTANCE)) for side in SIDES)
        lines.append(
            n_(
                "Resting within 1%: bids {bids}, asks {asks} ({count} book)",
                "Resting within 1%: bids {bids}, asks {asks} ({count} books)",
                len(books),
                bids=below,
                asks=above,
            )
        )
    head = _("{asset} {price}: open interest {usd}", asset=asset, price=price(board.view.mark), usd=held)
    return Answer(
        head,
        tuple(lines),
        footer=wording.sources(source, shares=True),
        buttons=(
            Button(_("Map"), f"/map {name}"),
            Button(_("Levels"), f"/liq {name}"),
            Button(_("Liquidations"), f"/rekt {name}"),
            refresh(f"/market {name}"),
            *others(request, asset, "/market {asset}"),
        ),
        picture=picture_of(request, "market", board, alt=f"{head}; {lines[0]}; {lines[1]}"),
        data={
            "asset": asset,
            "at": now,
            "reference_price": board.view.mark,
            "liquidated_24h_usd": liquidated,
            **source,
        },
    )
