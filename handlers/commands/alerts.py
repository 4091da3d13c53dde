"""/alert, /threshold, /alerts and /offer: set a chat's rules, list them, and suggest rules at a level."""

from __future__ import annotations

from dataclasses import replace

from engine.alerts.rules import EXAMPLES, TIERS, Rule
from engine.errors import InputError
from engine.facts import ranked
from engine.units import usd_text
from handlers import wording
from handlers.access import in_private_chat, require_admin, resume
from handlers.answers import Answer, Button
from handlers.commands.arguments import asset_and_rest, fresh, unexpected
from handlers.commands.buttons import page_buttons, split_page
from handlers.commands.registry import Parameter, command
from handlers.commands.rule_arguments import ALERT_EXAMPLE, EXAMPLE, read_rule
from handlers.commands.rule_preview import (
    boards_of,
    closest,
    doubt,
    hours,
    in_range,
    stands,
    state,
    would_have,
)
from handlers.context import Request
from handlers.i18n import N_, _, n_
from handlers.numbers import label, parse_price, price, span

MAX_RULES = 20
A_PAGE = 6


@command(
    "threshold",
    "Set cluster alerts by distance and size",
    EXAMPLE,
    Parameter("rule", "calm, normal, busy, or numbers such as 1.5% $20m"),
    Parameter("asset", "Only for this coin", "asset"),
)
async def threshold(request: Request, arguments: str) -> Answer:
    """Answer /threshold [tier | distance and size | rule] [longs | shorts] [asset]."""
    if not arguments:
        mine = await in_private_chat(request)
        return replace(_current(mine), private=mine.chat.id != request.chat.id)
    return await _wish(request, arguments, "threshold")


@command(
    "alert",
    "Set an alert on price, funding, open interest, risk or clusters",
    ALERT_EXAMPLE,
    Parameter("rule", "Such as price 95k, funding 0.05%, near 1% $20m every 4h for 7d"),
    Parameter("asset", "A coin such as BTC", "asset"),
)
async def alert(request: Request, arguments: str) -> Answer:
    """Answer /alert rule [asset] [once | always | every 4h] [for 7d]. Without a rule, ask for one."""
    if not arguments:
        return Answer(
            _("What should I alert you about?"),
            (
                *(f"/alert {example}" for kind, example in EXAMPLES.items() if kind not in ("entered", "swept")),
                _("Add once, always, every 4h, or for 7d."),
            ),
            buttons=(
                Button(_("A price"), "/alert price ?"),
                Button(_("Clusters"), "/alert near ?"),
                Button(_("Funding"), "/alert funding ?"),
                Button(_("Open interest"), "/alert oi ?"),
                Button(_("Risk"), "/alert risk ?"),
                Button(_("My alerts"), "/alerts"),
            ),
        )
    return await _wish(request, arguments, "alert")


@command("offer", "Suggest alerts at a level", "/offer btc 88000", Parameter("price", "A price"), hidden=True)
async def offer(request: Request, arguments: str) -> Answer:
    """Answer /offer [asset] price: buttons that set alerts at a level."""
    asset, rest = asset_and_rest(request, arguments)
    board, name = fresh(request, asset)[0], asset.lower()
    mark = board.view.mark
    level = parse_price(rest, mark) if rest else mark
    side = board.view.side_of(level)
    cluster = min(ranked(board, side, mark, 1.0), key=lambda c: abs(c.label_price / level - 1), default=None)
    buttons = [Button(_("When price reaches {price}", price=price(level)), f"/alert price {level:.6g} {name}")]
    lines = [wording.away(level, mark)]
    if cluster is not None and abs(cluster.label_price / level - 1) <= 0.01:
        size = f"${usd_text(float(f'{max(cluster.size_usd * 0.8, 1e3):.1g}'))}"
        lines.append(f"{wording.cluster_of(side)} {label(cluster.label_price)}, {wording.zone_of_cluster(cluster)}")
        buttons.append(Button(_("Near a cluster this large"), f"/alert near {size} {name}"))
        buttons.append(Button(_("When one this large is swept"), f"/alert swept {size} {name}"))
    buttons.append(Button(_("All normal-size clusters"), f"/threshold normal {name}"))
    head = _("{asset} {price}: what should I alert you about?", asset=asset, price=price(level))
    return Answer(head, tuple(lines), buttons=tuple(buttons))


async def _wish(request: Request, arguments: str, name: str) -> Answer:
    """Save a rule, or ask first if in the past it would never have fired or too often."""
    in_group = request.chat.kind != "private"
    rule, sure = read_rule(request, arguments, name)
    if not sure and (asked := doubt(request, rule, name)) is not None:
        return asked
    request = await in_private_chat(request, prove=True)
    rule = replace(rule, chat_id=request.chat.id, created_at=request.now)
    parts = [_("Alerts set: {rule}, {asset}", rule=rule.text, asset=wording.asset_or_all(rule.asset))]
    if rule.expires_at:
        parts.append(_("for {span}", span=span((rule.expires_at - request.now) / 1000)))
    if in_group:
        parts.append(_("sent to you privately"))
    return replace(await save(request, rule, ", ".join(parts)), private=in_group, changed=False)


