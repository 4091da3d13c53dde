"""Alerts as messages: facts in, an Answer out. Only the stored facts count: the map may have changed since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from engine.facts import MEASURED_ENTRY
from engine.history import iso
from handlers import wording
from handlers.answers import Answer, Button
from handlers.i18n import N_, _, n_, written
from handlers.notices import NOTICES
from handlers.numbers import label, percent, price, ratio, signed_percent, span, usd, usd_range

Facts = Mapping[str, Any]
LATE_MS = 90_000
MAX_NAMED = 7
MAX_REASONS = 3


def alert_answer(facts: Facts, *, late_ms: int = 0, price_now: float | None = None, simulated: bool = False) -> Answer:
    """Return the message for a stored alert, in the current language.

    Args:
        late_ms: how long it waited. Above LATE_MS the message shows the delay and the price now.
        simulated: the market is not real; every message is marked.
    """
    answer = _KINDS[facts["kind"]](facts)
    if late_ms > LATE_MS and facts["kind"] != "digest":
        waited = span(late_ms / 1000)
        late = (
            _("Late by {span}; price now {price}", span=waited, price=price(price_now))
            if price_now
            else _("Late by {span}", span=waited)
        )
        answer = replace(answer, lines=(late, *answer.lines))
    if facts.get("preview"):
        test = _("TEST")
        answer = replace(answer, headline=f"[{test}] {answer.headline}")
    if simulated:
        answer = replace(answer, headline=f"[{_(wording.SIMULATED)}] {answer.headline}")
    return replace(answer, data={name: facts[name] for name in ("at", "age_seconds") if name in facts})


_NEAR = {
    "long": N_("{asset} {price}: {distance} above long cluster {label}"),
    "short": N_("{asset} {price}: {distance} below short cluster {label}"),
}
_FORCED = {
    "long": N_("~{usd} of longs liquidated down to {price} (80% range {likely})"),
    "short": N_("~{usd} of shorts liquidated up to {price} (80% range {likely})"),
}
_ENTERED = {
    "long": N_("{asset} {price}: entered long cluster {label}"),
    "short": N_("{asset} {price}: entered short cluster {label}"),
}
_SWEPT = {
    "long": N_("{asset} swept {label} longs, low {price} ({time} UTC)"),
    "short": N_("{asset} swept {label} shorts, high {price} ({time} UTC)"),
}
_WICK = {
    "long": N_("{asset} {price}: wick only at long cluster {label}"),
    "short": N_("{asset} {price}: wick only at short cluster {label}"),
}


def _near(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    forced = _(
        _FORCED[side],
        usd=usd(facts["forced_usd"]),
        price=price(cluster["low"] if side == "long" else cluster["high"]),
        likely=usd_range(facts["forced_low_usd"], facts["forced_high_usd"]),
    )
    usual = _("{ratio} usual", ratio=ratio(facts["usual_ratio"])) if facts.get("usual_ratio") else ""
    lines = [
        f"{forced}, {usual}" if usual else forced,
        " · ".join(part for part in (_rank(facts), wording.untraded(cluster)) if part),
        wording.context(facts),
        _base_rate(facts),
        wording.rough(facts),
    ]
    head = _(
        _NEAR[side],
        asset=asset,
        price=price(facts["price"]),
        # Distance to the label, not to the near edge, so that both refer to the same level.
        distance=percent(cluster["label"] / facts["price"] - 1),
        label=label(cluster["label"]),
    )
    return Answer(head, _filled(lines), footer=_by_mark(facts), buttons=_buttons(asset, cluster))


def _entered(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    there = _(
        "~{usd} of {sides} there (80% range {likely}), zone {zone}",
        usd=usd(facts["forced_usd"]),
        sides=wording.sides(side),
        likely=usd_range(facts["forced_low_usd"], facts["forced_high_usd"]),
        zone=wording.zone_of(cluster),
    )
    lines = [
        there,
        " · ".join(part for part in (_rank(facts), wording.untraded(cluster)) if part),
        wording.context(facts),
        wording.rough(facts),
    ]
    head = _(_ENTERED[side], asset=asset, price=price(facts["price"]), label=label(cluster["label"]))
    return Answer(head, _filled(lines), footer=_by_mark(facts), buttons=_buttons(asset, cluster))


def _swept(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    named = {"label": label(cluster["label"]), "price": price(facts["price"]), "time": iso(facts["at"])[11:16]}
    return Answer(
        _(_SWEPT[side], asset=asset, **named),
        _filled([_reported(facts), _longs_share(facts), *_next(facts), wording.rough(facts), _counted(facts)]),
        footer=_by_mark(facts),
        buttons=_buttons(asset, cluster)[:2],
    )


def _wick(facts: Facts) -> Answer:
    cluster, side, asset = facts["cluster"], facts["side"], facts["asset"]
    share = facts.get("swept_share")
    lines = [
        _("Price entered, swept {share}% of it and left by 1%", share=f"{share * 100:.0f}")
        if share is not None
        else _("Price entered and left"),
        _reported(facts),
        *_next(facts),
    ]
    return Answer(
        _(_WICK[side], asset=asset, price=price(facts["mark"]), label=label(cluster["label"])),
        _filled(lines),
        footer=_by_mark(facts),
        buttons=_buttons(asset, cluster)[:2],
    )


_SURGE = {
    "long": N_("{asset} {price}: {usd} of longs liquidated in the last hour"),
    "short": N_("{asset} {price}: {usd} of shorts liquidated in the last hour"),
}
_FRESH = {
    "long": N_("{asset} {price}: new {days}-day low"),
    "short": N_("{asset} {price}: new {days}-day high"),
}


def _surge(facts: Facts) -> Answer:
    side, asset, hour = facts["side"], facts["asset"], facts["hour_usd"]
    lines = [
        _("More than in {share}% of hours", share=written(f"{facts['percentile']:g}"))
        + (" · " + _("price {change} in 1h", change=signed_percent(facts["move_1h"])) if facts.get("move_1h") else ""),
        _("Longs {longs} · shorts {shorts}", longs=usd(hour["long"]), shorts=usd(hour["short"])),
        *_next(facts),
        wording.context(facts),
        _("Feeds under-report · updated here as it grows"),
    ]
    head = _(_SURGE[side], asset=asset, price=price(facts["mark"]), usd=usd(facts["usd"]))
    return Answer(head, _filled(lines), footer=_by_mark(facts), buttons=_riding_buttons(asset))


def _fresh(facts: Facts) -> Answer:
    side, asset, hour = facts["side"], facts["asset"], facts["hour_usd"]
    lines = [
        ground_line(side, facts),
        _("No cluster stands out here: these levels haven't traded in that long"),
        _since(facts) or _hour(hour),
        wording.context(facts),
        wording.rough(facts),
    ]
    head = _(_FRESH[side], asset=asset, price=price(facts["price"]), days=facts["days"])
    return Answer(head, _filled(lines), footer=_by_mark(facts), buttons=_riding_buttons(asset))


def _move(facts: Facts) -> Answer:
    asset, hour = facts["asset"], facts["hour_usd"]
    lines = [
        _since(facts) or _hour(hour),
        *_next(facts),
        wording.context(facts),
        wording.rough(facts),
    ]
    change = signed_percent(facts["price"] / facts["from"] - 1)
    head = _(
        "{asset} {price}: {change} from {start} without an alert",
        asset=asset,
        price=price(facts["price"]),
        change=change,
        start=price(facts["from"]),
    )
    return Answer(head, _filled(lines), footer=_by_mark(facts), buttons=_riding_buttons(asset))


def _hour(hour: Mapping[str, float]) -> str:
    return _("Liquidated in the last hour: {usd}", usd=usd(sum(hour.values()))) if sum(hour.values()) else ""


def _since(facts: Facts) -> str:
    """Return liquidations of the hour since the alert; empty until then and without a feed."""
    if not facts.get("final") or facts.get("reported_usd") is None:
        return ""
    text = _SINCE[facts["side"]]
    return _(text, usd=usd(facts["reported_usd"]))


_SINCE = {
    "long": N_("In the hour since: {usd} of longs liquidated"),
    "short": N_("In the hour since: {usd} of shorts liquidated"),
}


def _riding_buttons(asset: str) -> tuple[Button, ...]:
    name = asset.lower()
    return (
        Button(_("Map"), f"/map {name}"),
        Button(_("Liquidations"), f"/rekt {name} 1h"),
        Button(_("Mute {asset} 4h", asset=asset), f"/mute {name} 4h"),
    )


_GROUND = {
    "long": (
        N_("Untraded from here down, as far as the map reaches"),
        N_("Untraded down to {price}"),
        N_("Untraded from here down: ~{usd} liquidated to the next traded level, {price}"),
    ),
    "short": (
        N_("Untraded from here up, as far as the map reaches"),
        N_("Untraded up to {price}"),
        N_("Untraded from here up: ~{usd} liquidated to the next traded level, {price}"),
    ),
}


def ground_line(side: str, facts: Facts) -> str:
    """Return one line on an untraded stretch: how far it goes and the liquidations expected there."""
    endless, unknown, expected = _GROUND[side]
    far = facts.get("far")
    if far is None:
        return _(endless)
    if "forced_usd" not in facts:
        return _(unknown, price=price(far))
    return _(expected, usd=usd(facts["forced_usd"]), price=price(far))


def _stale(facts: Facts) -> Answer:
    asset, since, ago = facts["asset"], iso(facts["since"]), span((facts["at"] - facts["since"]) / 1000)
    reasons = [f"{wording.venue(name)}: {wording.reason(why)}" for name, why in facts["missing"].items()]
    more = len(reasons) - MAX_REASONS
    lines = [
        _("Last price {price}, {span} ago. No alerts can fire without data.", price=price(facts["mark"]), span=ago),
        *reasons[:MAX_REASONS],
        n_("and {count} more venue", "and {count} more venues", more) if more > 0 else "",
        _("You'll get a message when data is back, with anything swept in the meantime."),
    ]
    return Answer(
        _("{asset}: no data since {time} UTC", asset=asset, time=since[11:16]),
        _filled(lines),
        buttons=(Button(_("Status"), "/status"),),
    )


def _back(facts: Facts) -> Answer:
    answer = _offline(facts)
    head = _(
        "{asset} {price}: data is back after {span}",
        asset=facts["asset"],
        price=price(facts["mark"]),
        span=span((facts["offline_to"] - facts["offline_from"]) / 1000),
    )
    return replace(answer, headline=head, lines=answer.lines or (_("Nothing was swept or came near in the meantime."),))


_CAME = {"near": N_("Came near: {cluster}"), "entered": N_("Entered: {cluster}"), "wick": N_("Wick only: {cluster}")}


_NOT_REACHED = {
    "long": N_("{asset} {price}: long cluster {label} not reached within a day, {distance} away"),
    "short": N_("{asset} {price}: short cluster {label} not reached within a day, {distance} away"),
}
_NOT_SWEPT = {
    "long": N_("{asset} {price}: long cluster {label} entered, not swept within a day"),
    "short": N_("{asset} {price}: short cluster {label} entered, not swept within a day"),
}


def _over(facts: Facts) -> Answer:
    """Return the message that closes an incident whose cluster was not swept within a day."""
    asset, cluster, side = facts["asset"], facts["cluster"], facts["side"]
    named = {"asset": asset, "price": price(facts["price"]), "label": label(cluster["label"])}
    if facts["swept_share"]:
        head = _(_NOT_SWEPT[side], **named)
    else:
        head = _(_NOT_REACHED[side], **named, distance=percent(facts["distance"]))
    line = (
        _("No longer a dense level. This alert is closed.")
        if facts["faded"]
        else _("Still dense. This alert is closed.")
    )
    buttons = (Button(_("Clusters"), f"/clusters {asset.lower()}"), Button(_("My alerts"), "/alerts"))
    return Answer(head, (line,), footer=_by_mark(facts), buttons=buttons)


def _offline(facts: Facts) -> Answer:
    asset, mark = facts["asset"], facts["mark"]
    swept = [m for m in facts["missed"] if m["kind"] == "swept"]
    near = [m for m in facts["missed"] if m["kind"] in _CAME]
    reached = [price(m["level"]) for m in facts["missed"] if m["kind"] == "price"]
    lines = [_("Reached meanwhile: {prices}", prices=", ".join(dict.fromkeys(reached)))] if reached else []
    lines += [_("Swept meanwhile: {cluster}", cluster=wording.cluster_line(m["cluster"], mark)) for m in swept[:3]]
    for missed in near[:2]:
        text = _CAME[missed["kind"]]
        lines.append(_(text, cluster=wording.cluster_line(missed["cluster"], mark)))
    lines += [_("In range now: {cluster}", cluster=wording.cluster_line(c, mark)) for c in facts["in_range"][:3]]
    start, end = iso(facts["offline_from"]), iso(facts["offline_to"])
    head = _(
        "{asset} {price}: I was offline from {start} to {end} UTC",
        asset=asset,
        price=price(mark),
        start=start[5:16].replace("T", " "),
        end=end[11:16],
    )
    return Answer(
        head,
        _filled(lines),
        footer=_by_mark(facts),
        buttons=(Button(_("Clusters"), f"/clusters {asset.lower()}"),),
    )


def _value_head(facts: Facts) -> str:
    """Return the headline of a metric alert: value and level."""
    asset, kind, value, level = facts["asset"], facts["kind"], facts["value"], facts["level"]
    if kind == "price":
        return _("{asset} reached {price}", asset=asset, price=price(level))
    if kind == "funding":
        rate, past = wording.rate_text(value), written(f"{level * 100:g}%")
        return _("{asset}: funding {rate} per 8h, past {level}", asset=asset, rate=rate, level=past)
    if kind == "oi":
        change, past = written(f"{value * 100:+.1f}%"), written(f"{level * 100:g}%")
        head = _("{asset}: open interest {change} in 24h, past {level}", asset=asset, change=change, level=past)
        return head + " " + _("(deleveraging)") if value < 0 else head
    if kind == "risk":
        return _("{asset}: risk {value} of 100, past {level}", asset=asset, value=f"{value:.0f}", level=f"{level:g}")
    return _(
        "{asset}: a typical move would liquidate ~{usd}, past {level}", asset=asset, usd=usd(value), level=usd(level)
    )


def _value(facts: Facts) -> Answer:
    """Return the message of a metric alert: value and level first, then the nearest clusters."""
    asset, parts = facts["asset"], facts["risk_parts"]
    lines = [
        _("Price {price}", price=price(facts["mark"])),
        _("Top components: {parts}", parts=wording.risk_parts(parts, last=3)) if parts else "",
        *_next(facts),
        wording.context(facts),
    ]
    return Answer(
        _value_head(facts),
        _filled(lines),
        footer=_by_mark(facts),
        buttons=(Button(_("Map"), f"/map {asset.lower()}"), Button(_("Edit"), "/alerts")),
    )


def _together(facts: Facts) -> Answer:
    """Return several alerts as one message, in their stored order, a line each."""
    items, count = facts["items"], facts["count"]
    heads = [_in_short(item) for item in items]
    assets = list(dict.fromkeys(item["asset"] for item in items))
    named = ", ".join(assets[:4])
    if len(assets) > 4:
        named = _("{assets} and {count} more", assets=named, count=len(assets) - 4)
    shown = heads[:MAX_NAMED]
    more = (_("and {count} more", count=count - len(shown)),) if count > len(shown) else ()
    if facts["kind"] == "digest":
        head = n_(
            "{count} alert in your quiet hours: {assets}",
            "{count} alerts in your quiet hours: {assets}",
            count,
            assets=named,
        )
    else:
        head = n_("{count} alert at once: {assets}", "{count} alerts at once: {assets}", count, assets=named)
    return Answer(
        head,
        (*shown, *more),
        footer=_("latest at {time} UTC", time=iso(max(item["at"] for item in items))[11:16]),
        buttons=(Button(_("Clusters"), f"/clusters {assets[0].lower()}"), Button(_("My alerts"), "/alerts")),
    )


def _in_short(item: Facts) -> str:
    """Return an alert's headline; for offline and back alerts also the lines, which carry the content."""
    answer = alert_answer(item)
    return " · ".join((answer.headline, *answer.lines)) if item["kind"] in ("offline", "back") else answer.headline


