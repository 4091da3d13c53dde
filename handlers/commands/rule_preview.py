"""Previews of a rule: past alerts, distance to firing, and the question before saving a doubtful one."""

from __future__ import annotations

from engine.alerts.market_events import tier_of
from engine.alerts.near import armed_distance
from engine.alerts.rules import ONCE, Rule
from engine.board import AssetBoard
from engine.facts import metrics_of
from engine.liquidation.clusters import Cluster, alert_size_usd
from engine.market import HOUR_MS, SIDES, Side
from engine.preferences import Preferences
from engine.units import time_text, usd_text
from handlers import wording
from handlers.answers import Answer, Button
from handlers.commands.rule_arguments import SAVE
from handlers.context import Request
from handlers.i18n import N_, _, n_, written
from handlers.numbers import label, percent, price, span, usd

DAYS = 30
MAX_BOARDS = 3
SIGHT = 2.0
"""Multiple of a near rule's distance within which the list shows clusters that it ignores."""


def boards_of(request: Request, rule: Rule) -> list[AssetBoard]:
    """Return the boards that a rule concerns and that have a map."""
    boards = request.services.pipeline.boards
    return [boards[asset] for asset in request.services.assets if rule.concerns(asset) and boards[asset].ready]


def doubt(request: Request, rule: Rule, name: str) -> Answer | None:
    """Return a question if a near rule would not have fired in 30 days, or more than the daily cap allows."""
    boards = boards_of(request, rule)
    if rule.kind != "near" or not boards or rule.every_ms == ONCE:
        return None
    days = min(boards[0].history_days, DAYS)
    total = sum(_fired(board, rule, request.now) for board in boards)
    often = total > request.chat.preferences.cap * max(days, 1)
    if days < 1 or (total > 0 and not often):
        return None
    sizes = [
        board.candidates.size_for(rule.distance_for(board.asset), max(round(days), 1), request.now) for board in boards
    ]
    usable_sizes = [size for size in sizes if size]
    better = f"${usd_text(float(f'{max(usable_sizes):.2g}'))}" if usable_sizes else "busy"
    past = f"{days:.0f}"
    head = (
        _(
            "{rule} would have fired more than {count} times a day in the last {days} days",
            rule=rule.text,
            count=request.chat.preferences.cap,
            days=past,
        )
        if often
        else _("{rule} would never have fired in the last {days} days", rule=rule.text, days=past)
    )
    offer = (
        _("Fires about once a day on the busiest coin: {size}", size=better)
        if len(boards) > 1
        else _("Fires about once a day: {size}", size=better)
    )
    return Answer(
        head,
        (
            *(would_have(board, rule, request.now) for board in boards[:MAX_BOARDS]),
            offer,
            _("Not saved yet."),
        ),
        buttons=(
            Button(_("Use {size}", size=better), _again(request, rule, name, better)),
            Button(_("Save anyway"), _again(request, rule, name, _size_text(rule))),
        ),
    )


def _again(request: Request, rule: Rule, name: str, size: str) -> str:
    """Return the command line of the same rule with another size, to be saved without asking."""
    parts = [
        f"/{name}",
        f"{rule.distance * 100:g}%" if rule.distance is not None else "",
        size,
        f"{rule.side}s" if rule.side else "",
        rule.asset.lower() if rule.asset else "",
        f"every {time_text(rule.every_ms)}" if rule.every_ms else "",
        f"for {max(round((rule.expires_at - request.now) / HOUR_MS), 1)}h" if rule.expires_at else "",
        SAVE,
    ]
    return " ".join(part for part in parts if part)


def _size_text(rule: Rule) -> str:
    return rule.size if isinstance(rule.size, str) else f"${usd_text(rule.size)}"


def _sides(rule: Rule) -> list[Side]:
    return [side for side in SIDES if rule.wants(side)]


def _fired(board: AssetBoard, rule: Rule, now: int) -> int:
    """Return how many near alerts a rule would have fired for an asset in the last 30 days."""
    distance = rule.distance_for(board.asset)
    return sum(
        board.candidates.count(side, distance, _least(board, rule, side, distance, now), now) for side in _sides(rule)
    )


def _least(board: AssetBoard, rule: Rule, side: Side, distance: float, now: int) -> float:
    """Return the minimum cluster size of a rule, USD."""
    size = rule.size
    return board.candidates.threshold_usd(size, side, distance, now) if isinstance(size, str) else size


_FROM = {"long": N_("longs from {usd}"), "short": N_("shorts from {usd}")}
_ANY = {"long": N_("longs of any size"), "short": N_("shorts of any size")}


def would_have(board: AssetBoard, rule: Rule, now: int) -> str:
    """Return a line on the alerts of a rule in the last 30 days, computed from stored candidates."""
    distance = rule.distance_for(board.asset)
    least = []
    for side in _sides(rule):
        wanted = _least(board, rule, side, distance, now)
        least.append(_(_FROM[side], usd=usd(wanted)) if wanted else _(_ANY[side]))
    past = n_(
        "{asset}: {count} near alert in the last {days} days",
        "{asset}: {count} near alerts in the last {days} days",
        _fired(board, rule, now),
        asset=board.asset,
        days=f"{min(board.history_days, DAYS):.0f}",
    )
    return "; ".join([past, ", ".join(least), *_rode(board, rule)])


