"""Phrases that several messages share. What may not be said is in docs/model.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.market import Side
from handlers.numbers import label, percent, price, signed_percent, span, usd, zone

VENUE_NAMES = {
    "binanceusdm": "Binance",
    "bybit": "Bybit",
    "okx": "OKX",
    "binancecoinm": "Binance coin-m",
    "bitget": "Bitget",
    "gate": "Gate",
    "hyperliquid": "Hyperliquid",
    "deribit": "Deribit",
    "krakenfutures": "Kraken",
    "kucoinfutures": "KuCoin",
    "htx": "HTX",
}
NAMED_VENUES = 5
"""Venues named in the last line of an answer; the rest are counted."""

NAMED_MISSING = 2
DISCLAIMER = "Estimates from public data. Not advice."
SIMULATED = "SIMULATED"
STALE_SECONDS = 300
WITHHELD_SECONDS = 3600
TRACK_RECORD_DAYS = 28

NO_TRACK_RECORD = "Rough, no track record yet"


def venue(name: str) -> str:
    """A venue as people call it; of one market of it, with its kind."""
    known, _, kind = name.partition(" ")
    return f"{VENUE_NAMES.get(known, known)} {kind}".strip()


def rank(position: int | None, of: int, side: str) -> str:
    """Where a cluster stands among those of its side."""
    if position is None or of == 0:
        return ""
    if of == 1:
        return f"only {side} cluster within 10%"
    if of == 2:
        return f"{'larger' if position == 1 else 'smaller'} of 2 {side} clusters within 10%"
    ordinal = {1: "largest", 2: "2nd largest", 3: "3rd largest"}.get(position, f"{position}th largest")
    return f"{ordinal} of {of} {side} clusters within 10%"


def untraded(cluster: Mapping[str, Any]) -> str:
    hours = cluster["untraded_hours"]
    if cluster["untraded_all_known"]:
        return f"untraded in all {span(hours * 3600)} watched"
    return f"untraded for {span(max(hours, 0) * 3600)}" if hours >= 1 else "traded within the hour"


def context(facts: Mapping[str, Any]) -> str:
    """The context line: open interest against 24 hours ago, and funding."""
    parts = []
    change = facts.get("interest_change_24h")
    parts.append(f"OI {signed_percent(change)} 24h" if change is not None else "OI change 24h unknown")
    rate = facts.get("funding_rate")
    parts.append(f"funding {rate * 100:.3f}%/8h" if rate is not None else "funding unknown")
    return " · ".join(parts)


def sources(facts: Mapping[str, Any], *, shares: bool = False) -> str:
    """The last line: venues, who is missing, how old."""
    several = len(facts["venues"]) > 1
    names = [
        f"{venue(name)} {share * 100:.0f}%" if shares and several else venue(name)
        for name, share in facts["venues"].items()
    ]
    if len(names) > NAMED_VENUES:
        names = [*names[: NAMED_VENUES - 1], f"+{len(names) - NAMED_VENUES + 1}"]
    line = " ".join(names) + f" · {age(facts['age_seconds'])}"
    return f"{line} · {without(facts)}" if facts.get("missing") else line


def without(facts: Mapping[str, Any]) -> str:
    """Which venues are not in the sum, why, and how much they usually hold."""
    missing, usual = facts["missing"], facts.get("missing_shares", {})
    share = sum(usual.get(name, 0.0) for name in missing)
    about = f"usually ~{share * 100:.0f}%" if share >= 0.005 else ""
    if len(missing) > NAMED_MISSING:
        return f"without {len(missing)} venues ({about + ', ' if about else ''}see /status)"
    named = [
        f"{venue(name)} ({', '.join(part for part in (_usual(usual, name), why) if part)})"
        for name, why in missing.items()
    ]
    return "without " + ", ".join(named)


def _usual(shares: Mapping[str, float], name: str) -> str:
    share = shares.get(name, 0.0)
    return f"usually ~{share * 100:.0f}%" if share >= 0.005 else ""


def age(seconds: float) -> str:
    old = f"{span(seconds)} old"
    return f"STALE, {old}" if seconds > STALE_SECONDS else old


def rough(facts: Mapping[str, Any]) -> str:
    """Said with every figure until four weeks of history stand behind it."""
    days = facts.get("history_days", 0.0)
    if days >= TRACK_RECORD_DAYS:
        return ""
    return f"{NO_TRACK_RECORD} ({days:.0f} d of history)"


def churn(usd_24h: Mapping[Side, float] | None, side: Side) -> str:
    """What was lost beside F; nothing where not every hour was heard."""
    if usd_24h is None:
        return ""
    return f"Beside it, {usd(usd_24h[side])} of {side}s liquidated in 24h on ground traded before"


def cluster_line(cluster: Mapping[str, Any], mark: float) -> str:
    """One cluster in a line: shorts 95,000, +5.2%, ~$33M."""
    distance = signed_percent(cluster["label"] / mark - 1)
    return f"{cluster['side']}s {label(cluster['label'])}, {distance}, ~{usd(cluster['forced_usd'])}"


def zone_of(cluster: Mapping[str, Any]) -> str:
    return zone(cluster["low"], cluster["high"])


def away(price_to: float, mark: float) -> str:
    """2.6% below 90,340."""
    side = "below" if price_to < mark else "above"
    return f"{percent(price_to / mark - 1)} {side} {price(mark)}"