_KINDS: dict[str, Callable[[Facts], Answer]] = {
    **NOTICES,
    "near": _near,
    "entered": _entered,
    "swept": _swept,
    "wick": _wick,
    "over": _over,
    "surge": _surge,
    "fresh": _fresh,
    "move": _move,
    "offline": _offline,
    "stale": _stale,
    "back": _back,
    "price": _value,
    "funding": _value,
    "oi": _value,
    "risk": _value,
    "cascade": _value,
    "group": _together,
    "digest": _together,
}


def _rank(facts: Facts) -> str:
    text = wording.rank(facts.get("rank"), facts.get("of", 0), facts["side"])
    return text[:1].upper() + text[1:]


def _by_mark(facts: Facts) -> str:
    return _("mark") + f" · {wording.sources(facts)}"


def _base_rate(facts: Facts) -> str:
    """Return how often price enters any level this close; empty outside the measured range."""
    nearest, farthest = MEASURED_ENTRY.distances
    if facts["asset"] != MEASURED_ENTRY.asset or not nearest <= facts["distance"] <= farthest:
        return ""
    return _(
        "Base rate: price reaches any level this close within {hours}h {share} of the time",
        hours=MEASURED_ENTRY.within_hours,
        share=f"{MEASURED_ENTRY.share:.0%}",
    )


