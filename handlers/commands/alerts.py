"""/alert, /threshold and /alerts: what a chat wants to be told, what that would have done, and the list of it."""

from __future__ import annotations

import re
from dataclasses import replace

from engine.alerts.near import armed_distance
from engine.alerts.policy import Wishes
from engine.alerts.rules import (
    EXAMPLES,
    ONCE,
    RULE_KINDS,
    TIERS,
    VALUE_KINDS,
    Rule,
    parse_distance,
    parse_rule,
    parse_size,
    time_text,
    usd_text,
)
from engine.board import AssetBoard
from engine.errors import InputError
from engine.liquidation.clusters import Cluster, alert_size_usd
from engine.market import HOUR_MS, SIDES
from handlers.access import personal, require_admin, resume
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import find_asset, label, parse_price, percent, price, span, usd

EXAMPLE = "/threshold normal"
ALERT_EXAMPLE = "/alert price 95k"
MOST_RULES = 20
DAYS = 30
SAVE = "save"


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
    return await _wish(request, arguments, "threshold")


@command(
    "alert",
    "Be told of a price, funding, open interest, risk, or clusters",
    ALERT_EXAMPLE,
    Parameter("rule", "Such as price 95k, funding 0.05%, near 1% $20m every 4h for 7d"),
    Parameter("asset", "A coin such as BTC"),
)
async def alert(request: Request, arguments: str) -> Answer:
    """Answer /alert rule [asset] [once | always | every 4h] [for 7d]."""
    if not arguments:
        return Answer(
            "What shall I tell you of?",
            (
                *(f"/alert {example}" for kind, example in EXAMPLES.items() if kind not in ("entered", "swept")),
                "With once, always, every 4h, or for 7d behind it.",
            ),
            buttons=(Button("My alerts", "/alerts"), Button("Normal", EXAMPLE)),
        )
    return await _wish(request, arguments, "alert")


async def _wish(request: Request, arguments: str, name: str) -> Answer:
    """Take up a rule, or ask again where it would never speak or never be still."""
    in_group = request.chat.kind != "private"
    rule, sure = _parse(request, arguments)
    if not sure and (doubt := _doubt(request, rule, name)) is not None:
        return doubt
    request = await personal(request, prove=True)
    rule = replace(rule, chat_id=request.chat.id, created_at=request.now)
    where = ", sent to you privately" if in_group else ""
    ends = f", for {span((rule.expires_at - request.now) / 1000)}" if rule.expires_at else ""
    return await save(request, rule, f"Alerts set: {rule.text}, {rule.asset or 'all coins'}{ends}{where}")


async def save(request: Request, rule: Rule, headline: str) -> Answer:
    """Put a rule in the place of the chat's of that kind and asset; what it would have done, and what is in range."""
    services = request.services
    await resume(request)
    mine = await services.store.rules_of_chat(request.chat.id)
    if len(mine) >= MOST_RULES:
        raise InputError(f"This chat has {MOST_RULES} alerts already. /alerts lists them; remove one first.", "/alerts")
    added, gone = await services.store.replace_rules(request.chat.id, [rule], [rule.kind])
    services.watch.book.remove(gone)
    for new in added:
        services.watch.book.add(new)
    boards = _boards(request, rule)
    lines = [_would_have(board, rule, request.now) for board in boards[:3]] if not rule.of_values else []
    lines += [line for board in boards[:3] for line in _in_range(board, rule, request.now)]
    lines += [line for board in boards[:3] for line in _stands(board, rule, request.now)]
    if not rule.of_values:
        lines.append("Each cluster you are told of is followed until it is swept or left.")
    lines.append(_hours(request.chat.wishes))
    return Answer(
        headline,
        tuple(line for line in lines if line)[:7],
        buttons=(Button("My alerts", "/alerts"),),
        data={"rule": rule.text},
    )


@command("alerts", "Your alerts, nearest to firing first", "/alerts", Parameter("remove", "remove and a number"))
async def alerts(request: Request, arguments: str) -> Answer:
    """Answer /alerts [remove N | pause N | resume N]."""
    if not await request.by_admin():
        request = await personal(request)
    rules = await request.services.store.rules_of_chat(request.chat.id)
    words = arguments.lower().split()
    if words[:1] and words[0] in _EDITS:
        return await _edit(request, rules, words[0], words[1:])
    if words:
        raise InputError(f"{words[0][:20]!r} is not expected here.", "/alerts remove 1")
    rules = [rule for rule in rules if rule.expires_at is None or rule.expires_at > request.now]
    if not rules:
        return Answer("No alerts yet.", (f"{EXAMPLE} sets them.",), buttons=(Button("Normal", EXAMPLE),))
    ordered = sorted(rules, key=lambda rule: (rule.paused, _closest(request, rule)[0]))
    lines = []
    for rule in ordered[:7]:
        what = rule.asset or "all coins"
        lines.append(f"#{rule.id} {rule.text}, {what}{_state(request, rule)}")
    buttons = tuple(Button(f"Remove #{rule.id}", f"/alerts remove {rule.id}") for rule in ordered[:3])
    muted = [
        f"{'all' if asset == '*' else asset} muted for now"
        for asset, until in request.services.watch.book.mutes_of(request.chat.id).items()
        if until > request.now
    ]
    return Answer(f"{len(rules)} alert{'s' if len(rules) > 1 else ''} here", tuple(lines + muted[:1]), buttons=buttons)


