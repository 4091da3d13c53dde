"""Phrases that several messages share. docs/model.md lists the claims that messages must not make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.liquidation.clusters import Cluster
from engine.market import Side
from engine.venues.catalog import VENUE_NAMES
from handlers.i18n import N_, _, written
from handlers.numbers import label, percent, price, signed_percent, span, usd, zone

NAMED_VENUES = 5
"""Maximum number of items for venues in the last line of an answer; more are counted as +N."""

NAMED_MISSING = 2
DISCLAIMER = N_("Estimates from public data. Not advice.")
SIMULATED = N_("SIMULATED")
STALE_SECONDS = 300
WITHHELD_SECONDS = 3600
TRACK_RECORD_DAYS = 28

_SIDES = {"long": N_("longs"), "short": N_("shorts")}
_CLUSTER = {"long": N_("long cluster"), "short": N_("short cluster")}
_RANKS = {
    "long": (
        N_("only long cluster within 10%"),
        N_("larger of 2 long clusters within 10%"),
        N_("smaller of 2 long clusters within 10%"),
        N_("largest of {of} long clusters within 10%"),
        N_("2nd largest of {of} long clusters within 10%"),
        N_("3rd largest of {of} long clusters within 10%"),
        N_("{position}th largest of {of} long clusters within 10%"),
    ),
    "short": (
        N_("only short cluster within 10%"),
        N_("larger of 2 short clusters within 10%"),
        N_("smaller of 2 short clusters within 10%"),
        N_("largest of {of} short clusters within 10%"),
        N_("2nd largest of {of} short clusters within 10%"),
        N_("3rd largest of {of} short clusters within 10%"),
        N_("{position}th largest of {of} short clusters within 10%"),
    ),
}


def sides(side: str) -> str:
    """Return "longs" or "shorts"."""
    return _(_SIDES[side])


def cluster_of(side: str) -> str:
    """Return "long cluster" or "short cluster"."""
    return _(_CLUSTER[side])


def disclaimer() -> str:
    return _(DISCLAIMER)


def venue(name: str) -> str:
    """Return a venue's display name, with the market kind if the name includes one."""
    venue_id, _space, kind = name.partition(" ")
    return f"{VENUE_NAMES.get(venue_id, venue_id)} {kind}".strip()


_REASONS = {
    "refused from this location": N_("refused from this location"),
    "history is being read": N_("reading history"),
    "no fresh figures": N_("no fresh data"),
    "not read yet": N_("not polled yet"),
    "rate limit": N_("rate limit"),
    "network error": N_("network error"),
    "no answer in time": N_("no answer in time"),
    "maintenance": N_("maintenance"),
}


def reason(why: str) -> str:
    """Return why a venue is not in the sum; rare reasons stay untranslated."""
    return _(_REASONS.get(why, why))


_REFUSALS = {
    "listings": N_("listings"),
    "figures": N_("market data"),
    "funding": N_("funding"),
    "side figures": N_("optional data"),
    "margin tiers": N_("margin tiers"),
    "candles": N_("candles"),
    "open interest": N_("open interest"),
    "orders": N_("liquidation orders"),
    "late figures": N_("out-of-order data"),
}


def refusal(name: str) -> str:
    """Return the name of the kind of a venue's data that was refused."""
    return _(_REFUSALS.get(name, name))


def rank(position: int | None, of: int, side: str) -> str:
    """Return a cluster's rank by size among those of its side; empty if unknown."""
    if position is None or of == 0:
        return ""
    only, larger, smaller, *ordered = _RANKS[side]
    if of == 1:
        return _(only)
    if of == 2:
        return _(larger if position == 1 else smaller)
    return _(ordered[min(position, len(ordered)) - 1], position=position, of=of)


def untraded(cluster: Mapping[str, Any]) -> str:
    hours = cluster["untraded_hours"]
    if cluster["untraded_all_known"]:
        return _("untraded in all {span} on record", span=span(hours * 3600))
    return _("untraded for {span}", span=span(hours * 3600)) if hours >= 1 else _("traded in the last hour")


def context(facts: Mapping[str, Any]) -> str:
    """Return the context line: 24-hour change of open interest, and funding."""
    change, rate = facts.get("interest_change_24h"), facts.get("funding_rate")
    interest = _("OI {change} 24h", change=signed_percent(change)) if change is not None else _("24h OI change unknown")
    return f"{interest} · {funding(rate)}"


def funding(rate: float | None) -> str:
    """Return a phrase with the funding rate per eight hours."""
    return _("funding {rate}/8h", rate=rate_text(rate)) if rate is not None else _("funding unknown")


