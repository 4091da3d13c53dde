"""/rekt: what was forced out, of whom, and where."""

from __future__ import annotations

import re

from engine.errors import InputError
from engine.market import HOUR_MS, MINUTE_MS
from engine.ports import Forced
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import price, span, usd

SPANS = (1, 4, 24)
GRACE_MS = 5 * MINUTE_MS
UNNAMED = "feeds"
"""What a recording's liquidations are said to come from when it does not name its venues."""


@command(
    "rekt",
    "What was forced out of a coin: total, longs' share, largest",
    "/rekt btc 4h",
    Parameter("asset", "A coin such as BTC"),
    Parameter("span", "1h, 4h or 24h"),
    aliases=("liquidated", "liquidations"),
)
async def rekt(request: Request, arguments: str) -> Answer:
    """Answer /rekt [asset] [1h|4h|24h]."""
    words, hours = _span(arguments)
    asset, rest = asset_and_rest(request, words)
    if rest:
        raise InputError(f"{rest[:20]!r} is not expected here.", "/rekt btc 4h")
    (board, source), now = fresh(request, asset), request.now
    since = now - hours * HOUR_MS
    by_venue = board.reported_by_venue(since)
    longs, shorts = (sum(sides[side] for sides in by_venue.values()) for side in ("long", "short"))
    total = longs + shorts
    orders = await request.services.store.forced_since(asset, since)
    data = {"asset": asset, "at": now, "hours": hours, "long_usd": longs, "short_usd": shorts, "by_venue": by_venue}
    buttons = tuple(Button(f"{h}h", f"/rekt {asset.lower()} {h}h") for h in SPANS if h != hours)
    footer = wording.sources(source)
    if not board.has_liquidation_feed:
        headline = f"{asset}: no liquidation feed has spoken yet"
        return Answer(headline, ("/status says which venues stream them.",), footer=footer, data=data)
    share = f", {longs / total:.0%} longs" if total else ""
    lines = [f"Longs {usd(longs)} · shorts {usd(shorts)}"] if total else []
    if len(by_venue) > 1 or "" not in by_venue:
        ranked = sorted(by_venue.items(), key=lambda item: -sum(item[1].values()))
        lines.append(" · ".join(f"{wording.venue(v) or UNNAMED} {usd(sum(sides.values()))}" for v, sides in ranked[:5]))
    lines += _orders(orders, now)
    short = {venue: begun for venue, begun in board.reported_since().items() if begun > since + GRACE_MS}
    if short:
        named = [f"{wording.venue(venue) or UNNAMED} {span((now - begun) / 1000)}" for venue, begun in short.items()]
        lines.append(f"Counted for less: {', '.join(named[:4])}")
    lines.append("Feeds under-report: Binance and OKX one order a second")
    return Answer(
        f"{asset}: {usd(total)} liquidated in {hours}h{share}",
        tuple(line for line in lines if line),
        footer=footer,
        buttons=(*buttons, Button("Map", f"/map {asset.lower()}")),
        data=data,
    )


def _span(arguments: str) -> tuple[str, int]:
    """The other words, and the hours that were asked for.

    Raises:
        InputError: for another span than those that are kept.
    """
    found = re.search(r"(?<!\S)(\d{1,4})\s*h(?!\S)", arguments, flags=re.IGNORECASE)
    if not found:
        return arguments, SPANS[-1]
    hours = int(found[1])
    if hours not in SPANS:
        raise InputError(f"{hours}h is not kept: 1h, 4h or 24h are.", "/rekt btc 4h")
    return arguments[: found.start()] + arguments[found.end() :], hours


def _orders(orders: Forced, now: int) -> list[str]:
    largest = orders.largest
    if largest is None:
        return []
    ago = span(max(now - largest.at, 0) / 1000)
    where = f"{usd(largest.usd)} {largest.side} at {price(largest.price)}, {wording.venue(largest.venue)}, {ago} ago"
    return [f"Largest of {orders.orders:,}: {where}"]