_EDITS = {"remove": "Removed", "pause": "Paused", "resume": "Resumed"}


async def _edit(request: Request, rules: list[Rule], what: str, words: list[str]) -> Answer:
    """Remove a rule, let it rest, or take it up again."""
    await require_admin(request, "change its alerts")
    mine = {str(rule.id): rule for rule in rules}
    number = words[0].lstrip("#") if words else ""
    if number not in mine:
        raise InputError(
            f"No alert #{number[:10]} here." if number else "Which one?",
            f"/alerts {what} {next(iter(mine), 1)}",
        )
    rule, store, book = mine[number], request.services.store, request.services.watch.book
    if what == "remove":
        await store.remove_rules([rule.id])
        book.remove([rule.id])
    else:
        await store.pause_rule(rule.id, paused=what == "pause")
        book.rest([rule.id])
        if what == "resume":
            book.add(replace(rule, paused=False))
    return Answer(f"{_EDITS[what]} #{number}: {rule.text}", buttons=(Button("My alerts", "/alerts"),))


def _current(request: Request) -> Answer:
    rules = request.services.watch.book.of_chat(request.chat.id)
    now = "; ".join(rule.text for rule in rules) or "none"
    return Answer(
        f"Alerts now: {now}",
        (
            "calm, normal and busy are sized by each coin's own last 30 days.",
            "Or numbers: /threshold 1.5% $20m",
            "Prices, funding and more: /alert",
        ),
        buttons=tuple(Button(tier.capitalize(), f"/threshold {tier}") for tier in TIERS),
    )


def _parse(request: Request, arguments: str) -> tuple[Rule, bool]:
    """A whole rule, or its distance and size, and whether it shall be saved whatever it would have done.

    An asset's name may stand anywhere.
    """
    asset: str | None = None
    words: list[str] = []
    for word in re.sub(r"(\d)\s+%", r"\1%", arguments).split():
        if word.upper() in request.services.assets:
            asset = word.upper()
        else:
            words.append(word.lower())
    sure = words[-1:] == [SAVE]
    words = words[:-1] if sure else words
    if words and words[0] in VALUE_KINDS:
        return _value_rule(request, asset, words), sure
    if words and words[0] in RULE_KINDS:
        return replace(parse_rule(" ".join(words), request.now), asset=asset), sure
    if words and words[0][0].isdigit() and not words[0].endswith("%"):
        return _value_rule(request, asset, ["price", *words]), sure  # a bare number is a price
    rest = []
    for word in words:
        if word.isalpha() and word not in TIERS and word not in _LIFE and not _previous_is_life(words, word):
            try:
                asset = find_asset(word, request.services.assets)
            except InputError:
                raise InputError(f"{word[:20]!r} is neither {', '.join(TIERS)} nor a watched coin.", EXAMPLE) from None
        else:
            _known(word, words)
            rest.append(word)
    return replace(parse_rule(" ".join(["near", *rest]), request.now), asset=asset), sure


_LIFE = frozenset({"once", "always", "every", "for"})


def _previous_is_life(words: list[str], word: str) -> bool:
    at = words.index(word)
    return at > 0 and words[at - 1] in ("every", "for")


def _known(word: str, words: list[str]) -> None:
    """Say at once which word is wrong, in the terms of what was asked for."""
    if word in _LIFE or word in TIERS or _previous_is_life(words, word):
        return
    if word.endswith("%"):
        parse_distance(word)
    else:
        parse_size(word)


def _value_rule(request: Request, asset: str | None, words: list[str]) -> Rule:
    """A rule about a figure; a price is read as people write prices, near the mark of its coin."""
    if words[0] != "price":
        return replace(parse_rule(" ".join(words), request.now), asset=asset)
    asset = asset or request.services.assets[0]
    board = request.services.board(asset)
    if len(words) < 2:
        raise InputError("A price rule takes one level.", ALERT_EXAMPLE)
    level = parse_price(words[1], board.view.mark)
    life = parse_rule(" ".join(["price", "1", *words[2:]]), request.now)
    return replace(life, asset=asset, level=level)


def _boards(request: Request, rule: Rule) -> list[AssetBoard]:
    boards = request.services.watch.boards
    return [boards[asset] for asset in request.services.assets if rule.concerns(asset) and boards[asset].ready]


