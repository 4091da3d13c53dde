"""/subscribe and /unsubscribe: alerts for a group or channel, by its admins only."""

from __future__ import annotations

from dataclasses import replace

from engine.alerts.rules import TIERS, Rule, Tier
from engine.errors import InputError
from handlers.access import require_admin
from handlers.answers import Answer
from handlers.commands.alerts import save
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.numbers import find_asset


@command(
    "subscribe",
    "Alerts for this group or channel (admins)",
    "/subscribe normal",
    Parameter("tier", "calm, normal or busy"),
    Parameter("asset", "Only this coin"),
    Parameter("channel", "A channel such as @mychannel"),
)
async def subscribe(request: Request, arguments: str) -> Answer:
    """Answer /subscribe [@channel] [tier] [asset]."""
    target, words = await _target(request, arguments)
    size: Tier = "normal"
    asset: str | None = None
    for word in words:
        tier = next((tier for tier in TIERS if tier == word.lower()), None)
        if tier:
            size = tier
        else:
            asset = find_asset(word, request.services.assets)
    rule = Rule(0, target.chat.id, "near", asset=asset, size=size, created_at=request.now)
    where = target.chat.title or "this chat"
    return await save(target, rule, f"Subscribed {where}: {rule.text}, {asset or 'all coins'}")


@command(
    "unsubscribe",
    "No more alerts for this group or channel (admins)",
    "/unsubscribe",
    Parameter("channel", "A channel such as @mychannel"),
)
async def unsubscribe(request: Request, arguments: str) -> Answer:
    """Answer /unsubscribe [@channel]."""
    target, words = await _target(request, arguments)
    if words:
        raise InputError(f"{words[0][:20]!r} is not expected here.", "/unsubscribe")
    rules = await request.services.store.rules_of_chat(target.chat.id)
    ids = [rule.id for rule in rules]
    await request.services.store.remove_rules(ids)
    request.services.watch.book.remove(ids)
    return Answer(f"Unsubscribed {target.chat.title or 'this chat'}: {len(ids)} alerts removed.")


async def _target(request: Request, arguments: str) -> tuple[Request, list[str]]:
    """The chat that is meant, proved to be administered by whoever asks, and the other words.

    Raises:
        InputError: when it does not exist, the bot is not in it, or the asker does not administer it.
    """
    words = arguments.split()
    named = next((word for word in words if word.startswith("@")), None)
    if named is None:
        await require_admin(request, "subscribe it")
        return request, words
    words.remove(named)
    found = await request.membership.resolve(named)
    if found is None:
        raise InputError(
            f"{named[:40]} is not a channel that I am in. Add me there as an admin first.",
            "/subscribe @mychannel",
        )
    remote_id, title = found
    if not request.user_id or not await request.membership.is_admin(remote_id, request.user_id):
        raise InputError(f"Only admins of {named[:40]} may subscribe it.")
    chat = await request.services.store.see_chat(request.platform, remote_id, "channel", title)
    if request.services.access != "open" and not chat.approved and not await request.by_operator():
        raise InputError(f"The operator has not let {named[:40]} in yet: /admin approve {chat.id}")
    if not chat.approved:
        await request.services.store.approve_chat(chat.id, approved=True)
    return replace(request, chat=chat), words
