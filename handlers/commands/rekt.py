"""/rekt: reported liquidations by side and venue."""

from __future__ import annotations

import re

from engine.errors import InputError
from engine.market import HOUR_MS, MINUTE_MS, LiquidationSummary
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import asset_and_rest, fresh, unexpected
from handlers.commands.buttons import others, picture_of, refresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import N_, _
from handlers.numbers import count, price, span, usd

SPANS = (1, 4, 24)
GRACE_MS = 5 * MINUTE_MS
UNNAMED = N_("feeds")
"""Name of the source of a recording's liquidations if the recording does not name venues."""


@command(
    "rekt",
    "Show a coin's liquidations: total, longs' share, largest",
    "/rekt btc 4h",
    Parameter("asset", "A coin such as BTC", "asset"),
    Parameter("span", "1h, 4h or 24h", choices=("1h", "4h", "24h")),
    aliases=("liquidated", "liquidations"),
    picture=True,
)
async def rekt(request: Request, arguments: str) -> Answer:
    """Answer /rekt [asset] [1h|4h|24h]."""
    words, hours = _span(arguments)
    asset, rest = asset_and_rest(request, words)
    if rest:
        raise unexpected(rest, "/rekt btc 4h")
    (board, source), now, name = fresh(request, asset), request.now, asset.lower()
    since = now - hours * HOUR_MS
    by_venue = board.reported.by_venue(since)
    longs, shorts = (sum(sides[side] for sides in by_venue.values()) for side in ("long", "short"))
    total = longs + shorts
    orders = await request.services.store.market.liquidations_since(asset, since)
    data = {"asset": asset, "at": now, "hours": hours, "long_usd": longs, "short_usd": shorts, "by_venue": by_venue}
    buttons = tuple(Button(f"{h}h", f"/rekt {name} {h}h", here=True) for h in SPANS if h != hours)
    footer = wording.sources(source)
    if not board.reported.has_feed:
        headline = _("{asset}: no liquidation feed has reported yet", asset=asset)
        return Answer(headline, (_("/status shows which venues have a feed."),), footer=footer, data=data)
    since_when = board.reported.known_since()
    heard_from = min((since_when[venue] for venue in by_venue if venue in since_when), default=since)
    head = _("{asset}: {usd} liquidated in {hours}h", asset=asset, usd=usd(total), hours=hours)
    if heard_from > since + GRACE_MS:
        known = span((now - heard_from) / 1000)
        head = _("{asset}: {usd} liquidated in {span}, since feeds started", asset=asset, usd=usd(total), span=known)
    if total:
        head += ", " + _("{share} longs", share=f"{longs / total:.0%}")
    lines = [_("Longs {longs} · shorts {shorts}", longs=usd(longs), shorts=usd(shorts))] if total else []
    if len(by_venue) > 1 or "" not in by_venue:
        ranked = sorted(by_venue.items(), key=lambda item: -sum(item[1].values()))
        lines.append(
            " · ".join(f"{wording.venue(v) or _(UNNAMED)} {usd(sum(sides.values()))}" for v, sides in ranked[:5])
        )
    lines += _orders(orders, now)
    short = {venue: begun for venue, begun in board.reported.known_since().items() if begun > since + GRACE_MS}
    if short:
        named = [f"{wording.venue(venue) or _(UNNAMED)} {span((now - begun) / 1000)}" for venue, begun in short.items()]
        lines.append(_("Partial coverage: {venues}", venues=", ".join(named[:4])))
    lines.append(_("Feeds under-report: Binance and OKX publish one order a second"))
    return Answer(
        head,
        tuple(line for line in lines if line),
        footer=footer,
        buttons=(
            *buttons,
            Button(_("Map"), f"/map {name}"),
            refresh(f"/rekt {name} {hours}h"),
            *others(request, asset, f"/rekt {{asset}} {hours}h"),
        ),
        picture=picture_of(request, "rekt", board, alt=f"{head}. {lines[0]}", hours=hours) if total else None,
        data=data | {"age_seconds": source["age_seconds"]},
    )


def _span(arguments: str) -> tuple[str, int]:
    """Return the other words and the hours that the user asked for, 24 by default.

    Raises:
        InputError: for any span other than 1, 4 or 24 hours.
    """
    units = r"(?:(m)(?:in\w*)?|(h)(?:(?:ou)?rs?)?|(d)(?:ays?)?|(w)(?:eeks?)?)?"
    match = re.search(rf"(?<!\S)(\d{{1,4}})\s*{units}(?!\S)", arguments, flags=re.IGNORECASE)
    if not match:
        return arguments, SPANS[-1]
    unit = next((group for group in match.groups()[1:] if group), "h").lower()
    hours = int(match[1]) * (24 if unit == "d" else 1)
    if unit in ("m", "w") or hours not in SPANS:
        raise InputError("Time must be 1h, 4h or 24h, not {word}.", "/rekt btc 4h", word=f"{match[1]}{unit}")
    return arguments[: match.start()] + arguments[match.end() :], hours


def _orders(orders: LiquidationSummary, now: int) -> list[str]:
    largest = orders.largest
    if largest is None:
        return []
    line = _(
        "Largest of {count}: {usd} {sides} at {price}, {venue}, {span} ago",
        count=count(orders.orders),
        usd=usd(largest.usd),
        sides=wording.sides(largest.side),
        price=price(largest.price),
        venue=wording.venue(largest.venue),
        span=span(max(now - largest.at, 0) / 1000),
    )
    return [line]