def rate_text(rate: float) -> str:
    """Format a funding rate as venues show it: 0.010%."""
    return written(f"{rate * 100:.3f}%")


def sources(facts: Mapping[str, Any], *, shares: bool = False) -> str:
    """Return the last line: venues, data age, disputed prices, missing venues."""
    several = len(facts["venues"]) > 1
    names = [
        f"{venue(name)} {share * 100:.0f}%" if shares and several else venue(name)
        for name, share in facts["venues"].items()
    ]
    if len(names) > NAMED_VENUES:
        names = [*names[: NAMED_VENUES - 1], f"+{len(names) - NAMED_VENUES + 1}"]
    line = " ".join(names) + f" · {age(facts['age_seconds'])}"
    if facts.get("disputed"):
        quotes = ", ".join(f"{venue(name)} {price(mark)}" for name, mark in facts["disputed"].items())
        line += " · " + _("venues disagree: {prices}", prices=quotes)
    return f"{line} · {without(facts)}" if facts.get("missing") else line


def without(facts: Mapping[str, Any]) -> str:
    """Return which venues are missing from the sum, why, and their usual share."""
    missing, usual = facts["missing"], facts.get("missing_shares", {})
    if len(missing) > NAMED_MISSING:
        about = _usual(sum(usual.get(name, 0.0) for name in missing))
        if about:
            return _("without {count} venues ({about}, see /status)", count=len(missing), about=about)
        return _("without {count} venues (see /status)", count=len(missing))
    named = [
        f"{venue(name)} ({', '.join(part for part in (_usual(usual.get(name, 0.0)), reason(why)) if part)})"
        for name, why in missing.items()
    ]
    return _("without {venues}", venues=", ".join(named))


def _usual(share: float) -> str:
    return _("usually ~{share}%", share=f"{share * 100:.0f}") if share >= 0.005 else ""


def age(seconds: float) -> str:
    old = _("{span} old", span=span(seconds))
    return _("STALE, {age}", age=old) if seconds > STALE_SECONDS else old


def rough(facts: Mapping[str, Any]) -> str:
    """Return the warning that goes with every estimate until there are four weeks of history."""
    days = facts.get("history_days", 0.0)
    if days >= TRACK_RECORD_DAYS:
        return ""
    return _("Rough, no track record yet ({days} d of history)", days=f"{days:.0f}")


def churn(usd_24h: Mapping[Side, float] | None, side: Side) -> str:
    """Return a line on churn, which F does not include; empty if it is unknown."""
    if usd_24h is None:
        return ""
    return _(
        "Plus {usd} of {sides} liquidated at already-swept levels in 24h",
        usd=usd(usd_24h[side]),
        sides=sides(side),
    )


def cluster_line(cluster: Mapping[str, Any], mark: float) -> str:
    """Return one cluster in a line: shorts 95.0k, +5.2%, ~$33M."""
    distance = signed_percent(cluster["label"] / mark - 1)
    return f"{sides(cluster['side'])} {label(cluster['label'])}, {distance}, ~{usd(cluster['forced_usd'])}"


def zone_of(cluster: Mapping[str, Any]) -> str:
    return zone(cluster["low"], cluster["high"])


def zone_of_cluster(cluster: Cluster) -> str:
    return zone(cluster.low, cluster.high)


def side_letter(side: str) -> str:
    """Return L or S, for lack of space."""
    return _("L") if side == "long" else _("S")


def away(price_to: float, mark: float) -> str:
    """Return a phrase such as "2.6% below 90,340"."""
    far = percent(price_to / mark - 1)
    if price_to < mark:
        return _("{distance} below {price}", distance=far, price=price(mark))
    return _("{distance} above {price}", distance=far, price=price(mark))


def asset_or_all(asset: str | None) -> str:
    return asset or _("all coins")


_RISK_PARTS = {
    "open interest": N_("open interest"),
    "funding": N_("funding"),
    "mass near price": N_("leverage near price"),
    "one-sidedness": N_("long/short skew"),
    "forced of late": N_("recent liquidations"),
}


def risk_parts(parts: Mapping[str, float], first: int = 0, last: int | None = None) -> str:
    """Return a slice of a risk score's parts (0 to 1) as points of 100, highest first."""
    ordered = sorted(parts.items(), key=lambda part: -part[1])[first:last]
    return ", ".join(f"{_(_RISK_PARTS.get(name, name))} {share * 100:.0f}" for name, share in ordered)


def clock(at: int, timezone: str = "UTC") -> str:
    """Format a UTC ms time in a chat's time zone: 11-22 15:04 CET."""
    return f"{datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(timezone)):%m-%d %H:%M %Z}"