async def save(request: Request, rule: Rule, headline: str) -> Answer:
    """Replace the chat's rule of that kind and asset. Return its past alerts and the clusters in range."""
    services = request.services
    await resume(request)
    added, gone = await services.subscriptions.replace(rule, MAX_RULES)
    boards = boards_of(request, rule)
    first = boards[:1]  # for a rule on all coins, one coin is example enough
    lines = [would_have(board, rule, request.now) for board in first] if not rule.is_metric else []
    lines += [line for board in first for line in in_range(board, rule, request.now)]
    elsewhere = sum(len(in_range(board, rule, request.now)) for board in boards[1:])
    if elsewhere:
        lines.append(
            n_("Also in range: {count} cluster elsewhere", "Also in range: {count} clusters elsewhere", elsewhere)
        )
    lines += [line for board in first for line in stands(board, rule, request.now)]
    if not rule.is_metric:
        lines.append(_("You'll get follow-ups until each cluster is swept or left."))
    lines.append(hours(request.chat.preferences))
    undo = tuple(Button(_("Undo"), f"/alerts back {new.id}", here=True) for new in added)
    was = [old for old in gone if old.text != rule.text or old.asset != rule.asset]
    if was:
        before = "; ".join(f"{old.text} {(old.asset or '').lower()}".strip() for old in was)  # as it is typed
        headline = _("{changed} (was {before})", changed=headline, before=before)
    return Answer(
        headline,
        tuple(line for line in lines if line)[:7],
        buttons=(Button(_("My alerts"), "/alerts"), *undo),
        data={"rule": rule.text},
        changed=True,
    )


@command(
    "alerts",
    "List your alerts, closest to firing first",
    "/alerts",
    Parameter("action", "What to do with an alert", choices=("remove", "pause", "resume")),
    Parameter("number", "Alert number, or all", "rule"),
    aliases=("list",),
    for_own_chat=True,
)
async def alerts(request: Request, arguments: str) -> Answer:
    """Answer /alerts [N | remove N | remove all | pause N | resume N | back N] [p2]."""
    asked_in = request.chat.id
    if not await request.by_admin():
        request = await in_private_chat(request)
    words, page = split_page(arguments.lower())
    done = ""
    if words:
        what, *rest = words.split()
        what = _ALSO.get(what, what)
        if what == "remove" and words.split()[0] in ("clear", "off") and not rest:
            rest = ["all"]
        if what.lstrip("#").isdecimal() and not rest:
            return await _one(request, what.lstrip("#"))
        if what not in _EDITS:
            raise unexpected(what, "/alerts remove 1")
        if what == "remove" and rest[:1] == ["all"]:
            return await _all(request, sure=rest[1:] == ["yes"], elsewhere=request.chat.id != asked_in)
        request = await _whose(request, rest)
        done = await _edit(request, await request.services.store.rules.of_chat(request.chat.id), what, rest)
    rules = await request.services.store.rules.of_chat(request.chat.id)
    elsewhere = request.chat.id != asked_in
    if done and elsewhere and request.chat.kind != "private":
        await request.services.store.chats.log_change(request.chat.id, request.user_id, request.text)
    return replace(_list(request, rules, page, done), private=elsewhere, changed=bool(done) and not elsewhere)


