"""Alerts as messages: facts in, an Answer out. Facts are all there is: the map may have moved on since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from engine.announce import MEASURED_ENTRY
from engine.history import iso
from handlers import wording
from handlers.answers import Answer, Button
from handlers.numbers import label, percent, price, span, usd, usd_range

Facts = Mapping[str, Any]
LATE_MS = 90_000
MOST_NAMED = 7


def alert_answer(facts: Facts, *, late_ms: int = 0, price_now: float | None = None, simulated: bool = False) -> Answer:
    """The message of a stored alert.

    Args:
        late_ms: how long it waited; past a minute and a half it says so, with the present price.
        simulated: the market is not real; every message is marked.
    """
    answer = _KINDS[facts["kind"]](facts)
    if late_ms > LATE_MS and facts["kind"] != "digest":
        now = f"; price now {price(price_now)}" if price_now else ""
        answer = replace(answer, lines=(f"Late by {span(late_ms / 1000)}{now}", *answer.lines))
    if simulated:
        answer = replace(answer, headline=f"[{wording.SIMULATED}] {answer.headline}")
    return answer


def _near(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    way = "above" if side == "long" else "below"
    far = cluster["low"] if side == "long" else cluster["high"]
    ratio = f", {facts['usual_ratio']:.1f}x usual" if facts.get("usual_ratio") else ""
    likely = usd_range(facts["forced_low_usd"], facts["forced_high_usd"])
    direction = "down" if side == "long" else "up"
    lines = [
        f"~{usd(facts['forced_usd'])} {side}s forced out {direction} to {price(far)} (likely {likely}){ratio}",
        " · ".join(part for part in (_rank(facts), wording.untraded(cluster)) if part),
        wording.context(facts),
        _base_rate(facts),
        wording.rough(facts),
    ]
    return Answer(
        f"{asset} {price(facts['price'])}: {percent(facts['distance'])} {way} {side} cluster {label(cluster['label'])}",
        _filled(lines),
        footer="mark · " + wording.sources(facts),
        buttons=_buttons(asset, cluster),
    )


def _entered(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    likely = usd_range(facts["forced_low_usd"], facts["forced_high_usd"])
    lines = [
        f"~{usd(facts['forced_usd'])} {side}s there (likely {likely}), zone {wording.zone_of(cluster)}",
        " · ".join(part for part in (_rank(facts), wording.untraded(cluster)) if part),
        wording.context(facts),
        wording.rough(facts),
    ]
    return Answer(
        f"{asset} {price(facts['price'])}: entered {side} cluster {label(cluster['label'])}",
        _filled(lines),
        footer="mark · " + wording.sources(facts),
        buttons=_buttons(asset, cluster),
    )


def _swept(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    extreme = "low" if side == "long" else "high"
    clock = iso(facts["at"])[11:16]
    return Answer(
        f"{asset} swept {label(cluster['label'])} {side}s, {extreme} {price(facts['price'])} ({clock} UTC)",
        _filled([_reported(facts), _longs_share(facts), *_next(facts), wording.rough(facts), _counted(facts)]),
        footer="mark · " + wording.sources(facts),
        buttons=_buttons(asset, cluster)[:2],
    )


def _wick(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    share = facts.get("swept_share")
    lines = [
        f"Price went in, swept {share * 100:.0f}% of it and left by 1%"
        if share is not None
        else "Price went in and left",
        _reported(facts),
        *_next(facts),
    ]
    return Answer(
        f"{asset} {price(facts['mark'])}: wick only at {side} cluster {label(cluster['label'])}",
        _filled(lines),
        footer="mark · " + wording.sources(facts),
        buttons=_buttons(asset, cluster)[:2],
    )


def _stale(facts: Facts) -> Answer:
    asset, since, ago = facts["asset"], iso(facts["since"]), span((facts["at"] - facts["since"]) / 1000)
    reasons = [f"{wording.venue(name)}: {why}" for name, why in facts["missing"].items()]
    more = [f"and {len(reasons) - 3} more venues"] if len(reasons) > 3 else []
    lines = [
        f"Last price {price(facts['mark'])}, {ago} ago. Alerts wait for figures.",
        *reasons[:3],
        *more,
        "I tell you when figures are back, and what was swept meanwhile.",
    ]
    return Answer(
        f"{asset}: no figures since {since[11:16]} UTC",
        _filled(lines),
        buttons=(Button("Status", "/status"),),
    )


def _back(facts: Facts) -> Answer:
    answer = _offline(facts)
    gone = span((facts["offline_to"] - facts["offline_from"]) / 1000)
    lines = answer.lines or ("Nothing was swept or came near meanwhile.",)
    return replace(
        answer, headline=f"{facts['asset']} {price(facts['mark'])}: figures are back after {gone}", lines=lines
    )


def _offline(facts: Facts) -> Answer:
    asset = facts["asset"]
    swept = [m for m in facts["missed"] if m["kind"] == "swept"]
    near = [m for m in facts["missed"] if m["kind"] not in ("swept", "price")]
    reached = [price(m["level"]) for m in facts["missed"] if m["kind"] == "price"]
    lines = [f"Reached meanwhile: {', '.join(dict.fromkeys(reached))}"] if reached else []
    lines += [f"Swept meanwhile: {wording.cluster_line(m['cluster'], facts['mark'])}" for m in swept[:3]]
    lines += [f"Came {m['kind']}: {wording.cluster_line(m['cluster'], facts['mark'])}" for m in near[:2]]
    lines += [f"In range now: {wording.cluster_line(c, facts['mark'])}" for c in facts["in_range"][:3]]
    start, end = iso(facts["offline_from"]), iso(facts["offline_to"])
    return Answer(
        f"{asset} {price(facts['mark'])}: I was offline from {start[5:16].replace('T', ' ')} to {end[11:16]} UTC",
        _filled(lines),
        footer="mark · " + wording.sources(facts),
        buttons=(Button("Clusters", f"/clusters {asset.lower()}"),),
    )


def _value(facts: Facts) -> Answer:
    """A rule about a figure: its figure and level first, then what lies near."""
    asset, kind, value, level = facts["asset"], facts["kind"], facts["value"], facts["level"]
    heads = {
        "price": f"{asset} reached {price(level)}" if kind == "price" else "",
        "funding": f"{asset}: funding {value * 100:.3f}% per 8h, past {level * 100:g}%",
        "oi": f"{asset}: open interest {value * 100:+.1f}% in 24h, past {level * 100:g}%{_deleveraging(value)}",
        "risk": f"{asset}: risk {value:.0f} of 100, past {level:g}",
        "cascade": f"{asset}: a usual move would set off ~{usd(value)}, past {usd(level)}",
    }
    parts = sorted(facts["risk_parts"].items(), key=lambda part: -part[1])
    lines = [
        f"Price {price(facts['mark'])}",
        "Highest parts: " + ", ".join(f"{name} {share * 100:.0f}" for name, share in parts[:3]) if parts else "",
        *_next(facts),
        wording.context(facts),
    ]
    return Answer(
        heads[kind],
        _filled(lines),
        footer="mark · " + wording.sources(facts),
        buttons=(Button("Map", f"/map {asset.lower()}"), Button("Edit", "/alerts")),
    )


def _deleveraging(change: float) -> str:
    return " (deleveraging)" if change < 0 else ""


def _together(facts: Facts) -> Answer:
    """Several alerts in one message, the worst first, each by its first line."""
    items, count = facts["items"], facts["count"]
    heads = [alert_answer(item).headline for item in items]
    assets = list(dict.fromkeys(item["asset"] for item in items))
    named = ", ".join(assets[:4]) + (f" and {len(assets) - 4} more" if len(assets) > 4 else "")
    what = "in your quiet hours" if facts["kind"] == "digest" else "at once"
    shown = heads[:MOST_NAMED]
    more = (f"and {count - len(shown)} more",) if count > len(shown) else ()
    alerts = "alert" if count == 1 else "alerts"
    return Answer(
        f"{count} {alerts} {what}: {named}",
        (*shown, *more),
        footer=f"the latest at {iso(max(item['at'] for item in items))[11:16]} UTC",
        buttons=(Button("Clusters", f"/clusters {assets[0].lower()}"), Button("My alerts", "/alerts")),
    )


def _full(facts: Facts) -> Answer:
    return Answer(
        f"{facts['cap']} messages with alerts today: no more until midnight",
        (
            f"Midnight is {facts['timezone']}'s. Sweeps of the largest clusters still come.",
            "Fewer and larger ones: /threshold calm",
        ),
        buttons=(Button("Calm", "/threshold calm"), Button("My alerts", "/alerts")),
    )


def _undelivered(facts: Facts) -> Answer:
    return Answer(
        f"A message to chat {facts['chat']} could not be delivered: {facts['error']}",
        (f"It is #{facts['message']}. /admin dead lists what was given up, /admin resend sends it again.",),
        buttons=(Button("Given up", "/admin dead"),),
    )


def _welcome(facts: Facts) -> Answer:
    count = facts["rules"]
    kept = {0: "no alerts are set", 1: "your alert is on again"}.get(count, f"your {count} alerts are on again")
    return Answer(
        f"Welcome back: {kept}",
        ("What happened meanwhile is not repeated. /clusters shows what is near now.",),
        buttons=(Button("My alerts", "/alerts"), Button("Clusters", "/clusters")),
    )


def _test(facts: Facts) -> Answer:  # noqa: ARG001  # every kind takes them
    return Answer(
        "Test alert: this is how I will reach you here",
        ("Real ones say which cluster, how much, how sure and how old.", wording.DISCLAIMER),
    )


_KINDS: dict[str, Callable[[Facts], Answer]] = {
    "near": _near,
    "entered": _entered,
    "swept": _swept,
    "wick": _wick,
    "offline": _offline,
    "stale": _stale,
    "back": _back,
    "test": _test,
    "price": _value,
    "funding": _value,
    "oi": _value,
    "risk": _value,
    "cascade": _value,
    "group": _together,
    "digest": _together,
    "full": _full,
    "undelivered": _undelivered,
    "welcome": _welcome,
}


def _rank(facts: Facts) -> str:
    return wording.rank(facts.get("rank"), facts.get("of", 0), facts["side"]).capitalize()


def _base_rate(facts: Facts) -> str:
    """How often any level so near is entered: said only where it was measured."""
    nearest, farthest = MEASURED_ENTRY.distances
    if facts["asset"] != MEASURED_ENTRY.asset or not nearest <= facts["distance"] <= farthest:
        return ""
    often, hours = f"{MEASURED_ENTRY.share:.0%}", MEASURED_ENTRY.within_hours
    return f"Levels this near were entered within {hours}h {often} of the time, cluster or not"


def _reported(facts: Facts) -> str:
    low, high = facts["expected_low_usd"], facts["expected_high_usd"]
    expected = f"expected {usd_range(low, high)}"
    reported = facts.get("reported_usd")
    if reported is None:
        return f"No liquidation feed to count with; {expected}"
    verdict = "within" if low <= reported <= high else ("below" if reported < low else "above")
    when = "in all" if facts.get("final") else "so far"
    return f"{usd(reported)} {facts['side']}s liquidated {when}; {expected}: {verdict}"


def _counted(facts: Facts) -> str:
    if facts.get("reported_usd") is None:
        return ""
    return "Feeds under-report · " + ("final count" if facts.get("final") else "final count in 1h, edited here")


def _longs_share(facts: Facts) -> str:
    share = facts.get("long_share")
    return f"{share:.0%} of liquidations were longs" if share is not None else ""


def _next(facts: Facts) -> list[str]:
    lines = []
    for key, name in (("next_below", "Next below"), ("next_above", "Next above: shorts")):
        found = facts.get(key)
        if found:
            separator = ": " if key == "next_below" else " "
            size = usd(found["forced_usd"])
            lines.append(f"{name}{separator}{label(found['label'])}, {percent(found['distance'])} away, ~{size}")
    return lines


def _buttons(asset: str, cluster: Facts) -> tuple[Button, ...]:
    name = asset.lower()
    return (
        Button("Map", f"/map {name}"),
        Button(f"Mute {asset} 4h", f"/mute {name} 4h"),
        Button("Edit", "/alerts"),
        Button("Why?", f"/why {name} {cluster['label']:.6g}"),
    )


def _filled(lines: list[str]) -> tuple[str, ...]:
    return tuple(line for line in lines if line)
