"""/threshold and /alerts: what a chat wants to be told, and the list of it."""

from __future__ import annotations

import re
from dataclasses import replace

from engine.alerts.near import armed_distance
from engine.alerts.rules import RULE_KINDS, TIERS, Rule, parse_distance, parse_rule, parse_size
from engine.board import AssetBoard
from engine.errors import InputError
from engine.liquidation.clusters import Cluster, alert_size_usd
from engine.market import SIDES
from handlers.access import personal, require_admin, resume
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import find_asset, label, percent, usd

EXAMPLE = "/threshold normal"
MOST_RULES = 20
DAYS = 30


@command(
    "threshold",
    "How near and how large an alert must be",
    EXAMPLE,
    Parameter("rule", "calm, normal, busy, or numbers such as 1.5% $20m"),
    Parameter("asset", "Only for this coin"),
)
async def threshold(request: Request, arguments: str) -> Answer:
    """Answer /threshold [tier | distance and size | rule] [asset]."""
    if not arguments:
        return _current(await personal(request))
    in_group = request.chat.kind != "private"
    request = await personal(request, prove=True)
    rule = replace(_parse(request, arguments), chat_id=request.chat.id, created_at=request.now)
    where = ", sent to you privately" if in_group else ""
    return await save(request, rule, f"Alerts set: {rule.text}, {rule.asset or 'all coins'}{where}")


async def save(request: Request, rule: Rule, headline: str) -> Answer:
    """Put a rule in the place of the chat's of that kind and asset; what it would have done, and what is in range."""
    services = request.services
    mine = await services.store.rules_of_chat(request.chat.id)
    if len(mine) >= MOST_RULES:
        raise InputError(f"This chat has {MOST_RULES} alerts already. /alerts lists them; remove one first.", "/alerts")
    added, gone = await services.store.replace_rules(request.chat.id, [rule], [rule.kind])
    await resume(request)
    services.watch.book.remove(gone)
    for new in added:
        services.watch.book.add(new)
    boards = [services.watch.boards[a] for a in services.assets if rule.concerns(a) and services.watch.boards[a].ready]
    lines = [_would_have(board, rule, request.now) for board in boards[:3]]
    lines += [line for board in boards[:3] for line in _in_range(board, rule, request.now)]
    lines.append("Each cluster you are told of is followed until it is swept or left.")
    return Answer(headline, tuple(lines[:7]), buttons=(Button("My alerts", "/alerts"),), data={"rule": rule.text})


@command("alerts", "Your alerts, nearest to firing first", "/alerts", Parameter("remove", "remove and a number"))
async def alerts(request: Request, arguments: str) -> Answer:
    """Answer /alerts [remove N]."""
    if not await request.by_admin():
        request = await personal(request)
    rules = await request.services.store.rules_of_chat(request.chat.id)
    words = arguments.lower().split()
    if words[:1] == ["remove"]:
        return await _remove(request, rules, words[1:])
    if words:
        raise InputError(f"{words[0][:20]!r} is not expected here.", "/alerts remove 1")
    if not rules:
        return Answer("No alerts yet.", (f"{EXAMPLE} sets them.",), buttons=(Button("Normal", EXAMPLE),))
    ordered = sorted(rules, key=lambda rule: _closest(request, rule)[0])
    lines = []
    for rule in ordered[:7]:
        what = rule.asset or "all coins"
        lines.append(f"#{rule.id} {rule.text}, {what}{_closest(request, rule)[1]}")
    buttons = tuple(Button(f"Remove #{rule.id}", f"/alerts remove {rule.id}") for rule in ordered[:3])
    muted = [
        f"{'all' if asset == '*' else asset} muted for now"
        for asset, until in request.services.watch.book.mutes_of(request.chat.id).items()
        if until > request.now
    ]
    return Answer(f"{len(rules)} alert{'s' if len(rules) > 1 else ''} here", tuple(lines + muted[:1]), buttons=buttons)


