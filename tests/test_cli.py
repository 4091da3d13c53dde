"""The command line: replay, ask, clusters, check and others. An error is one sentence and exit status 2."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import bot
from engine.clock import ManualClock, SystemClock
from engine.history import iso
from engine.market import Bar, Liquidation
from engine.recording import read_recording
from handlers.check import check
from handlers.health import HEARTBEAT, Signs, heartbeat
from handlers.settings import load
from storage.store import Store
from tests.conftest import HISTORY, needs_history, until
from tests.engine.loopback.markets import START as MARKET_START
from tests.engine.loopback.markets import exchange
from tests.handlers.kit import MARKETS
from tests.process import ROOT, Process
from tests.servers.discord import DiscordServer
from tests.servers.telegram import TelegramServer

HOUR = 3_600_000
START = 1_765_000_000_000 // HOUR * HOUR
WORDS = "asset at reference_price price side forced_usd near_usd rank of usual_ratio cluster venues age_seconds text"
ANSWER_KEYS = set(WORDS.split())


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write forty days of a synthetic market that falls and rises through its own clusters. Return the file."""
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


COMMANDS = ("run", "check", "health", "demo", "replay", "ask", "record", "export", "skill", "located", "clusters")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A percent sign in a help text once caused a traceback."""
    with pytest.raises(SystemExit) as caught:
        bot.main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: cliffwatch {command}".rstrip())
    if not command:
        assert {line.split()[0] for line in out.splitlines() if line.startswith("    ")} >= set(COMMANDS)


def test_replay_prints_the_same_bytes_twice(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = [run(capsys, "replay", "--history", str(history), "--rule", "near 1% busy", "--json") for _ in range(2)]
    assert outputs[0] == outputs[1]
    status, out, _ = outputs[0]
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["kind"] for row in rows} >= {"near", "swept"}
    for row in rows:
        assert {"time", "kind", "asset", "side", "price", "reason", "cluster"} <= set(row)
        if row["kind"] in ("surge", "fresh"):
            assert row["cluster"] is None, "they have no cluster"
            continue
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
    answer = json.loads(out)
    assert set(answer) >= ANSWER_KEYS
    assert answer["at"] == at
    assert answer["price"] == pytest.approx(answer["reference_price"] * 0.97)
    assert run(capsys, "ask", "/liq 86000", "--history", str(history))[1].startswith("BTC 86,000: ~$")


def test_clusters_measures_a_history(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = json.loads(run(capsys, "clusters", "--history", str(history), "--json")[1])
    assert measured["asset"] == "BTC"
    assert measured["number_per_side"] > 0
    assert 0.002 <= measured["width_fraction"] <= 0.006
    assert measured["median_life_hours"] > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("replay", "--history", "nowhere.csv"), "nowhere.csv: cannot be read"),
        (("replay", "--history", "HISTORY", "--rule", "close 1%"), "A rule starts with one of near"),
        (("ask", "/liq", "--history", "HISTORY", "--at", "2001-01-01T00:00:00Z"), "nothing is known by 2001-01-01"),
    ],
)
def test_an_error_is_one_sentence(
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
def test_bad_options_exit_with_2(bad: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
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


async def test_check_reports_venues_and_bots_without_tokens(tmp_path: Path) -> None:
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


async def filled_store(path: Path) -> Store:
    store = Store(path, SystemClock())
    await store.open()
    rows = [(MARKETS[0], bar) for bar in short_bars()]
    await store.market.save_markets(MARKETS)
    await store.market.add_bars(rows)
    await store.market.add_liquidations([Liquidation(MARKETS[0], MARKET_START + 5, "long", 88_000.0, 0.5)])
    return store


def short_bars() -> list[Bar]:
    return [
        Bar(MARKET_START + i * 300_000, 300_000, 90_000.0, 90_100.0, 89_900.0, 90_050.0, 80_000.0 + i)
        for i in range(20)
    ]


async def test_export_reads_the_database_of_a_running_bot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIFFWATCH_DATABASE", str(tmp_path / "a.sqlite"))
    store = await filled_store(tmp_path / "a.sqlite")  # still open, so its lock is held
    out = tmp_path / "market.jsonl"
    status, _, err = await asyncio.to_thread(run, capsys, "export", "--out", str(out))
    assert (status, err) == (0, "20 bars and 1 liquidation orders written to market.jsonl\n")
    history = read_recording(out)
    assert list(history.bars) == short_bars()
    assert [event.notional_usd for event in history.events] == [44_000.0]
    status, _, err = await asyncio.to_thread(run, capsys, "export", "--out", str(out))
    assert (status, err) == (2, "cliffwatch: market.jsonl exists already; name another file\n")
    await store.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export", "--out", "x.csv"), "x.csv: a recording's name ends in .jsonl"),
        (("export", "--out", "nowhere/x.jsonl"), "there is no directory"),
        (("record", "--out", "x.csv"), "x.csv: a recording's name ends in .jsonl"),
        (("skill", "--history", "HISTORY", "--from", "2025-12-07"), "two weeks"),
    ],
)
def test_unusable_files_and_spans_are_one_sentence(
    history: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    status, _, err = run(capsys, *(str(history) if word == "HISTORY" else word for word in arguments))
    assert status == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


@needs_history
def test_skill_prints_each_figure_and_writes_predictions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    options = ("--from", "2026-03-01T00:00:00Z", "--until", "2026-03-08T00:00:00Z", "--spans", "4h", "--out", str(out))
    status, text, _ = run(capsys, "skill", "--history", str(HISTORY), *options)
    assert status == 0
    assert "bars         168" in text
    assert "F over 4 h: " in text
    assert out.read_text(encoding="utf-8").startswith("time,long_usd,short_usd\n")
    with pytest.raises(SystemExit):
        bot.main(["skill", "--history", "x", "--from", "2026-03-01", "--spans", "soon"])


async def test_an_idle_terminal_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    clock = ManualClock(MARKET_START + 3 * 86_400_000)
    server = await exchange(clock)
    process = Process(
        tmp_path,
        DATABASE=str(tmp_path / "a.sqlite"),
        VENUE_GATEWAY=server.url,
        VENUES="okx",
        ASSETS="BTC",
        CLOCK=f"{clock.at}@{SystemClock().now()}x1",
        HISTORY_DAYS="1",
    )
    try:
        await process.start("run", "--face", "terminal", typing=True)
        await until(lambda: server.requests["okx"] > 5)
        assert await process.terminate() == 0, process.errors
        assert "Fatal" not in process.errors
    finally:
        await process.close()
        await server.stop()


@needs_history
def test_located_compares_the_map_to_distance_and_freshness(capsys: pytest.CaptureFixture[str]) -> None:
    orders = str(HISTORY.with_name("okx_liquidations_2026-03-04_2026-03-05.csv"))
    status, text, _ = run(capsys, "located", "--history", str(HISTORY), "--orders", orders, "--json")
    scores = json.loads(text)
    assert status == 0
    assert scores["orders"] > 800
    assert scores["map_nats_by_usd"] > 0.15
    assert scores["freshness_nats_by_usd"] > 0.15


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,symbol,side,price,notional_usd\n", "no liquidation order of BTC in it"),
        ("time,symbol,side,price,notional_usd\nnoon,BTC/USDT:USDT,long,1,1\n", "line 2"),
        ("time,symbol\n2026-01-01,BTC/USDT:USDT\n", "line 2"),
        ("time,symbol,side,price,notional_usd\n2001-01-01,BTC/USDT:USDT,long,1,1\n", "falls within the history"),
    ],
)
def test_unusable_orders_are_one_sentence(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text(text, encoding="utf-8")
    status, _, err = run(capsys, "located", "--history", str(history), "--orders", str(orders))
    assert status == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_health_reads_the_heartbeat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "a.sqlite"
    monkeypatch.setenv("CLIFFWATCH_DATABASE", str(database))
    status, _, error = run(capsys, "health")
    assert (status, error) == (1, "cliffwatch: there is no database a.sqlite\n")

    async def leave(signs: Signs) -> None:
        store = Store(database, SystemClock())
        await store.open()
        await store.meta.set(HEARTBEAT, heartbeat(SystemClock().now(), signs))
        await store.close()

    asyncio.run(leave(Signs()))
    status, out, _ = run(capsys, "health")
    assert (status, out[:5]) == (0, "well ")
    asyncio.run(leave(Signs(oldest_due=130.0)))
    assert run(capsys, "health")[:2] == (1, "messages: 130 s\n")


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "ask --history {history} /liq",
        "replay --history {history}",
        "skill --history {history} --from 2026-01-01",
    ],
)
def test_what_needs_no_market_loads_no_exchange_and_no_chat_library(line: str, history: Path) -> None:
    """ccxt and the chat libraries take most of the time a start takes."""
    script = (
        "import contextlib, sys, bot\n"
        "with contextlib.suppress(SystemExit): bot.main(sys.argv[1:])\n"
        "print('loaded:', *({'ccxt', 'telegram', 'discord', 'aiohttp', 'matplotlib'} & sys.modules.keys()))\n"
    )
    arguments = [history.as_posix() if word == "{history}" else word for word in line.split()]
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout.splitlines()[-1] == "loaded:", result.stdout + result.stderr
