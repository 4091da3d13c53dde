"""Every command answers, and every odd argument gets one line and an example that works."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.board import AssetBoard
from engine.calibration.hourly_model import MIN_HOURS
from engine.calibration.hours import COLUMNS
from engine.calibration.track_record import track_record
from engine.clock import ManualClock
from engine.errors import CliffwatchError, InputError
from engine.facts import forced_facts
from engine.liquidation.margin import Tier
from engine.liquidation.prior import TIE
from engine.market import AssetUpdate, Liquidation, ReportedLiquidation
from engine.messages import AlertRecord, TickRecord
from engine.outlook.depth import aggregate
from engine.preferences import Preferences
from handlers.access import KEPT_MS, ensure_claim_code
from handlers.alert_messages import alert_answer
from handlers.answers import MAX_LINES, TABLE_WIDTH, Answer, set_table
from handlers.commands import dispatch
from handlers.commands.arguments import WithheldError
from handlers.commands.dispatch import all_commands
from handlers.commands.registry import split
from handlers.context import Health, Request, SourceState
from handlers.delivery.failures import FailureHandler
from handlers.numbers import DidYouMeanError, label, usd
from handlers.platforms.discord.render import render_discord
from handlers.platforms.telegram.render import render_telegram
from tests.engine.calibration.test_hourly_model import made_up
from tests.handlers.kit import MARKETS, Kit
from tests.servers.telegram import _Checker

COMMANDS = [command.name for command in all_commands(hidden=True)]


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await Kit.make()
    yield made
    await made.close()


async def test_liq_leads_with_the_number_and_returns_all_facts(kit: Kit) -> None:
    answer = await kit.ask("/liq 86000")
    assert answer.headline.startswith("BTC 86,000: ~$")
    wanted = (
        "asset at reference_price price side forced_usd near_usd rank of usual_ratio cluster venues age_seconds text"
    )
    assert set(wanted.split()) <= set(answer.data)
    assert json.loads(json.dumps(answer.data, allow_nan=False))["price"] == 86_000
    assert answer.data["forced_low_usd"] <= answer.data["forced_usd"] <= answer.data["forced_high_usd"]
    assert any(line.startswith("OI ") and "funding" in line for line in answer.lines)
    assert "Binance" in answer.footer
    assert "old" in answer.footer


async def test_the_cluster_has_the_same_number_everywhere(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    assert board.clusters
    for cluster in board.clusters:
        listed = (await kit.ask("/clusters")).data["clusters"]
        asked = (await kit.ask(f"/liq {cluster.peak_price:.2f}")).data["cluster"]
        if cluster.distance(board.view.mark) > 0:
            assert next(row["forced_usd"] for row in listed if row["id"] == cluster.id) == cluster.forced_usd
            assert asked["forced_usd"] == cluster.forced_usd


async def test_farther_is_never_less(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    prices = [board.view.mark * (1 - step / 500) for step in range(1, 100)]
    answers = [forced_facts(board.view, board, price)["forced_usd"] for price in prices]
    assert answers == sorted(answers)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/liq 88", "Did you mean 88.0k?"),
        ("/liq nope 3", "nope isn't watched"),
        ("/liq 99999999", "is outside the map"),
        ("/liq btc eth", "One coin at a time"),
        ("/clusters btc 5", "Didn't expect"),
        ("/map 900%", "must be 1% to 50%"),
        ("/map up", "up isn't watched"),
        ("/threshold huge", "isn't calm, normal, busy or a watched coin"),
        ("/threshold 99%", "must be 0.1% to 20%"),
        ("/mute forever", "'forever' isn't a watched coin or a time"),
        ("/mute 99d", "must be 1m to 30d"),
        ("/alerts remove 99", "No alert #99 here"),
        ("/nope", "No /nope command"),
        ("/clusterz", "Did you mean /clusters?"),
        ("", "Commands start with /"),
        ("/help nope", "No /nope command"),
    ],
)
async def test_odd_arguments_get_one_line(kit: Kit, text: str, says: str) -> None:
    answer = await kit.ask(text)
    assert says in answer.headline
    assert "\n" not in answer.headline


async def test_every_example_works(kit: Kit) -> None:
    kit.services.configured_operators = frozenset({("telegram", "7")})
    await kit.chat()
    await kit.chat("8")
    await kit.chat("9")
    for command in all_commands(hidden=True):
        for example in (command.example, f"/help {command.name}"):
            if "alerts remove" in example or "eth" in example:
                continue
            answer = await kit.ask(example)
            assert "not" not in answer.headline.lower().split(), f"{example}: {answer.headline}"
            assert len(answer.headline) < 140


@pytest.mark.parametrize("name", COMMANDS)
async def test_answers_are_short_enough_for_a_phone(kit: Kit, name: str) -> None:
    answer = await kit.ask(f"/{name}")
    assert len(answer.lines) <= MAX_LINES
    if answer.table:
        assert all(len(line) <= TABLE_WIDTH for line in set_table(answer.table).split("\n"))
        assert set_table(answer.table).count("\n") == len(answer.table) - 1


async def test_commands_before_the_first_map_wait_and_say_so() -> None:
    kit = await Kit.make(boards={"BTC": AssetBoard("BTC")})
    kit.services.ready.clear()
    assert "Still building the first" in (await kit.ask("/liq 88000", patience=0.05)).headline
    assert "no map yet" in " ".join((await kit.ask("/status")).lines)
    await kit.close()


async def test_stale_data_is_marked_and_after_an_hour_withheld(kit: Kit) -> None:
    kit.clock.at += 10 * 60_000
    assert "STALE, 10 min old" in (await kit.ask("/liq 86000")).footer
    kit.clock.at += 60 * 60_000
    for text in ("/liq 86000", "/clusters", "/map", "/market"):
        answer = await kit.ask(text)
        assert "too stale to quote" in answer.headline
        assert answer.data["withheld"]


async def test_threshold_sets_alerts_and_alerts_lists_and_removes_them(kit: Kit) -> None:
    assert "near normal" in (await kit.ask("/threshold normal")).headline
    assert "near 1.5% $20m" in (await kit.ask("/threshold 1.5% $20m")).headline
    chat = await kit.chat()
    (rule,) = await kit.store.rules.of_chat(chat.id)
    assert list(kit.services.pipeline.rules.rules) == [rule]
    assert f"#{rule.id} near 1.5% $20m" in (await kit.ask("/alerts")).lines[0]
    assert "Removed" in (await kit.ask(f"/alerts remove {rule.id}")).headline
    assert not kit.services.pipeline.rules.rules


async def test_mute_is_kept_and_ends(kit: Kit) -> None:
    assert "BTC muted for 4 h" in (await kit.ask("/mute btc 4h")).headline
    chat = await kit.chat()
    assert kit.services.pipeline.rules.muted("BTC")[chat.id] == kit.clock.at + 4 * 3_600_000
    assert (await kit.store.rules.load()).muted("BTC")[chat.id] > kit.clock.at
    await kit.ask("/mute btc off")
    assert kit.services.pipeline.rules.muted("BTC")[chat.id] <= kit.clock.at


async def test_stop_keeps_the_rules_and_start_resumes_them(kit: Kit) -> None:
    await kit.ask("/threshold normal")
    await kit.ask("/stop")
    assert not kit.services.pipeline.rules.rules
    answer = await kit.ask("/start")
    assert len(answer.lines) <= MAX_LINES
    assert len(kit.services.pipeline.rules.rules) == 1
    assert (await kit.store.outbox.counts())["ready"] == 1  # the test alert


async def test_groups_are_subscribed_by_their_admins_only(kit: Kit) -> None:
    group = await kit.chat("-5", "group")
    assert "Only admins" in (await kit.ask("/subscribe normal", "8", group)).headline
    assert await kit.store.rules.of_chat(group.id) == []
    kit.people.admins.add("8")
    assert "Subscribed" in (await kit.ask("/subscribe normal", "8", group)).headline
    assert len(await kit.store.rules.of_chat(group.id)) == 1
    assert "Only admins" in (await kit.ask("/mute 4h", "9", group)).headline
    assert "Only admins" in (await kit.ask("/unsubscribe", "9", group)).headline
    assert "Unsubscribed" in (await kit.ask("/unsubscribe", "", group, as_chat=True)).headline


async def test_a_channel_is_subscribed_from_a_private_chat_by_its_admin(kit: Kit) -> None:
    kit.people.channels["@mine"] = "-100"
    assert "Only admins" in (await kit.ask("/subscribe @mine")).headline
    kit.people.admins.add("7")
    assert "Subscribed @mine" in (await kit.ask("/subscribe @mine busy")).headline
    assert "I'm not in @other" in (await kit.ask("/subscribe @other")).headline


async def test_personal_alerts_set_in_a_group_arrive_privately(kit: Kit) -> None:
    group = await kit.chat("-5", "group")
    await kit.ask("/threshold calm", "8", group)
    assert await kit.store.rules.of_chat(group.id) == []
    private = await kit.chat("8")
    assert len(await kit.store.rules.of_chat(private.id)) == 1
    assert (await kit.store.outbox.counts())["ready"] == 1  # the test alert in the private chat
    assert not private.approved


async def test_a_refused_chat_gets_no_alerts_and_cannot_readmit_itself(kit: Kit) -> None:
    kit.services.configured_operators = frozenset({("telegram", "1")})
    await kit.ask("/threshold normal", "8")
    chat = await kit.chat("8")
    await kit.ask(f"/admin refuse {chat.id}", "1")
    assert not kit.services.pipeline.rules.rules
    assert "private" in (await kit.ask("/start", "8")).headline
    group = await kit.chat("-5", "group")
    assert (await kit.ask("/alert price 80k", "8", group)).headline == "The operator has refused this chat."
    assert not kit.services.pipeline.rules.rules
    await kit.ask(f"/admin approve {chat.id}", "1")
    assert len(kit.services.pipeline.rules.rules) == 1


async def test_a_member_cannot_undo_an_admins_stop(kit: Kit) -> None:
    group = await kit.chat("-5", "group")
    kit.people.admins.add("8")
    await kit.ask("/subscribe normal", "8", group)
    await kit.ask("/stop", "8", group)
    await kit.ask("/start", "9", group)
    assert not kit.services.pipeline.rules.rules
    assert await kit.store.outbox.counts() == {}
    await kit.ask("/start", "8", group)
    assert len(kit.services.pipeline.rules.rules) == 1


async def test_repeated_starts_send_one_test_alert(kit: Kit) -> None:
    for _ in range(5):
        await kit.ask("/start")
    assert await kit.store.outbox.counts() == {"ready": 1}


async def test_a_rule_for_one_coin_overrides_one_for_all(kit: Kit) -> None:
    await kit.ask("/threshold busy")
    await kit.ask("/threshold calm btc")
    (rule,) = kit.services.pipeline.rules.for_asset("BTC")
    assert (rule.asset, rule.size) == ("BTC", "calm")


@pytest.mark.parametrize(("text", "rule"), [("1 % $20,000k", "near 1% $20m"), ("$1.500.000", "near $1.5m")])
async def test_sizes_accept_usual_digit_grouping(kit: Kit, text: str, rule: str) -> None:
    assert rule in (await kit.ask(f"/threshold {text}")).headline


@pytest.mark.parametrize("text", ["/liq \u22123%", "/liq - 3%", "/liq ~86000", "/liq 86000 usd", "/liq 86000usdt"])
async def test_odd_but_clear_notation_is_accepted(kit: Kit, text: str) -> None:
    assert "liquidated on the way" in (await kit.ask(text)).headline


async def test_unmuting_everything_unmutes_each_coin(kit: Kit) -> None:
    await kit.ask("/mute btc 4h")
    assert "Everything unmuted" in (await kit.ask("/mute off")).headline
    chat = await kit.chat()
    assert kit.services.pipeline.rules.muted("BTC").get(chat.id, 0) <= kit.clock.at
    await kit.ask("/mute 4h")
    assert "still muted" in (await kit.ask("/mute btc off")).headline


async def test_access_is_for_approved_chats_their_members_and_operators() -> None:
    kit = await Kit.make("chats")
    kit.services.wall = wall = ManualClock(kit.clock.now())
    refused = await kit.ask("/liq 86000", "8")
    assert "private" in refused.headline
    assert "/admin approve" in refused.lines[0]
    group = await kit.chat("-5", "group")
    await kit.store.chats.approve(group.id, approved=True)
    assert "private" in (await kit.ask("/liq 86000", "8")).headline
    kit.people.members.add("8")
    assert "private" in (await kit.ask("/liq 86000", "8")).headline, "membership is not looked up with every message"
    wall.at += KEPT_MS
    assert "liquidated on the way" in (await kit.ask("/liq 86000", "8")).headline
    kit.services.access = "list"
    assert "private" in (await kit.ask("/liq 86000", "8")).headline
    await kit.close()


async def test_the_first_operator_claims_the_bot_once() -> None:
    kit = await Kit.make("chats")
    code = await ensure_claim_code(kit.store, configured=False)
    assert code is not None
    assert "isn't valid" in (await kit.ask("/start 0123456789", "8")).lines[0]
    assert "isn't valid" not in (await kit.ask("/start group", "8")).lines[0]
    assert "operator" in (await kit.ask(f"/start {code}", "8")).lines[0]
    assert "isn't valid" in (await kit.ask(f"/start {code}", "9")).lines[0]
    assert await ensure_claim_code(kit.store, configured=False) is None
    stranger = await kit.chat("9")
    assert "private" in (await kit.ask(f"/admin approve {stranger.id}", "9")).headline
    assert "approved" in (await kit.ask(f"/admin approve {stranger.id}", "8")).headline
    assert "liquidated on the way" in (await kit.ask("/liq 86000", "9")).headline
    await kit.close()


async def test_every_message_of_a_simulated_market_says_so(kit: Kit) -> None:
    kit.services.simulated = True
    for name in COMMANDS:
        assert (await kit.ask(f"/{name}")).headline.startswith("[SIMULATED]")


async def test_any_text_is_answered_within_every_limit(kit: Kit) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=250, deadline=None)
    @given(st.sampled_from(COMMANDS), st.text(max_size=120))
    def check(name: str, text: str) -> None:
        answer = asyncio.run_coroutine_threadsafe(kit.ask(f"/{name} {text}"), loop).result(10)
        assert "Something went wrong" not in answer.headline
        telegram, discord = render_telegram(answer), render_discord(answer)
        assert 0 < len(_Checker.plain(telegram["html"]).encode("utf-16-le")) // 2 <= 4096
        assert all(len(command.encode()) <= 64 for row in telegram["buttons"] for _, command in row)
        assert 0 < len(discord["content"]) <= 2000
        assert len(discord["embed"]["description"]) <= 4096

    await asyncio.to_thread(check)


async def test_a_replaced_rule_is_named_and_undo_restores_it(kit: Kit) -> None:
    await kit.ask("/threshold calm btc")
    first = kit.services.pipeline.rules.rules[0]
    changed = await kit.ask("/threshold busy btc")
    assert changed.headline.endswith("(was near calm btc)")
    undo = next(button for button in changed.buttons if button.label == "Undo")
    done = await kit.ask(undo.command)
    assert done.headline.startswith("Restored near calm")
    assert kit.services.pipeline.rules.rules == (first,)
    chat = await kit.chat()
    assert await kit.store.rules.of_chat(chat.id) == [first]
    again = await kit.ask("/threshold calm btc")
    assert "was" not in again.headline, "nothing has changed"
    new = await kit.ask("/alert price 80k")
    assert "was" not in new.headline
    gone = await kit.ask(next(button for button in new.buttons if button.label == "Undo").command)
    assert gone.headline.startswith("Removed #")


async def test_alerts_are_shown_by_number_and_all_removed_on_confirmation(kit: Kit) -> None:
    for level in (80, 81, 82):
        await kit.ask(f"/alert price {level}k")
    number = kit.services.pipeline.rules.rules[1].id
    assert (await kit.ask(f"/alerts {number}")).lines[0].startswith(f"#{number} price 81,000")
    assert (await kit.ask("/alerts 99")).headline == "No alert #99 here."
    assert (await kit.ask("/list")).headline == "3 alerts here"
    asked = await kit.ask("/alerts remove all")
    assert asked.headline == "Remove all 3 alerts?"
    chat = await kit.chat()
    assert len(await kit.store.rules.of_chat(chat.id)) == 3
    assert (await kit.ask(asked.buttons[0].command)).headline == "Removed 3 alerts"
    assert not await kit.store.rules.of_chat(chat.id)
    assert (await kit.ask("/alerts remove all")).headline == "No alerts yet."


async def test_obvious_variants_are_accepted(kit: Kit) -> None:
    await kit.ask("/mute btc 4h")
    assert (await kit.ask("/unmute btc")).headline == "BTC unmuted."
    assert (await kit.ask("/unmute")).headline == "Everything unmuted."
    refused = await kit.ask("/stop btc")
    assert "/mute btc 2d" in refused.headline
    assert (await kit.chat()).active
    for text in ("/liq long", "/liq btc longs"):
        answer = await kit.ask(text)
        assert answer.data["side"] == answer.data["cluster"]["side"] == "long"
    assert "No dense short cluster within 10%" in (await kit.ask("/liq shorts")).lines


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        *(
            (f"/liq {text}", "BTC 88,000: ")
            for text in ("88’000", "88к", "88000?", "$88k", "₿88000", "~88k!", "８８０００")
        ),
        ("/liq 88k-90k", "One price at a time"),
        ("/liq 1e5", "'1e5' is not a price"),
        ("/liq bitcoin", "BTC "),
        ("/btc", "BTC "),
        ("/btc 88000", "BTC 88,000: "),
        ("/rekt 7d", "Time must be 1h, 4h or 24h, not 7d"),
        ("/rekt 1 week", "Time must be 1h, 4h or 24h, not 1w"),
        ("/rekt 24 hours", "BTC"),
        ("/mute 4", "Everything muted for 4 h"),
        ("/mute 2 hours", "Everything muted for 2 h"),
        ("/mute all 1w", "Everything muted for 7 d"),
        ("/threshold 2", "Alerts set: near 2% normal"),
        ("/threshold 20m", "Alerts set: near $20m"),
        ("/threshold off", "Remove alerts one by one"),
        *(
            (f"/alert {text}", "Alerts set: price 95,000")
            for text in ("above 95000", "price > 95k", "me at 95k", "95k")
        ),
        ("/alert oi -8%", "Alerts set: oi 8%"),
        ("/language spanish", "El idioma"),
        ("/language 中文", "本聊天的语言"),
        ("/alerts clear", "No alerts yet."),
        ("/price", "No /price command."),
    ],
)
async def test_common_input_works_or_is_refused_in_a_sentence(kit: Kit, typed: str, said: str) -> None:
    assert (await kit.ask(typed)).headline.startswith(said)


async def test_hints_are_lines_that_work_where_shown(kit: Kit) -> None:
    """Also if the hint comes from the rule parser, which does not know the command."""
    for typed in (
        "/mute 99d",
        "/alert price 1 2",
        "/threshold 99%",
        "/liq abc",
        "/liq 1e5",
        "/price",
        "/remove 3",
        "/lik",
    ):
        answer = await kit.ask(typed)
        (hint,) = [line for line in answer.lines if line.startswith("Try: ")]
        assert hint.startswith("Try: /"), typed
        again = await kit.ask(hint.removeprefix("Try: "))
        assert not any(line.startswith("Try: ") for line in again.lines) or "alerts" in hint, (typed, hint, again)


async def test_why_covers_the_side_of_the_alert(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    above, below = f"{board.mark * 1.02:.6g}", f"{board.mark * 0.98:.6g}"
    assert "liquidated on the way" in (await kit.ask(f"/why btc {below} long")).headline
    passed = await kit.ask(f"/why btc {above} long")
    assert "is already below it" in passed.headline
    assert "is already above it" in (await kit.ask(f"/why btc {below} short")).headline
    assert "liquidated on the way" in (await kit.ask(f"/why btc {above}")).headline


async def test_clusters_too_small_or_too_new_are_marked(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    assert "below your size" not in (await kit.ask("/clusters")).lines[0]
    await kit.ask("/threshold 5% $900b save")
    listing = await kit.ask("/clusters")
    assert "° below your size: no alert" in listing.lines[0]
    assert all("°" in row[0] for row in listing.table[1:])
    nearest = min(board.clusters, key=lambda c: abs(c.distance(board.view.mark)))
    shown = (await kit.ask("/alerts")).lines[0]
    assert shown.endswith(": below your size")
    assert f"{label(nearest.label_price)}, " in shown
    board.tracker._live = {c.id: replace(c, born_at=kit.clock.at) for c in board.clusters}
    await kit.ask("/threshold 5% busy")
    assert (await kit.ask("/alerts")).lines[0].endswith(": too new")


def test_a_line_is_split_into_name_and_arguments() -> None:
    assert split("/liq@cliffwatch_bot  88000 ") == ("liq", "88000")
    assert split("/LIQ") == ("liq", "")
    assert split("88000") == ("", "")
    assert split("") == ("", "")


async def test_rekt_shows_total_share_venues_and_largest(kit: Kit) -> None:
    board, now = kit.services.pipeline.boards["BTC"], kit.clock.at
    orders = [
        Liquidation(MARKETS[1], now - 1000 * i, "long" if i % 4 else "short", 88_000.0 + i, 10.0 + i)
        for i in range(1, 9)
    ]
    await kit.store.market.add_liquidations(orders)
    board.advance(
        AssetUpdate(reported=tuple(ReportedLiquidation(o.at, o.side, o.notional_usd, "bybit") for o in orders)), now
    )
    answer = await kit.ask("/rekt 1h")
    total = sum(o.notional_usd for o in orders)
    assert answer.data["by_venue"]["bybit"]["long"] + answer.data["by_venue"]["bybit"]["short"] == pytest.approx(
        total + 3e5  # plus the liquidations in the last hour's bar
    )
    assert answer.headline.startswith("BTC: $")
    assert "liquidated in 1h" in answer.headline
    assert any(line.startswith("Largest of 8: $1.6M shorts at 88,008, Bybit") for line in answer.lines)
    assert any("Feeds under-report" in line for line in answer.lines)
    assert (await kit.ask("/liquidations btc 4h")).data["hours"] == 4
    assert (await kit.ask("/rekt 24h")).data["long_usd"] >= answer.data["long_usd"]
    assert "1h, 4h or 24h" in (await kit.ask("/rekt 7h")).text


async def test_rekt_without_a_feed_says_so(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    board.reported.has_feed = False
    board.reported._rows.clear()
    assert "no liquidation feed" in (await kit.ask("/rekt")).headline


async def test_market_shows_order_book_depth(kit: Kit) -> None:
    board, now = kit.services.pipeline.boards["BTC"], kit.clock.at
    assert "Resting" not in (await kit.ask("/market")).text
    rows = [(89_900.0 - i, 1e6) for i in range(50)], [(90_000.0 + i, 2e6) for i in range(50)]
    board.books["x"] = aggregate(MARKETS[0], now, *rows)
    assert "Resting within 1%: bids $50M, asks $100M (1 book)" in (await kit.ask("/oi")).text
    kit.clock.at += 10 * 60_000
    assert "Resting" not in (await kit.ask("/market")).text


async def test_status_shows_budget_backfill_and_rejections(kit: Kit) -> None:
    source = SourceState("bybit", "ok", 5.0, "", "liquidations 3 s ago", "", 30, 0.004, {"figures": 2, "orders": 1}, 0)
    reading = SourceState("okx", "ok", None, "", "", "12 d of 3 markets to read", 0, 0.0, {}, 7)
    kit.services.health = lambda: Health(0, (source, reading), {}, 0, 0, "", 4)
    text = (await kit.ask("/status")).text
    assert "Bybit: ok, 5 s old, liquidations 3 s ago, 30 requests/min, under 1% of its limit" in text
    assert "rejected: market data 2, liquidation orders 1" in text
    assert "OKX: ok, 12 d of 3 markets to read, 7 liquidations dropped" in text
    assert "Prices rejected, too far from other venues: 4" in text


async def test_skill_shows_progress_until_there_is_a_record(kit: Kit) -> None:
    del kit.services.pipeline.boards["BTC"].hours.rows[240:]
    answer = await kit.ask("/skill")
    assert answer.headline == "BTC: no track record yet"
    assert answer.lines[0] == "10 of 15 days of liquidation reports so far"
    assert answer.data["score"] is None


async def test_skill_scores_the_predicted_hours(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    hours = made_up(count=MIN_HOURS + 24 * 25)
    kit.services.records["BTC"] = track_record("BTC", hours)
    board.hours.rows.clear()
    answer = await kit.ask("/skill btc")
    score = answer.data["score"]
    assert answer.headline == f"BTC: the map cuts {score['d2']:.0%} off a distance-only model's error"
    assert 0.7 < score["coverage"] < 0.9
    assert any(line.startswith("Longs: predicted $") for line in answer.lines)
    json.dumps(answer.data, allow_nan=False)


async def test_why_shows_example_positions_by_the_largest_markets_tiers(kit: Kit) -> None:
    mark = kit.services.pipeline.boards["BTC"].view.mark
    await kit.store.market.save_tiers(MARKETS[1], [Tier(0, 0.004), Tier(5_000, 0.02, 80)], 0)
    answer = await kit.ask("/why btc 86000")
    (line,) = [line for line in answer.lines if "isolated" in line]
    # By hand for 10x: a margin of 1,000, of which the second tier requires 200 - 80, all of the value at entry.
    price = mark - (1_000 - (10_000 * 0.02 - 80)) / (10_000 / mark)
    assert f"10x at {label(price)}" in line
    assert line.startswith("A $10k isolated long opened now on Bybit liquidates: ")
    assert "100x" not in line  # its margin would not cover the second tier
    assert any("isolated short" in line for line in (await kit.ask("/why btc 95000")).lines)


async def test_churn_is_shown_only_if_every_hour_was_complete(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    answer = await kit.ask("/liq 86000")
    churn = board.churn_usd(24)
    assert churn is not None
    assert answer.data["churn_24h_usd"] == churn
    assert 0 < churn["long"] < 24 * 4e5
    churn_line = f"Plus {usd(churn['long'])} of longs liquidated at already-swept levels in 24h"
    assert churn_line in (await kit.ask("/why 86000")).lines
    board.hours.rows[-3][COLUMNS.index("reported_long")] = math.nan
    assert (await kit.ask("/liq 86000")).data["churn_24h_usd"] is None
    assert not any(line.startswith("Plus ") for line in (await kit.ask("/why 86000")).lines)


async def test_before_it_has_a_score_skill_uses_the_shipped_coefficients(kit: Kit) -> None:
    hours = made_up(count=24 * 9)
    kit.services.records["BTC"] = track_record("BTC", replace(hours, at=hours.at + TIE.until))
    kit.services.pipeline.boards["BTC"].hours.rows.clear()
    answer = await kit.ask("/skill")
    assert answer.headline == "BTC: no track record yet"
    assert answer.lines[0] == "9 of 15 days of liquidation reports so far"
    assert answer.lines[1] == "With the shipped coefficients:"
    assert answer.data["expected_usd"][0] > 0


async def test_price_alerts_are_once_and_can_be_several(kit: Kit) -> None:
    board = kit.services.pipeline.boards["BTC"]
    level = round(board.mark * 1.05, -2)
    answer = await kit.ask(f"/alert price {level:.0f}")
    assert answer.headline == f"Alerts set: price {level:,.0f} once, BTC"
    assert any("5.0% away" in line or "4.9% away" in line for line in answer.lines)
    assert f"price {board.mark * 0.9:,.0f}"[:8] in (await kit.ask(f"/alert {board.mark * 0.9:.0f}")).headline
    listed = (await kit.ask("/alerts")).lines
    assert len(listed) == 2
    book = kit.services.pipeline.rules
    (rule, _) = book.of_chat((await kit.chat()).id)
    book.last_fired_at[rule.id] = kit.clock.at
    assert any(line.endswith("already fired") for line in (await kit.ask("/alerts")).lines)


async def test_alerts_show_metric_values(kit: Kit) -> None:
    answer = await kit.ask("/alert funding 0.05% every 8h for 7d btc")
    assert answer.headline == "Alerts set: funding 0.05% every 8h, BTC, for 7 d"
    assert answer.lines == ("BTC: funding is 0.01% now",)
    past = await kit.ask("/alert funding 0.005% btc")
    assert "already past it" in past.lines[0]
    assert len((await kit.ask("/alerts")).lines) == 1


async def test_a_rule_that_would_never_fire_needs_confirmation(kit: Kit) -> None:
    warning = await kit.ask("/alert near 1% $900b")
    assert "would never have fired" in warning.headline
    assert "Not saved yet." in warning.lines
    assert (await kit.ask("/alerts")).headline == "No alerts yet."
    offer, anyway = warning.buttons
    assert offer.label.startswith("Use ")
    assert (await kit.ask(anyway.command)).headline == "Alerts set: near 1% $900b, all coins"
    assert (await kit.ask(offer.command)).headline.startswith("Alerts set: near 1% ")


async def test_rules_pause_and_resume(kit: Kit) -> None:
    await kit.ask("/threshold normal")
    (rule,) = kit.services.pipeline.rules.of_chat((await kit.chat()).id)
    assert (await kit.ask(f"/alerts pause {rule.id}")).headline == f"Paused #{rule.id}: near normal · 1 alert here"
    assert not kit.services.pipeline.rules.rules
    assert (await kit.ask("/alerts")).lines[0].endswith("paused")
    assert (await kit.ask(f"/alerts resume {rule.id}")).headline == f"Resumed #{rule.id}: near normal · 1 alert here"
    assert kit.services.pipeline.rules.of_chat(rule.chat_id) == (rule,)


async def test_quiet_hours_follow_the_time_zone(kit: Kit) -> None:
    assert (await kit.ask("/quiet")).headline == "No quiet hours: alerts come any time"
    assert (await kit.ask("/timezone europe/berlin")).headline == "This chat's time zone is Europe/Berlin"
    answer = await kit.ask("/quiet 23:00-07:00 loud")
    assert answer.headline.startswith("Quiet 23:00-07:00: alerts are held")
    assert "(Europe/Berlin)" in answer.lines[0]
    assert (await kit.chat()).preferences == Preferences("Europe/Berlin", (1380, 420), loud=True)
    assert any("quiet hours" in line for line in (await kit.ask("/threshold normal")).lines)
    assert (await kit.ask("/quiet off")).headline == "No quiet hours: alerts come any time"


async def test_the_operator_lists_and_resends_dead_letters(kit: Kit) -> None:
    kit.services.configured_operators = frozenset({("telegram", "7")})
    assert (await kit.ask("/admin dead")).headline == "No failed messages."
    chat = await kit.chat("9")
    await kit.store.outbox.add_message(chat.id, {"kind": "test"})
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    await kit.store.outbox.give_up(message.id, "bad request")
    answer = await kit.ask("/admin dead")
    assert answer.headline == "1 failed message"
    assert "bad request" in answer.lines[0]
    assert (await kit.ask("/admin resend 99")).lines == ("Try: /admin resend all",)
    assert (await kit.ask(f"/admin resend {message.id}")).headline == "1 message will be sent again."
    assert (await kit.store.outbox.counts()) == {"ready": 1}


async def test_an_undelivered_alert_ends_its_cooldown_and_notifies_operators(kit: Kit) -> None:
    kit.services.configured_operators = frozenset({("telegram", "7")})
    await kit.chat("7")
    await kit.ask("/alert price 80k", "9")
    chat, book = await kit.chat("9"), kit.services.pipeline.rules
    (rule,) = book.of_chat(chat.id)
    facts = {"kind": "price", "asset": "BTC", "at": kit.clock.at}
    await kit.store.commit(TickRecord(1, alerts=[AlertRecord("k", "price", "BTC", chat.id, rule.id, 1, facts)]))
    book.last_fired_at[rule.id] = kit.clock.at
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    await kit.store.outbox.give_up(message.id, "bad request")
    await FailureHandler(kit.services, "telegram", None).undelivered(message.id, chat.id, "bad request")
    assert book.cooldown_until(rule) == 0
    notice = await kit.store.outbox.claim("telegram", 1000, ())
    assert notice is not None
    assert notice.remote_chat == "7"
    assert alert_answer(notice.body).headline == f"Couldn't deliver a message to chat {chat.id}: bad request"


async def test_risk_shows_its_parts(kit: Kit) -> None:
    answer = await kit.ask("/risk btc")
    assert answer.headline == f"BTC risk {answer.data['score']:.0f} of 100"
    assert 0 <= answer.data["score"] <= 100
    assert answer.data["score"] == pytest.approx(100 * sum(answer.data["parts"].values()) / len(answer.data["parts"]))
    assert not any(word in answer.text.lower() for word in ("target", "crash", "buy", "sell"))


async def test_settings_and_history_show_a_chats_data(kit: Kit) -> None:
    await kit.ask("/threshold normal")
    await kit.ask("/quiet 23:00-07:00 loud")
    await kit.ask("/mute btc 4h")
    answer = await kit.ask("/settings")
    assert answer.headline == "1 alert set here"
    assert "Quiet hours: 23:00-07:00, largest still come through (UTC)" in answer.lines
    assert "Muted: BTC" in answer.lines
    assert (await kit.ask("/history")).headline == "No alerts here yet."
    chat = await kit.chat()
    facts = {"kind": "price", "asset": "BTC", "at": kit.clock.at}
    await kit.store.commit(TickRecord(1, alerts=[AlertRecord("k", "price", "BTC", chat.id, 1, kit.clock.at, facts)]))
    (line,) = (await kit.ask("/history")).lines
    assert "BTC price: " in line


async def test_forget_asks_then_deletes_everything(kit: Kit) -> None:
    await kit.ask("/threshold normal")
    await kit.ask("/quiet 23:00-07:00")
    chat = await kit.chat()
    await kit.store.outbox.add_message(chat.id, {"kind": "test"})
    asked = await kit.ask("/forget")
    assert asked.headline.endswith("?")
    assert len(await kit.store.rules.of_chat(chat.id)) == 1
    assert (await kit.ask(asked.buttons[0].command)).headline == "Deleted 3 rows about this chat."
    assert await kit.store.rules.of_chat(chat.id) == []
    assert not kit.services.pipeline.rules.of_chat(chat.id)
    assert await kit.store.outbox.counts() == {}
    assert (await kit.chat()).preferences == Preferences()


async def test_the_suggested_rule_keeps_its_interval_and_expiry(kit: Kit) -> None:
    warning = await kit.ask("/alert near 1% $900b every 4h for 7d btc")
    for button in warning.buttons:
        assert button.command.endswith("btc every 4h for 168h save")
        assert len(button.command.encode()) <= 64
    saved = await kit.ask(warning.buttons[1].command)
    assert saved.headline == "Alerts set: near 1% $900b every 4h, BTC, for 7 d"


@pytest.mark.parametrize(
    ("error", "headline", "line"),
    [
        (DidYouMeanError("88", 88_000.0), "88 ", "If so: /liq"),
        (WithheldError(Answer("too old")), "too old", ""),
        (InputError("Pages start at 1.", "/clusters btc"), "Pages start at 1.", "Try: /clusters btc"),
        (CliffwatchError("not now"), "not now", ""),
        (ZeroDivisionError("secret"), "Something went wrong", ""),
    ],
)
async def test_each_error_becomes_the_answer_the_list_says(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, error: Exception, headline: str, line: str
) -> None:
    async def failing(request: Request) -> Answer:
        raise error

    monkeypatch.setattr(dispatch, "_answer", failing)
    reply = await kit.ask("/liq 88")
    assert headline in reply.headline
    assert line in "\n".join(reply.lines)
    assert "secret" not in reply.text