async def _one(request: Request, number: str) -> Answer:
    """Return the alert with that number, or the page with that number if there is no such alert."""
    rules = await request.services.store.rules.of_chat(request.chat.id)
    mine = [rule for rule in rules if str(rule.id) == number]
    if mine or int(number) > -(-len(rules) // A_PAGE):
        if not mine:
            raise InputError("No alert #{number} here.", "/alerts", number=number[:10])
        return _list(request, mine, 1, "")
    return _list(request, rules, int(number), "")


async def _all(request: Request, *, sure: bool, elsewhere: bool) -> Answer:
    """Remove all alerts of a chat, after confirmation."""
    await require_admin(request)
    rules = await request.services.store.rules.of_chat(request.chat.id)
    if not rules:
        return replace(_list(request, [], 1, ""), private=elsewhere)
    if not sure:
        head = n_("Remove {count} alert?", "Remove all {count} alerts?", len(rules))
        lines = tuple(f"#{rule.id} {rule.text}, {wording.asset_or_all(rule.asset)}" for rule in rules[:6])
        buttons = (
            Button(_("Remove all"), "/alerts remove all yes", here=True),
            Button(_("Keep"), "/alerts", here=True),
        )
        return Answer(head, lines, buttons=buttons, private=elsewhere)
    ids = [rule.id for rule in rules]
    await request.services.subscriptions.remove(ids)
    head = n_("Removed {count} alert", "Removed {count} alerts", len(ids))
    return replace(_list(request, [], 1, head), private=elsewhere, changed=not elsewhere)


async def _whose(request: Request, words: list[str]) -> Request:
    """Return the request moved to the rule's chat: this one, the user's private one, or one they administer."""
    number = words[0].lstrip("#") if words else ""
    here = {str(rule.id) for rule in await request.services.store.rules.of_chat(request.chat.id)}
    if number in here or not number.isdecimal() or not request.user_id:
        return request
    for chat in await request.services.store.chats.all(request.platform):
        mine = replace(request, chat=chat)
        if number not in {str(rule.id) for rule in await request.services.store.rules.of_chat(chat.id)}:
            continue
        own = await request.membership.private_chat(request.user_id)
        if chat.remote_id == own or (chat.kind != "private" and await mine.by_admin()):
            return mine
    return request


def _list(request: Request, rules: list[Rule], page: int, done: str) -> Answer:
    rules = [rule for rule in rules if rule.expires_at is None or rule.expires_at > request.now]
    if not rules:
        head = done or _("No alerts yet.")
        return Answer(head, (_("Set them with {command}.", command=EXAMPLE),), buttons=(Button(_("Normal"), EXAMPLE),))
    ordered = sorted(rules, key=lambda rule: (rule.paused, closest(request, rule)[0]))
    shown = ordered[(page - 1) * A_PAGE : page * A_PAGE]
    lines = [f"#{rule.id} {rule.text}, {wording.asset_or_all(rule.asset)}{state(request, rule)}" for rule in shown]
    lines += [
        _("everything is muted for now") if asset == "*" else _("{asset} is muted for now", asset=asset)
        for asset in request.services.subscriptions.mutes_of(request.chat.id, request.now)
    ][:1]
    head = n_("{count} alert here", "{count} alerts here", len(rules))
    buttons = [
        *(Button(_("Remove #{number}", number=rule.id), f"/alerts remove {rule.id}", here=True) for rule in shown[:3]),
        *(_rest(rule) for rule in shown[:3]),
        *page_buttons("/alerts", page, len(rules), A_PAGE),
        Button(_("New"), "/alert"),
    ]
    return Answer(f"{done} · {head}" if done else head, tuple(lines), buttons=tuple(buttons))


def _rest(rule: Rule) -> Button:
    if rule.paused:
        return Button(_("Resume #{number}", number=rule.id), f"/alerts resume {rule.id}", here=True)
    return Button(_("Pause #{number}", number=rule.id), f"/alerts pause {rule.id}", here=True)


_ALSO = {
    **dict.fromkeys(("delete", "del", "rm", "clear", "off", "stop"), "remove"),
    **dict.fromkeys(("start", "on", "unpause"), "resume"),
    **dict.fromkeys(("undo", "restore"), "back"),
}
"""Synonyms that users try, by the action they mean."""

_EDITS = {
    "back": N_("Restored {rule}"),
    "remove": N_("Removed #{number}: {rule}"),
    "pause": N_("Paused #{number}: {rule}"),
    "resume": N_("Resumed #{number}: {rule}"),
}


async def _edit(request: Request, rules: list[Rule], what: str, words: list[str]) -> str:
    """Remove, pause or resume a rule, or undo its change. Return the confirmation."""
    await require_admin(request)
    mine = {str(rule.id): rule for rule in rules}
    number = words[0].lstrip("#") if words else ""
    if number not in mine:
        example = f"/alerts {what} {next(iter(mine), 1)}"
        if not number:
            raise InputError("Which alert? Give its number.", example)
        raise InputError("No alert #{number} here.", example, number=number[:10])
    rule, subscriptions = mine[number], request.services.subscriptions
    match what:
        case "remove":
            await subscriptions.remove([rule.id])
        case "pause":
            await subscriptions.pause(rule)
        case "resume":
            await subscriptions.resume(rule)
        case _:
            restored = await subscriptions.undo(rule.id)
            done = _EDITS["back"] if restored else _EDITS["remove"]
            return _(done, number=number, rule="; ".join(old.text for old in restored) or rule.text)
    return _(_EDITS[what], number=number, rule=rule.text)


def _current(request: Request) -> Answer:
    rules = request.services.subscriptions.of_chat(request.chat.id)
    named = {"calm": _("Calm"), "normal": _("Normal"), "busy": _("Busy")}
    return Answer(
        _("Current alerts: {rules}", rules="; ".join(rule.text for rule in rules) or _("none")),
        (
            _("calm, normal and busy scale with each coin's last 30 days."),
            _("Or use numbers: {command}", command="/threshold 1.5% $20m"),
            _("Prices, funding and more: /alert"),
        ),
        buttons=(
            *(Button(named[tier], f"/threshold {tier}") for tier in TIERS),
            Button(_("Longs only"), "/threshold normal longs"),
            Button(_("Shorts only"), "/threshold normal shorts"),
        ),
    )
