"""The command line: replay, ask, clusters, check; what is wrong is one sentence and exit code 2."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import bot
from engine.clock import ManualClock
from engine.history import iso
from handlers.check import check
from handlers.settings import load
from tests.conftest import HISTORY, needs_history
from tests.engine.loopback.markets import START as MARKET_START
from tests.engine.loopback.markets import exchange
from tests.servers.discord import DiscordServer
from tests.servers.telegram import TelegramServer

HOUR = 3_600_000
START = 1_765_000_000_000 // HOUR * HOUR
WORDS = "asset at reference_price price side forced_usd near_usd rank of usual_ratio cluster venues age_seconds text"
ANSWER_KEYS = set(WORDS.split())


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days of a made-up market that falls and rises through its own clusters."""
    path = tmp_path_factory.mktemp("history") / "btc_made_up.csv"
    rows = ["time,open,high,low,close,open_interest_usd,funding_rate,long_liquidations_usd,short_liquidations_usd"]
    before = 90_000.0
    for hour in range(960):
        close = 90_000 * math.exp(0.05 * math.sin(hour / 61) + 0.015 * math.sin(hour / 7))
        high, low = max(before, close) * 1.002, min(before, close) * 0.998
        interest = (80_000 + 9_000 * math.sin(hour / 29)) * close
        rows.append(f"{iso(START + hour * HOUR)},{before},{high},{low},{close},{interest},0.0001,100000,50000")
        before = close
    path.write_text("\n".join(rows) + "\n")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = bot.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_replay_prints_the_same_bytes_twice(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = [run(capsys, "replay", "--history", str(history), "--rule", "near 1% busy", "--json") for _ in range(2)]
    assert outputs[0] == outputs[1]
    status, out, _ = outputs[0]
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["kind"] for row in rows} >= {"near", "swept"}
    for row in rows:
        assert {"time", "kind", "asset", "side", "price", "reason", "cluster"} <= set(row)
        assert {"id", "label", "low", "high", "peak", "forced_usd", "side"} == set(row["cluster"])
        assert row["cluster"]["low"] < row["cluster"]["peak"] < row["cluster"]["high"]


def test_replay_for_people_reads_like_the_messages(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "replay", "--history", str(history), "--from", iso(START + 700 * HOUR))
    assert status == 0
    assert "cluster" in out
    assert min(line for line in out.splitlines() if line.startswith("20")) > iso(START + 700 * HOUR)


def test_ask_answers_as_of_a_time(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = START + 500 * HOUR
    status, out, _ = run(capsys, "ask", "/liq -3%", "--history", str(history), "--at", iso(at), "--json")
    assert status == 0
    found = json.loads(out)
    assert set(found) >= ANSWER_KEYS
    assert found["at"] == at
    assert found["price"] == pytest.approx(found["reference_price"] * 0.97)
    assert run(capsys, "ask", "/liq 86000", "--history", str(history))[1].startswith("BTC 86,000: ~$")


def test_clusters_measures_a_history(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "clusters", "--history", str(history), "--json")[1])
    assert found["asset"] == "BTC"
    assert found["number_per_side"] > 0
    assert 0.002 <= found["width_fraction"] <= 0.006
    assert found["median_life_hours"] > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("replay", "--history", "nowhere.csv"), "nowhere.csv: cannot be read"),
        (("replay", "--history", "HISTORY", "--rule", "close 1%"), "A rule begins with near"),
        (("ask", "/liq", "--history", "HISTORY", "--at", "2001-01-01T00:00:00Z"), "nothing is known by 2001-01-01"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    history: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    status, _, err = run(capsys, *(str(history) if word == "HISTORY" else word for word in arguments))
    assert status == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_wrong_setting_is_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIFFWATCH_TELEGRAM_TOKKEN", "x")
    status, _, err = run(capsys, "run")
    assert (status, err) == (
        2,
        "cliffwatch: CLIFFWATCH_TELEGRAM_TOKKEN is not a setting; the nearest is CLIFFWATCH_TELEGRAM_TOKEN\n",
    )


@pytest.mark.parametrize("bad", [("--speed", "0"), ("--speed", "fast"), ("--seed", "-1"), ("--at", "noon")])
def test_bad_options_end_with_two(bad: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ("ask", "/liq", "--history", "x", *bad) if bad[0] == "--at" else ("demo", *bad)
    with pytest.raises(SystemExit) as caught:
        bot.main(command)
    assert caught.value.code == 2
    assert "is not" in capsys.readouterr().err


@needs_history
def test_a_gap_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, "ask", "/liq 88000", "--history", str(HISTORY))
    assert "gap from 2025-12-27T18:00:00Z to 2025-12-27T19:00:00Z" in err
    assert err.count("gap from") == 5


async def test_check_says_what_is_set_and_what_can_be_reached(tmp_path: Path) -> None:
    clock = ManualClock(MARKET_START + 3 * 86_400_000)
    server, telegram, discord = await exchange(clock), TelegramServer(), DiscordServer()
    await telegram.start()
    await discord.start()
    server.fail("bybit", "down")
    settings = load(
        None,
        {
            "CLIFFWATCH_VENUE_GATEWAY": server.url,
            "CLIFFWATCH_ASSETS": "BTC",
            "CLIFFWATCH_TELEGRAM_TOKEN": telegram.token,
            "CLIFFWATCH_TELEGRAM_API": telegram.url,
            "CLIFFWATCH_DISCORD_TOKEN": discord.token,
            "CLIFFWATCH_DISCORD_API": discord.api,
            "CLIFFWATCH_DISCORD_GATEWAY": discord.gateway,
        },
    )
    lines, well = await check(settings)
    text = "\n".join(lines)
    assert well
    assert "Binance          reached: BTC" in text
    assert "Bybit            not available" in text
    assert "https://t.me/cliffwatch_bot" in text
    assert "scope=bot" in text
    assert "permissions=" in text
    assert telegram.token not in text
    assert discord.token not in text
    for each in (server, telegram, discord):
        await each.stop()