def _rode(board: AssetBoard, rule: Rule) -> list[str]:
    """Return a phrase on the other alerts of a near rule: surges and fresh ground; empty without any."""
    if rule.kind != "near":
        return []
    surges, grounds = board.past_events(tier_of(rule), _sides(rule), DAYS)
    parts = []
    if surges:
        parts.append(n_("{count} surge", "{count} surges", surges))
    if grounds:
        parts.append(n_("{count} new high or low", "{count} new highs or lows", grounds))
    return [", ".join(parts)] if parts else []


def in_range(board: AssetBoard, rule: Rule, now: int) -> list[str]:
    """Return lines on the clusters that are already within a near rule's distance, at most two."""
    if rule.kind != "near":
        return []
    mark, distance = board.view.mark, rule.distance_for(board.asset)
    near = [c for c in board.clusters if 0 < c.distance(mark) <= distance and c.mature(now)]
    near = [c for c in near if large_enough(board, c, rule, now)]
    text = N_("Already in range: {asset} {sides} {label}")
    return [_(text, asset=board.asset, sides=wording.sides(c.side), label=label(c.label_price)) for c in near[:2]]


def stands(board: AssetBoard, rule: Rule, now: int) -> list[str]:
    """Return a line that compares the current value of a metric with the rule's level."""
    if rule.level is None:
        return []
    asset = board.asset
    if rule.kind == "price":
        away = percent(rule.level / board.mark - 1)
        return [_("{asset} {price} now, {distance} away", asset=asset, price=price(board.mark), distance=away)]
    value = metrics_of(board, now).get(rule.kind)
    if value is None:
        return [_("{asset}: no {kind} data right now", asset=asset, kind=rule.kind)]
    shown = {"risk": f"{value:.0f}", "cascade": usd(value)}.get(rule.kind, written(f"{value * 100:.3g}%"))
    text = (
        N_("{asset}: {kind} is {value} now, already past it; fires once it drops back and crosses again")
        if abs(value) >= rule.level
        else N_("{asset}: {kind} is {value} now")
    )
    return [_(text, asset=asset, kind=rule.kind, value=shown)]


def hours(preferences: Preferences) -> str:
    return _("Held during your quiet hours, then sent as one summary.") if preferences.quiet else ""


def large_enough(board: AssetBoard, cluster: Cluster, rule: Rule, now: int) -> bool:
    if not rule.wants(cluster.side):
        return False
    distance = rule.distance_for(board.asset)
    return alert_size_usd(board.view, cluster, distance) >= _least(board, rule, cluster.side, distance, now)


def state(request: Request, rule: Rule) -> str:
    """Return how far a rule is from firing, or why it cannot fire now."""
    if rule.paused:
        return " · " + _("paused")
    resting = request.services.subscriptions.cooldown_until(rule)
    if resting > request.now:
        if rule.every_ms == ONCE:
            return " · " + _("already fired")
        return " · " + _("cool-down {span}", span=span((resting - request.now) / 1000))
    ends = ""
    if rule.expires_at:
        ends = " · " + _("ends in {span}", span=span((rule.expires_at - request.now) / 1000))
    return closest(request, rule)[1] + _silent_about(request, rule) + ends


def _silent_about(request: Request, rule: Rule) -> str:
    """Return the nearest cluster in sight that a near rule ignores, and why."""
    if rule.kind != "near":
        return ""
    best, text = float("inf"), ""
    for board in boards_of(request, rule):
        mark, sight = board.view.mark, SIGHT * rule.distance_for(board.asset)
        for cluster in board.clusters:
            away = cluster.distance(mark)
            if not 0 < away <= min(sight, best) or not rule.wants(cluster.side):
                continue
            too_new = not cluster.mature(request.now)
            if too_new or not large_enough(board, cluster, rule, request.now):
                why = _("too new") if too_new else _("below your size")
                named = {"asset": board.asset, "label": label(cluster.label_price), "distance": percent(away)}
                best, text = away, " · " + _("{asset} {label}, {distance} away: {why}", **named, why=why)
    return text


def closest(request: Request, rule: Rule) -> tuple[float, str]:
    """Return how far price is from firing a rule, and the text for it; infinity if nothing is armed."""
    best, text = float("inf"), ""
    services = request.services
    for board in boards_of(request, rule):
        asset = board.asset
        if rule.level is not None:
            if rule.kind == "price" and board.mark:
                away = abs(rule.level / board.mark - 1)
                best, text = away, " · " + _("{distance} away", distance=percent(away))
            continue
        for cluster in board.clusters:
            limit: float | None = 0.0
            if not large_enough(board, cluster, rule, request.now):
                continue
            if rule.kind == "near":
                rule_state = services.subscriptions.state(rule, cluster.id)
                limit = armed_distance(rule_state, cluster, rule.distance_for(asset))
            away = cluster.distance(board.view.mark) - (limit or 0.0)
            if limit is not None and 0 < away < best:
                best = away
                fires = _(
                    "{asset} {label} fires in {distance}",
                    asset=asset,
                    label=label(cluster.label_price),
                    distance=percent(away),
                )
                text = " · " + fires
    return best, text
