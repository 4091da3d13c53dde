"""/subscribe and /unsubscribe: alerts for a group or channel, for its admins only."""

from __future__ import annotations

from dataclasses import replace

from engine.alerts.rule_syntax import SIDE_WORDS
from engine.alerts.rules import TIERS, Rule, Tier
from engine.chats import Chat
from engine.errors import InputError
from engine.market import Side
from handlers import wording
from handlers.access import require_admin
from handlers.answers import Answer
from handlers.commands.alerts import save
from handlers.commands.arguments import unexpected
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import _, n_
from handlers.numbers import find_asset


@command(
    "subscribe",
    "Set alerts for this group or channel (admins)",
    "/subscribe normal",
    Parameter("tier", "calm, normal or busy", choices=TIERS),
    Parameter("asset", "Only this coin", "asset"),
    Parameter("channel", "A channel such as @mychannel"),
    admin_only=True,
    hidden_from_members=True,
)
async def subscribe(request: Request, arguments: str) -> Answer:
    """Answer /subscribe [@channel] [tier] [longs | shorts] [asset]."""
    target, words = await _target(request, arguments)
    size: Tier = "normal"
    asset: str | None = None
    side: Side | None = None
    for word in words:
        tier = next((tier for tier in TIERS if tier == word.lower()), None)
        if tier:
            size = tier
        elif word.lower() in SIDE_WORDS:
            side = SIDE_WORDS[word.lower()]
        else:
            asset = find_asset(word, request.services.assets)
    rule = Rule(0, target.chat.id, "near", asset=asset, size=size, created_at=request.now, side=side)
    head = _(
        "Subscribed {chat}: {rule}, {asset}",
        chat=target.chat.title or _("this chat"),
        rule=rule.text,
        asset=wording.asset_or_all(asset),
    )
    await _take_language(request, target.chat)
    reply = await save(target, rule, head)
    await _note(request, target)
    return reply


@command(
    "unsubscribe",
    "Remove all alerts of this group or channel (admins)",
    "/unsubscribe",
    Parameter("channel", "A channel such as @mychannel"),
    quieting=True,
    admin_only=True,
    hidden_from_members=True,
)
async def unsubscribe(request: Request, arguments: str) -> Answer:
    """Answer /unsubscribe [@channel]."""
    target, words = await _target(request, arguments)
    if words:
        raise unexpected(words[0], "/unsubscribe")
    rules = await request.services.store.rules.of_chat(target.chat.id)
    ids = [rule.id for rule in rules]
    await request.services.subscriptions.remove(ids)
    await _note(request, target)
    return Answer(
        n_(
            "Unsubscribed {chat}: {count} alert removed.",
            "Unsubscribed {chat}: {count} alerts removed.",
            len(ids),
            chat=target.chat.title or _("this chat"),
        ),
        changed=True,
    )


async def _take_language(request: Request, chat: Chat) -> None:
    """Give a group or channel without a known locale the locale of the admin who subscribes it."""
    if chat.kind != "private" and request.locale and not chat.preferences.locale:
        await request.services.store.chats.upsert(chat.platform, chat.remote_id, chat.kind, chat.title, request.locale)


async def _note(request: Request, target: Request) -> None:
    """Log a change made from another chat. The dispatcher logs changes made in the chat itself."""
    if target.chat.id != request.chat.id:
        await request.services.store.chats.log_change(target.chat.id, request.user_id, request.text)


async def _target(request: Request, arguments: str) -> tuple[Request, list[str]]:
    """Return the request moved to the named chat, after checking that the sender is its admin, and the other words.

    Raises:
        InputError: when the chat does not exist, the bot is not in it, the sender is not its admin, or the operator
            has not approved it.
    """
    words = arguments.split()
    named = next((word for word in words if word.startswith("@")), None)
    if named is None:
        await require_admin(request)
        return request, words
    words.remove(named)
    destination = await request.membership.resolve(named)
    if destination is None:
        raise InputError(
            "I'm not in {channel}. Add me there as an admin first.",
            "/subscribe @mychannel",
            channel=named[:40],
        )
    remote_id, title, kind = destination
    if not request.user_id or not await request.membership.is_admin(remote_id, request.user_id, kind):
        raise InputError("Only admins of {channel} can subscribe it.", channel=named[:40])
    chat = await request.services.store.chats.upsert(request.platform, remote_id, kind, title)
    if request.services.access != "open" and not chat.approved and not await request.by_operator():
        raise InputError(
            "The operator hasn't approved {channel} yet: {command}",
            channel=named[:40],
            command=f"/admin approve {chat.id}",
        )
    if not chat.approved:
        await request.services.store.chats.approve(chat.id, approved=True)
    return replace(request, chat=chat), words