_LIQUIDATED = {
    ("long", False): N_("{usd} of longs liquidated so far"),
    ("long", True): N_("{usd} of longs liquidated in total"),
    ("short", False): N_("{usd} of shorts liquidated so far"),
    ("short", True): N_("{usd} of shorts liquidated in total"),
}


def _reported(facts: Facts) -> str:
    low, high = facts["expected_low_usd"], facts["expected_high_usd"]
    band, reported = usd_range(low, high), facts.get("reported_usd")
    if reported is None:
        return _("No liquidation feed to compare with; expected {band}", band=band)
    text = _LIQUIDATED[facts["side"], bool(facts.get("final"))]
    sentence = _(text, usd=usd(reported))
    if reported < low:
        return _("{liquidated}, below the expected {band}", liquidated=sentence, band=band)
    if reported > high:
        return _("{liquidated}, above the expected {band}", liquidated=sentence, band=band)
    return _("{liquidated}, within the expected {band}", liquidated=sentence, band=band)


def _counted(facts: Facts) -> str:
    if facts.get("reported_usd") is None:
        return ""
    if facts.get("final"):
        return _("Feeds under-report · final count")
    return _("Feeds under-report · final count in 1h, updated here")


def _longs_share(facts: Facts) -> str:
    share = facts.get("long_share")
    return _("{share} of liquidations were longs", share=f"{share:.0%}") if share is not None else ""


def _next(facts: Facts) -> list[str]:
    lines = []
    for key, text in (
        ("next_below", N_("Next below: {label}, {distance} away, ~{usd}")),
        ("next_above", N_("Next above: shorts {label}, {distance} away, ~{usd}")),
    ):
        cluster = facts.get(key)
        if cluster:
            far, size = percent(cluster["distance"]), usd(cluster["forced_usd"])
            lines.append(_(text, label=label(cluster["label"]), distance=far, usd=size))
    return lines


def _buttons(asset: str, cluster: Facts) -> tuple[Button, ...]:
    name = asset.lower()
    return (
        Button(_("Map"), f"/map {name}"),
        Button(_("Mute {asset} 4h", asset=asset), f"/mute {name} 4h"),
        Button(_("Edit"), "/alerts"),
        Button(_("Why?"), f"/why {name} {cluster['label']:.6g} {cluster['side']}"),
    )


def _filled(lines: list[str]) -> tuple[str, ...]:
    return tuple(line for line in lines if line)