async def _remove(request: Request, rules: list[Rule], words: list[str]) -> Answer:
    await require_admin(request, "change its alerts")
    mine = {str(rule.id): rule for rule in rules}
    number = words[0].lstrip("#") if words else ""
    if number not in mine:
        raise InputError(
            f"No alert #{number[:10]} here." if number else "Which one?",
            f"/alerts remove {next(iter(mine), 1)}",
        )
    await request.services.store.remove_rules([int(number)])
    request.services.watch.book.remove([int(number)])
    return Answer(f"Removed #{number}: {mine[number].text}", buttons=(Button("My alerts", "/alerts"),))


def _current(request: Request) -> Answer:
    rules = request.services.watch.book.of_chat(request.chat.id)
    now = "; ".join(rule.text for rule in rules) or "none"
    return Answer(
        f"Alerts now: {now}",
        (
            "calm, normal and busy are sized by each coin's own last 30 days.",
            "Or numbers: /threshold 1.5% $20m",
        ),
        buttons=tuple(Button(tier.capitalize(), f"/threshold {tier}") for tier in TIERS),
    )


def _parse(request: Request, arguments: str) -> Rule:
    """A whole rule, or its distance and size; an asset's name may stand anywhere."""
    asset: str | None = None
    words: list[str] = []
    for word in re.sub(r"(\d)\s+%", r"\1%", arguments).split():
        if word.upper() in request.services.assets:
            asset = word.upper()
        else:
            words.append(word.lower())
    if words and words[0] in RULE_KINDS:
        return replace(parse_rule(" ".join(words)), asset=asset)
    rule = Rule(0, 0, "near", asset=asset)
    for word in words:
        if word.endswith("%"):
            rule = replace(rule, distance=parse_distance(word))
        elif word.isalpha() and word not in TIERS:
            try:
                rule = replace(rule, asset=find_asset(word, request.services.assets))
            except InputError:
                raise InputError(f"{word[:20]!r} is neither {', '.join(TIERS)} nor a watched coin.", EXAMPLE) from None
        else:
            rule = replace(rule, size=parse_size(word))
    return rule


def _would_have(board: AssetBoard, rule: Rule, now: int) -> str:
    """What a rule would have done in the last 30 days, from the candidates that were kept."""
    distance = rule.distance_for(board.asset)
    fired, least = 0, []
    for side in SIDES:
        size = rule.size
        wanted = board.candidates.threshold_usd(size, side, distance, now) if isinstance(size, str) else size
        fired += board.candidates.count(side, distance, wanted, now)
        least.append(f"{side}s from {usd(wanted)}" if wanted else f"{side}s of any size")
    days = min(board.history_days, DAYS)
    return f"{board.asset}: {fired} near alerts in the last {days:.0f} days; {', '.join(least)}"


def _in_range(board: AssetBoard, rule: Rule, now: int) -> list[str]:
    if rule.kind != "near":
        return []
    mark, distance = board.view.mark, rule.distance_for(board.asset)
    near = [c for c in board.clusters if 0 < c.distance(mark) <= distance and c.mature(now)]
    near = [c for c in near if _large_enough(board, c, rule, now)]
    return [f"In range already: {board.asset} {c.side}s {label(c.label_price)}" for c in near[:2]]


def _large_enough(board: AssetBoard, cluster: Cluster, rule: Rule, now: int) -> bool:
    distance = rule.distance_for(board.asset)
    size = rule.size
    least = board.candidates.threshold_usd(size, cluster.side, distance, now) if isinstance(size, str) else size
    return alert_size_usd(board.view, cluster, distance) >= least


def _closest(request: Request, rule: Rule) -> tuple[float, str]:
    """How far price is from making a rule fire, and how to say it; infinitely far when nothing is armed."""
    best, text = float("inf"), ""
    services = request.services
    for asset in services.assets:
        board = services.watch.boards[asset]
        if not (rule.concerns(asset) and board.ready):
            continue
        for cluster in board.clusters:
            limit: float | None = 0.0
            if not _large_enough(board, cluster, rule, request.now):
                continue
            if rule.kind == "near":
                state = services.watch.book.states.get((rule.id, cluster.id))
                limit = armed_distance(state, cluster, rule.distance_for(asset))
            away = cluster.distance(board.view.mark) - (limit or 0.0)
            if limit is not None and 0 < away < best:
                best, text = away, f" · {asset} {label(cluster.label_price)} fires in {percent(away)}"
    return best, text
