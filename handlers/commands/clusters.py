"""/clusters: the clusters of an asset, nearest first."""

from __future__ import annotations

from engine.board import AssetBoard
from engine.facts import cluster_facts, ground_facts
from engine.market import SIDES
from handlers import wording
from handlers.alert_messages import ground_line
from handlers.answers import Answer, Button
from handlers.commands.arguments import fresh, only_asset
from handlers.commands.buttons import others, page_buttons, picture_of, split_page
from handlers.commands.registry import Parameter, command
from handlers.commands.rule_preview import large_enough
from handlers.context import Request
from handlers.i18n import _
from handlers.numbers import label, price, signed_percent, span, usd

A_PAGE = 8
GROWTH = 0.1
"""Change of a cluster's open interest within four hours, a fraction, from which an arrow marks it."""


@command(
    "clusters",
    "List a coin's clusters, nearest first",
    "/clusters btc",
    Parameter("asset", "A coin such as BTC", "asset"),
    picture=True,
)
async def clusters(request: Request, arguments: str) -> Answer:
    """Answer /clusters [asset] [p2]."""
    words, page = split_page(arguments)
    asset = only_asset(request, words, "/clusters btc")
    (board, source), now = fresh(request, asset), request.now
    mark, name = board.view.mark, asset.lower()
    nearest_first = sorted(board.clusters, key=lambda c: abs(c.distance(mark)))
    rows = [cluster_facts(board, cluster, now) for cluster in nearest_first]
    start = (page - 1) * A_PAGE
    rules = request.services.subscriptions.of_chat(request.chat.id)
    mine = [rule for rule in rules if rule.kind == "near" and rule.concerns(asset)]
    table = [(_("level"), _("away"), "~USD", _("untraded"))]
    for row, cluster in list(zip(rows, nearest_first, strict=True))[start : start + A_PAGE]:
        small = UNDER if mine and not any(large_enough(board, cluster, rule, now) for rule in mine) else ""
        called = f"{wording.side_letter(row['side'])} {label(row['label'])}{_trend(row['growth'])}{small}"
        untraded = span(row["untraded_hours"] * 3600) + ("" if cluster.mature(now) else NEW)
        table.append((called, signed_percent(row["label"] / mark - 1), usd(row["forced_usd"]), untraded))
    counts = {side: sum(row["side"] == side for row in rows) for side in ("long", "short")}
    head = _(
        "{asset} {price}: {longs} long and {shorts} short clusters",
        asset=asset,
        price=price(mark),
        longs=counts["long"],
        shorts=counts["short"],
    )
    legend = _("L longs, S shorts; ↑ up, ↓ down 10% or more in 4 h; * new") if rows else ""
    if any(UNDER in line[0] for line in table):
        legend += "; " + _("{mark} below your size: no alert", mark=UNDER)
    lines = (
        legend or ("" if grounds_of(board, now) else _("No dense level within 10% either way.")),
        *grounds_of(board, now),
        wording.rough(source),
    )
    named = ", ".join(wording.cluster_line(row, mark) for row in rows[:A_PAGE])
    return Answer(
        head,
        tuple(line for line in lines if line),
        table=tuple(table) if len(table) > 1 else (),
        footer=wording.sources(source, shares=True),
        buttons=(
            *(Button(label(row["label"]), f"/offer {name} {row['label']:.6g}") for row in rows[start : start + 3]),
            *page_buttons(f"/clusters {name}", page, len(rows), A_PAGE),
            Button(_("Map"), f"/map {name}"),
            Button(_("Refresh"), f"/clusters {name}", here=True),
            *others(request, asset, "/clusters {asset}"),
        ),
        picture=picture_of(request, "clusters", board, alt=f"{head}: {named}") if rows and page == 1 else None,
        data={"asset": asset, "at": now, "reference_price": mark, "clusters": rows, **source},
    )


UNDER = "°"
"""Marks a cluster too small, or on the wrong side, for all of the chat's near rules."""

NEW = "*"
"""Marks a cluster younger than two hours, for which near rules do not fire yet."""


def grounds_of(board: AssetBoard, now: int) -> tuple[str, ...]:
    """Return one line per side on which price borders an untraded stretch, which has no clusters."""
    grounds = ((side, board.ground_ahead(side, now)) for side in SIDES)
    return tuple(ground_line(side, ground_facts(board, ground)) for side, ground in grounds if ground is not None)


def _trend(growth: float | None) -> str:
    if growth is None or abs(growth) < GROWTH:
        return ""
    return "↑" if growth > 0 else "↓"