def _doubt(request: Request, rule: Rule, name: str) -> Answer | None:
    """What to ask where a near rule would have been silent for 30 days, or speak more often than a day takes."""
    boards = _boards(request, rule)
    if rule.kind != "near" or not boards or rule.every_ms == ONCE:
        return None
    days = min(boards[0].history_days, DAYS)
    fired = [_fired(board, rule, request.now) for board in boards]
    total = sum(fired)
    often = total > request.chat.wishes.cap * max(days, 1)
    if days < 1 or (total > 0 and not often):
        return None
    distance = f" {rule.distance * 100:g}%" if rule.distance is not None else ""
    coin = f" {rule.asset.lower()}" if rule.asset else ""
    life = f" every {time_text(rule.every_ms)}" if rule.every_ms else ""
    life += f" for {max(round((rule.expires_at - request.now) / HOUR_MS), 1)}h" if rule.expires_at else ""
    sizes = [
        board.candidates.size_for(rule.distance_for(board.asset), max(round(days), 1), request.now) for board in boards
    ]
    known = [size for size in sizes if size]
    better = f"${usd_text(float(f'{max(known):.2g}'))}" if known else "busy"
    said = f"have fired more than {request.chat.wishes.cap} times a day" if often else "never have fired"
    return Answer(
        f"{rule.text} would {said} in the last {days:.0f} days",
        (
            *(_would_have(board, rule, request.now) for board in boards[:3]),
            f"About once a day{' for the busiest coin' if len(boards) > 1 else ''}: {better}",
            "Nothing is saved yet.",
        ),
        buttons=(
            Button(f"Take {better}", f"/{name}{distance} {better}{coin}{life} {SAVE}"),
            Button("Save anyway", f"/{name}{distance} {_size_text(rule)}{coin}{life} {SAVE}"),
        ),
    )


def _size_text(rule: Rule) -> str:
    return rule.size if isinstance(rule.size, str) else f"${usd_text(rule.size)}"


def _fired(board: AssetBoard, rule: Rule, now: int) -> int:
    """How many near alerts a rule would have made of an asset in the last 30 days."""
    distance = rule.distance_for(board.asset)
    wanted = [_least(board, rule, side, distance, now) for side in SIDES]
    return sum(board.candidates.count(side, distance, least, now) for side, least in zip(SIDES, wanted, strict=True))


def _least(board: AssetBoard, rule: Rule, side: str, distance: float, now: int) -> float:
    size = rule.size
    if not isinstance(size, str):
        return size
    return board.candidates.threshold_usd(size, "long" if side == "long" else "short", distance, now)


def _would_have(board: AssetBoard, rule: Rule, now: int) -> str:
    """What a rule would have done in the last 30 days, from the candidates that were kept."""
    distance = rule.distance_for(board.asset)
    least = []
    for side in SIDES:
        wanted = _least(board, rule, side, distance, now)
        least.append(f"{side}s from {usd(wanted)}" if wanted else f"{side}s of any size")
    days = min(board.history_days, DAYS)
    return f"{board.asset}: {_fired(board, rule, now)} near alerts in the last {days:.0f} days; {', '.join(least)}"


def _in_range(board: AssetBoard, rule: Rule, now: int) -> list[str]:
    if rule.kind != "near":
        return []
    mark, distance = board.view.mark, rule.distance_for(board.asset)
    near = [c for c in board.clusters if 0 < c.distance(mark) <= distance and c.mature(now)]
    near = [c for c in near if _large_enough(board, c, rule, now)]
    return [f"In range already: {board.asset} {c.side}s {label(c.label_price)}" for c in near[:2]]


def _stands(board: AssetBoard, rule: Rule, now: int) -> list[str]:
    """How a figure stands to a rule's level now."""
    if rule.level is None:
        return []
    if rule.kind == "price":
        return [f"{board.asset} {price(board.mark)} now, {percent(rule.level / board.mark - 1)} away"]
    value = board.figures(now).get(rule.kind)
    if value is None:
        return [f"{board.asset}: {rule.kind} is not known now"]
    shown = {"risk": f"{value:.0f}", "cascade": usd(value)}.get(rule.kind, f"{value * 100:.3g}%")
    past = ": past it already, told when it has come back and gone there again" if abs(value) >= rule.level else ""
    return [f"{board.asset}: {rule.kind} is {shown} now{past}"]


def _hours(wishes: Wishes) -> str:
    return "Held in your quiet hours, summed up after them." if wishes.quiet else ""


def _large_enough(board: AssetBoard, cluster: Cluster, rule: Rule, now: int) -> bool:
    distance = rule.distance_for(board.asset)
    return alert_size_usd(board.view, cluster, distance) >= _least(board, rule, cluster.side, distance, now)


def _state(request: Request, rule: Rule) -> str:
    """What a rule is about to do, or why it does nothing."""
    if rule.paused:
        return " · paused"
    resting = request.services.watch.book.resting_until(rule)
    if resting > request.now:
        return " · has spoken" if rule.every_ms == ONCE else f" · rests {span((resting - request.now) / 1000)}"
    ends = f" · {span((rule.expires_at - request.now) / 1000)} left" if rule.expires_at else ""
    return _closest(request, rule)[1] + ends


def _closest(request: Request, rule: Rule) -> tuple[float, str]:
    """How far price is from making a rule fire, and how to say it; infinitely far when nothing is armed."""
    best, text = float("inf"), ""
    services = request.services
    for board in _boards(request, rule):
        asset = board.asset
        if rule.level is not None:
            if rule.kind == "price" and board.mark:
                away = abs(rule.level / board.mark - 1)
                best, text = away, f" · {percent(away)} away"
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
