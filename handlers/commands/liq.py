"""/liq: expected liquidations if price goes to a level, and the nearest clusters on both sides."""

from __future__ import annotations

from typing import Any

from engine.alerts.rule_syntax import SIDE_WORDS
from engine.board import AssetBoard
from engine.facts import cluster_facts, forced_facts, nearest, ranked, source_facts
from engine.liquidation.clusters import Cluster
from engine.market import Side
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.buttons import others, refresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import N_, _
from handlers.numbers import DidYouMeanError, label, parse_price, percent, price, ratio, usd, usd_range

NEAR = 0.005
"""Length of the last stretch before a price, a fraction; also how near to a cluster counts as beside it."""

_HEAD = {
    "long": N_("{asset} {price}: ~{usd} of longs liquidated on the way (80% range {likely})"),
    "short": N_("{asset} {price}: ~{usd} of shorts liquidated on the way (80% range {likely})"),
}
_NONE_WITHIN = {"long": N_("No dense long cluster within 10%"), "short": N_("No dense short cluster within 10%")}
_NONE_THERE = {
    "long": N_("No dense long cluster there or within 10%"),
    "short": N_("No dense short cluster there or within 10%"),
}
_OTHER = {
    "long": N_("No dense cluster there; nearest long cluster {label}"),
    "short": N_("No dense cluster there; nearest short cluster {label}"),
}


@command(
    "liq",
    "Estimate liquidations if price moves to a level",
    "/liq 88000",
    Parameter("price", "A price such as 88000, 88k or -3%", "price"),
    Parameter("asset", "A coin such as BTC", "asset"),
)
async def liq(request: Request, arguments: str) -> Answer:
    """Answer /liq [asset] [price | longs | shorts]."""
    words = arguments.split()
    side = next((SIDE_WORDS[w.lower()] for w in words if w.lower() in SIDE_WORDS and not _is_coin(request, w)), None)
    if side is not None:
        words = [word for word in words if word.lower() not in SIDE_WORDS or _is_coin(request, word)]
    asset, rest = asset_and_rest(request, " ".join(words))
    board = fresh(request, asset)[0]
    if side is not None and not rest:
        cluster = nearest(board, side, board.view.mark)
        if cluster is None:
            return overview(board, request.now, others(request, asset, "/liq {asset}"))
        return _to_price(board, cluster.label_price, request.now)
    if not rest:
        return overview(board, request.now, others(request, asset, "/liq {asset}"))
    try:
        target = parse_price(rest, board.view.mark)
    except DidYouMeanError as error:
        error.asset = "" if asset == request.services.assets[0] else f"{asset.lower()} "
        raise
    return _to_price(board, target, request.now)


def _is_coin(request: Request, word: str) -> bool:
    return word.upper() in request.services.assets


def _to_price(board: AssetBoard, target: float, now: int) -> Answer:
    view, asset = board.view, board.asset
    side = view.side_of(target)
    forced = forced_facts(view, board, target)
    source = source_facts(board, now, target)
    cluster = _cluster_at(board, side, target)
    order = ranked(board, side, view.mark)
    position = order.index(cluster) + 1 if cluster in order else None
    near_usd, churned = _near_usd(board, side, target), board.churn_usd(24)
    facts = cluster_facts(board, cluster, now) if cluster else None
    data = {
        "asset": asset,
        "at": now,
        "reference_price": view.mark,
        "price": target,
        "side": side,
        **forced,
        "near_usd": near_usd,
        "churn_24h_usd": churned,
        "rank": position,
        "of": len(order),
        "cluster": facts,
        **source,
    }
    usual = _("{ratio} usual for a move this size", ratio=ratio(forced["usual_ratio"])) if forced["usual_ratio"] else ""
    head = _(
        _HEAD[side],
        asset=asset,
        price=price(target),
        usd=usd(forced["forced_usd"]),
        likely=usd_range(forced["forced_low_usd"], forced["forced_high_usd"]),
    )
    lines = [
        " · ".join(part for part in (wording.away(target, view.mark), usual) if part),
        _("~{usd} of it in the last {near} before {price}", usd=usd(near_usd), near=percent(NEAR), price=price(target)),
        _zone_line(board, side, target, facts, wording.rank(position, len(order), side)),
        _opposite(board, side, now),
        wording.context(source),
        wording.rough(source) or wording.churn(churned, side),
    ]
    answer = Answer(
        head,
        tuple(line for line in lines if line),
        footer=wording.sources(source, shares=True),
        buttons=_buttons(board, side, target),
        data=data,
    )
    data["text"] = answer.text
    return answer


