"""The wording of alerts: every kind, with complete and with missing data."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.alert_messages import alert_answer

CLUSTER = {
    "id": "c",
    "label": 88_012.0,
    "low": 87_713.0,
    "high": 88_149.0,
    "peak": 88_000.0,
    "forced_usd": 26e6,
    "forced_low_usd": 13e6,
    "forced_high_usd": 50e6,
    "open_usd": 4e8,
    "side": "long",
    "born_at": 0,
    "untraded_hours": 41.2,
    "untraded_all_known": False,
}
FACTS: dict[str, Any] = {
    "kind": "near",
    "asset": "BTC",
    "at": 1_765_670_400_000,
    "side": "long",
    "price": 88_910.0,
    "mark": 88_905.0,
    "reason": "price came within 1% of the cluster's near edge",
    "rule": "near normal",
    "distance": 0.01,
    "cluster": CLUSTER,
    "rank": 1,
    "of": 2,
    "forced_usd": 38e6,
    "forced_low_usd": 20e6,
    "forced_high_usd": 75e6,
    "usual_ratio": 1.7,
    "interest_change_24h": 0.03,
    "funding_rate": 1e-4,
    "venues": {"binanceusdm": 0.5, "bybit": 0.3, "okx": 0.2},
    "missing": {},
    "age_seconds": 14.0,
    "history_days": 40.0,
}
SWEPT = FACTS | {
    "kind": "swept",
    "price": 87_577.0,
    "reported_usd": 46e6,
    "long_share": 0.96,
    "expected_low_usd": 20e6,
    "expected_high_usd": 75e6,
    "swept_share": 0.97,
    "since": 0,
    "next_below": {"label": 86_400.0, "distance": 0.014, "forced_usd": 30e6},
    "next_above": {"label": 90_900.0, "distance": 0.038, "forced_usd": 9e6},
}


def test_near_is_worded_as_designed() -> None:
    assert alert_answer(FACTS).text == (
        "BTC 88,910: 1.0% above long cluster 88.0k\n"
        "~$38M of longs liquidated down to 87,713 (80% range $20-75M), 1.7x usual\n"
        "Larger of 2 long clusters within 10% · untraded for 41 h\n"
        "OI +3.0% 24h · funding 0.010%/8h\n"
        "Base rate: price reaches any level this close within 4h 44% of the time\n"
        "mark · Binance Bybit OKX · 14 s old"
    )


def test_swept_shows_reported_usd_and_next_clusters() -> None:
    text = alert_answer(SWEPT).text
    assert text.startswith("BTC swept 88.0k longs, low 87,577 (00:00 UTC)")
    assert "$46M of longs liquidated so far, within the expected $20-75M" in text
    assert "Feeds under-report · final count in 1h, updated here" in text
    final = alert_answer({**SWEPT, "final": True}).text
    assert "$46M of longs liquidated in total, within the expected" in final
    assert final.count("\n") < 9
    assert "96% of liquidations were longs" in text
    assert "Next below: 86.4k, 1.4% away, ~$30M" in text
    assert "Next above: shorts 90.9k, 3.8% away" in text


@pytest.mark.parametrize(("usd", "verdict"), [(10e6, "below"), (40e6, "within"), (90e6, "above")])
def test_the_verdict_is_honest(usd: float, verdict: str) -> None:
    assert f"liquidated so far, {verdict}" in alert_answer(SWEPT | {"reported_usd": usd}).text


def test_missing_data_is_shown_and_never_invented() -> None:
    bare = FACTS | {"interest_change_24h": None, "funding_rate": None, "usual_ratio": None, "rank": None, "of": 0}
    bare |= {"missing": {"okx": "not available"}, "history_days": 3.0, "age_seconds": 400.0}
    text = alert_answer(bare).text
    assert "24h OI change unknown · funding unknown" in text
    assert "usual" not in text
    assert "without OKX (not available)" in text
    assert "Rough, no track record yet (3 d of history)" in text
    assert "STALE, 7 min old" in text
    assert "No liquidation feed to compare with" in alert_answer(SWEPT | {"reported_usd": None}).text


def test_the_base_rate_is_shown_only_where_measured() -> None:
    assert "Base rate" not in alert_answer(FACTS | {"asset": "ETH"}).text
    assert "Base rate" not in alert_answer(FACTS | {"distance": 0.03}).text


def test_a_late_message_shows_delay_and_current_price() -> None:
    text = alert_answer(FACTS, late_ms=240_000, price_now=88_100.0).text
    assert "Late by 4 min; price now 88,100" in text
    assert "Late" not in alert_answer(FACTS, late_ms=30_000).text


def test_simulated_messages_are_marked() -> None:
    assert alert_answer(FACTS, simulated=True).headline.startswith("[SIMULATED] ")


def test_one_message_sums_up_the_downtime() -> None:
    facts = FACTS | {
        "kind": "offline",
        "offline_from": 1_765_670_400_000,
        "offline_to": 1_765_677_600_000,
        "missed": [{"kind": "swept", "asset": "BTC", "at": 0, "cluster": CLUSTER}],
        "in_range": [CLUSTER | {"label": 86_400.0}],
    }
    text = alert_answer(facts).text
    assert "I was offline from 12-14 00:00 to 02:00 UTC" in text
    assert "Swept meanwhile: longs 88.0k" in text
    assert "In range now: longs 86.4k" in text


@pytest.mark.parametrize("kind", ["near", "entered", "swept", "wick"])
@pytest.mark.parametrize("side", ["long", "short"])
def test_every_kind_fits_a_phone(kind: str, side: str) -> None:
    answer = alert_answer(SWEPT | {"kind": kind, "side": side, "cluster": CLUSTER | {"side": side}})
    assert len(answer.lines) <= 8
    assert len(answer.headline) <= 80
    assert all(len(line) <= 110 for line in answer.lines)
    assert not any(word in answer.text.lower() for word in ("target", "crash", "buy", "sell", "🚨"))


def test_stale_shows_time_and_reasons() -> None:
    facts = {
        "kind": "stale",
        "asset": "BTC",
        "at": 1_765_670_400_000,
        "since": 1_765_670_100_000,
        "mark": 88_905.0,
        "missing": {
            "binanceusdm": "network error",
            "bybit": "network error",
            "okx": "maintenance",
            "gate": "rate limit",
        },
    }
    assert alert_answer(facts).text.splitlines() == [
        "BTC: no data since 23:55 UTC",
        "Last price 88,905, 5 min ago. No alerts can fire without data.",
        "Binance: network error",
        "Bybit: network error",
        "OKX: maintenance",
        "and 1 more venue",
        "You'll get a message when data is back, with anything swept in the meantime.",
    ]


def test_back_shows_how_long_data_was_out() -> None:
    facts = FACTS | {
        "kind": "back",
        "offline_from": FACTS["at"] - 1_380_000,
        "offline_to": FACTS["at"],
        "missed": [{"kind": "swept", "asset": "BTC", "at": 0, "cluster": CLUSTER}],
        "in_range": [],
    }
    lines = alert_answer(facts).text.splitlines()
    assert lines[0] == "BTC 88,905: data is back after 23 min"
    assert lines[1] == "Swept meanwhile: longs 88.0k, -1.0%, ~$26M"
    assert alert_answer(facts | {"missed": []}).lines == ("Nothing was swept or came near in the meantime.",)


def test_missing_venues_are_named_with_their_usual_share() -> None:
    one = FACTS | {"missing": {"bybit": "not available"}, "missing_shares": {"bybit": 0.31}}
    assert alert_answer(one).footer.endswith("· without Bybit (usually ~31%, not available)")
    many = {"bybit": "x", "okx": "y", "gate": "z"}
    shares = {"bybit": 0.2, "okx": 0.1, "gate": 0.1}
    footer = alert_answer(FACTS | {"missing": many, "missing_shares": shares}).footer
    assert footer.endswith("without 3 venues (usually ~40%, see /status)")


def test_a_digest_lists_levels_reached_while_offline() -> None:
    """A digest shows first lines only, which would leave out everything that matters in an offline summary."""
    offline = {
        "kind": "offline",
        "asset": "BTC",
        "at": 1_765_000_000_000,
        "mark": 89_442.0,
        "in_range": (),
        "offline_from": 1_764_990_000_000,
        "offline_to": 1_765_000_000_000,
        "missed": ({"kind": "price", "level": 89_402.0},),
        "venues": {"okx": 1.0},
        "age_seconds": 3.0,
    }
    text = alert_answer({"kind": "digest", "count": 1, "items": [offline], "asset": "BTC", "at": offline["at"]}).text
    assert "Reached meanwhile: 89,402" in text
