"""/clusters: the dense levels of an asset, nearest first."""

from __future__ import annotations

from engine.announce import cluster_facts
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import label, price, signed_percent, span, usd

MOST = 8


@command(
    "clusters",
    "The dense levels of a coin, nearest first",
    "/clusters btc",
    Parameter("asset", "A coin such as BTC"),
)
async def clusters(request: Request, arguments: str) -> Answer:
    """Answer /clusters [asset]."""
    asset = only_asset(request, arguments, "/clusters btc")
    (board, source), now = fresh(request, asset), request.now
    mark = board.view.mark
    nearest_first = sorted(board.clusters, key=lambda c: abs(c.distance(mark)))[:MOST]
    rows = [cluster_facts(board, cluster, now) for cluster in nearest_first]
    table = [("level", "away", "~USD", "untraded")]
    for row, cluster in zip(rows, nearest_first, strict=True):
        name = f"{row['side']} {label(row['label'])}"
        new = "new" if not cluster.mature(now) else span(row["untraded_hours"] * 3600)
        table.append((name, signed_percent(row["label"] / mark - 1), usd(row["forced_usd"]), new))
    counts = {side: sum(row["side"] == side for row in rows) for side in ("long", "short")}
    return Answer(
        f"{asset} {price(mark)}: {counts['long']} long and {counts['short']} short clusters",
        tuple(
            line
            for line in ("No dense level within 10% either way." if not rows else "", wording.rough(source))
            if line
        ),
        table=tuple(table) if rows else (),
        footer=wording.sources(source, shares=True),
        buttons=(
            Button("Map", f"/map {asset.lower()}"),
            *(Button(label(row["label"]), f"/liq {asset.lower()} {row['label']:.6g}") for row in rows[:2]),
        ),
        data={"asset": asset, "at": now, "reference_price": mark, "clusters": rows, **source},
    )
