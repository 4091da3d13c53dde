"""Autocomplete for commands: coins, prices of live clusters, and the user's rules."""

from __future__ import annotations

from collections.abc import Iterable

from engine.alerts.rules import Rule
from handlers import wording
from handlers.context import Services
from handlers.numbers import price, signed_percent, usd

MOST, MAX_TEXT = 25, 100


def proposed(
    services: Services, kind: str, typed: str, asset: str = "", rules: Iterable[Rule] = ()
) -> list[tuple[str, str]]:
    """Return pairs of a name to show and the word it enters, the likeliest first.

    Args:
        kind: asset, price or rule.
        asset: the coin that the command names so far, empty for the first watched.
        rules: the user's rules.
    """
    if kind == "rule":
        return [row for row in map(_rule, rules) if typed.strip().lstrip("#") in row[0]][:MOST]
    if kind == "asset":
        return _assets(services, typed)
    return _prices(services, typed, asset)


def _rule(rule: Rule) -> tuple[str, str]:
    return f"#{rule.id} {rule.text}, {wording.asset_or_all(rule.asset)}", str(rule.id)


def _assets(services: Services, typed: str) -> list[tuple[str, str]]:
    start = typed.strip().upper()
    begun = [asset for asset in services.assets if asset.startswith(start)]
    other = [asset for asset in services.assets if start in asset and asset not in begun]
    return [(asset, asset.lower()) for asset in (*begun, *other)[:MOST]]


def _prices(services: Services, typed: str, asset: str) -> list[tuple[str, str]]:
    """Return the typed text itself, and the clusters whose price starts with its digits."""
    name = asset.strip().upper() if asset.strip().upper() in services.assets else services.assets[0]
    board = services.pipeline.boards[name]
    words = typed.strip()[:MAX_TEXT]
    own = [(words, words)] if words else []
    if not board.ready:
        return own
    mark = board.view.mark
    digits = "".join(c for c in typed if c.isdigit())
    proposals = []
    for cluster in sorted(board.clusters, key=lambda c: abs(c.distance(mark))):
        value = f"{cluster.label_price:.6g}"
        if value.replace(".", "").startswith(digits):
            away = signed_percent(cluster.label_price / mark - 1)
            shown = f"{price(cluster.label_price)} {wording.sides(cluster.side)} {away} ~{usd(cluster.forced_usd)}"
            proposals.append((shown, value))
    return (own + proposals)[:MOST]
