"""/mute: send no alerts for a while."""

from __future__ import annotations

import re

from engine.errors import InputError
from handlers import wording
from handlers.access import require_admin
from handlers.answers import Answer, Button
from handlers.commands.arguments import unexpected
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import N_, _
from handlers.numbers import find_asset, parse_duration, span

EXAMPLE = "/mute btc 4h"
DEFAULT_MS = 4 * 3_600_000
SHORT = 5
"""Maximum length of a word that is taken for a ticker, in letters."""


@command(
    "mute",
    "Mute alerts for a while",
    EXAMPLE,
    Parameter("time", "Such as 30m, 4h, 2d, or off"),
    Parameter("asset", "Only this coin", "asset"),
    quieting=True,
    admin_only=True,
    for_own_chat=True,
)
async def mute(request: Request, arguments: str) -> Answer:
    """Answer /mute [asset] [time | off]."""
    await require_admin(request)
    asset, length, known = "*", DEFAULT_MS, request.services.assets
    words = re.sub(r"(?<=\d)\s+(?=(?:min|hour|hr|day|week|[mhdw]\b))", "", arguments.lower()).split()
    if len(words) > 2:
        raise unexpected(words[2], EXAMPLE)
    for word in words:
        if word == "off":
            length = 0
        elif word[0].isdigit() and word.upper() not in known:
            length = parse_duration(word)
        elif word not in ("all", "*") or word.upper() in known:
            try:
                asset = find_asset(word, known)
            except InputError:
                if len(word) <= SHORT and word.isalpha():
                    raise
                raise InputError(
                    "{word!r} isn't a watched coin or a time from 1m to 30d.", EXAMPLE, word=word[:20]
                ) from None
    services, chat_id = request.services, request.chat.id
    if not length and asset == "*":
        await services.subscriptions.unmute(chat_id)
        return Answer(_("Everything unmuted."), changed=True)
    until = request.now + length
    await services.subscriptions.mute(chat_id, asset, until)
    if not length:
        still = "*" in services.subscriptions.mutes_of(chat_id, request.now)
        text = N_("Everything is still muted, {asset} too. Unmute: /mute off") if still else N_("{asset} unmuted.")
        return Answer(_(text, asset=asset), changed=True)
    off = f"/mute {'' if asset == '*' else asset.lower() + ' '}off"
    values = {"span": span(length / 1000), "time": wording.clock(until, request.chat.preferences.timezone)}
    return Answer(
        _("Everything muted for {span}, until {time}", **values)
        if asset == "*"
        else _("{asset} muted for {span}, until {time}", asset=asset, **values),
        (_("Alerts in the meantime won't be sent later."),),
        buttons=(Button(_("Unmute"), off, here=True),),
        changed=True,
    )


@command(
    "unmute", "Unmute alerts", "/unmute", Parameter("asset", "Only this coin", "asset"), hidden=True, for_own_chat=True
)
async def unmute(request: Request, arguments: str) -> Answer:
    """Answer /unmute [asset], a synonym that users try."""
    return await mute(request, f"{arguments} off".strip())