def overview(board: AssetBoard, now: int, more: tuple[Button, ...] = ()) -> Answer:
    """Return the nearest clusters on both sides of price."""
    view, asset = board.view, board.asset
    source = source_facts(board, now)
    lines, by_side, offers = [], {}, []
    for side in ("long", "short"):
        cluster = nearest(board, side, view.mark)
        if cluster is None:
            lines.append(_(_NONE_WITHIN[side]))
            continue
        facts = cluster_facts(board, cluster, now)
        by_side[side] = facts
        forced = forced_facts(view, board, cluster.far_price)
        lines.append(f"{wording.cluster_line(facts, view.mark)} · {wording.untraded(facts)}")
        lines.append("  " + _("~{usd} in total to its far edge", usd=usd(forced["forced_usd"])))
        offers.append(Button(label(facts["label"]), f"/liq {asset.lower()} {facts['label']:.6g}"))
    answer = Answer(
        _("{asset} {price}: nearest clusters above and below", asset=asset, price=price(view.mark)),
        tuple(line for line in (*lines, wording.context(source), wording.rough(source)) if line),
        footer=wording.sources(source, shares=True),
        buttons=(
            *offers,
            Button(_("Map"), f"/map {asset.lower()}"),
            Button(_("Clusters"), f"/clusters {asset.lower()}"),
            refresh(f"/liq {asset.lower()}"),
            *more,
        ),
        data={
            "asset": asset,
            "at": now,
            "reference_price": view.mark,
            "price": None,
            "side": None,
            "forced_usd": None,
            "near_usd": None,
            "rank": None,
            "of": len(board.clusters),
            "usual_ratio": None,
            "cluster": by_side.get("long") or by_side.get("short"),
            "clusters": by_side,
            **source,
        },
    )
    answer.data["text"] = answer.text
    return answer


def _cluster_at(board: AssetBoard, side: Side, target: float) -> Cluster | None:
    """Return the cluster that contains a price or has an edge within 0.5% of it, or None."""
    near = [c for c in board.clusters if c.side == side and c.low / (1 + NEAR) <= target <= c.high * (1 + NEAR)]
    return min(near, key=lambda c: abs(c.peak_price / target - 1), default=None)


def _near_usd(board: AssetBoard, side: Side, target: float) -> float:
    """Return the part of F(target) that is due to the last 0.5% before the target, USD."""
    curve, mark = board.view.curves[side], board.view.mark
    before = target * (1 + NEAR) if side == "long" else target * (1 - NEAR)
    before = min(before, mark) if side == "long" else max(before, mark)
    return max(curve.forced_usd(target) - curve.forced_usd(before), 0.0)


def _zone_line(board: AssetBoard, side: Side, target: float, facts: dict[str, Any] | None, place: str) -> str:
    if facts is not None:
        text = (
            N_("In cluster {zone}: ~{usd}, {untraded}")
            if facts["low"] <= target <= facts["high"]
            else N_("Next to cluster {zone}: ~{usd}, {untraded}")
        )
        size, age = usd(facts["forced_usd"]), wording.untraded(facts)
        zone = _(text, zone=wording.zone_of(facts), usd=size, untraded=age)
        return f"{zone}; {place}" if place else zone
    other = nearest(board, side, board.view.mark)
    return _(_NONE_THERE[side]) if other is None else _(_OTHER[side], label=label(other.label_price))


def _opposite(board: AssetBoard, side: Side, now: int) -> str:
    other = nearest(board, "short" if side == "long" else "long", board.view.mark)
    if other is None:
        return ""
    return _("Other side: {cluster}", cluster=wording.cluster_line(cluster_facts(board, other, now), board.view.mark))


def _buttons(board: AssetBoard, side: Side, target: float) -> tuple[Button, ...]:
    name = board.asset.lower()
    buttons = [Button(_("Alert me"), f"/offer {name} {target:.6g}"), Button(_("Map"), f"/map {name}")]
    other = nearest(board, "short" if side == "long" else "long", board.view.mark)
    if other is not None:
        buttons.append(Button(label(other.label_price), f"/liq {name} {other.label_price:.6g}"))
    why = Button(_("Why?"), f"/why {name} {target:.6g}")
    return (*buttons, why, refresh(f"/liq {name} {target:.6g}"))
