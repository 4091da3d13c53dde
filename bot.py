"""Entry point of Cliffwatch: command line, wiring, life cycle."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rules import RULE_EXAMPLE, parse_rule
from engine.board import MODEL, AssetBoard
from engine.clock import ManualClock, ScaledClock, SystemClock
from engine.errors import CliffwatchError, HistoryError, InputError, SettingError, StorageError, VenueError
from engine.history import History, iso, parse_time, read_history, read_orders
from engine.market import DAY_MS
from engine.pipeline import AlertPipeline
from engine.ports import Clock, MarketStore
from engine.recording import SUFFIX, Recorder, RecordingStore, read_recording, take_up
from engine.replay import ReplayFeed, board_at
from engine.study.clusters import cluster_figures
from engine.study.entries import entry_figures
from engine.study.location import location_figures
from engine.study.skill import skill_figures, span_figures, walk_history, write_predictions
from engine.study.sweeps import sweep_figures
from engine.venues.ccxt_client import Access
from engine.venues.feed import LiveFeed
from engine.venues.names import is_name
from engine.venues.registry import VENUES
from engine.venues.universe import FALLBACK, Universe, by_open_interest
from engine.venues.worker import MAX_DAYS, VenueWorker
from handlers.alert_messages import alert_answer
from handlers.check import check, health_of
from handlers.commands.dispatch import answer
from handlers.context import NoMembership, Request, Services
from handlers.health import HEARTBEAT, read_heartbeat
from handlers.jobs import Jobs
from handlers.logs import redact, set_up_logging
from handlers.platforms.factory import build_platforms
from handlers.progress import show_history
from handlers.settings import Settings
from handlers.settings import load as load_settings
from handlers.supervisor import Supervisor
from storage.store import Store

log = logging.getLogger("bot")

DEMO_DAYS = 10
DEMO_VENUES = ("binanceusdm", "bybit", "okx")
DEMO_POLL_SECONDS = 0.5
RANKED = "ranked assets"
"""Key of the stored list of coins last chosen by open interest."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return the exit code: 0, 1 after a failure, 2 for invalid arguments or settings."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)  # files are private to the operator
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except (SettingError, HistoryError, InputError) as error:
        example = f" Try: {error.example}" if isinstance(error, InputError) and error.example else ""
        print(f"cliffwatch: {redact(str(error))}{example}", file=sys.stderr)
        return 2
    except CliffwatchError as error:
        print(f"cliffwatch: {redact(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cliffwatch", description="Warns of liquidation clusters in crypto markets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the bot")
    run.add_argument("--face", choices=["terminal"], help="also chat in the terminal (default if run in one)")
    run.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    run.add_argument("--new", action="store_true", help="create a new database where an earlier one is gone")
    run.set_defaults(run=_run)

    check_ = commands.add_parser("check", help="show settings, test connections, print invite links")
    check_.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    check_.set_defaults(run=_check)

    health = commands.add_parser("health", help="check a running bot: exit code 0 if healthy, 1 if not")
    health.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    health.set_defaults(run=_health)

    demo = commands.add_parser("demo", help="run on a simulated market in the terminal, without network")
    demo.add_argument("--seed", type=_seed, default=11, help="seed of the simulated market (default %(default)s)")
    demo.add_argument("--speed", type=_speed, default=60.0, help="market seconds per second (default %(default)g)")
    demo.set_defaults(run=_demo)

    replay = commands.add_parser("replay", help="print the alerts that a recorded history would have fired")
    _history_options(replay)
    replay.add_argument("--from", dest="since", type=_time, help="fire from then on; earlier bars warm up the map")
    replay.add_argument("--until", type=_time, help="stop at this time")
    replay.add_argument(
        "--rule",
        action="append",
        help=f"alert rule, such as {RULE_EXAMPLE!r} (default); may be repeated".replace("%", "%%"),
    )
    replay.set_defaults(run=_replay)

    ask = commands.add_parser("ask", help="answer one command from a recorded history")
    ask.add_argument("command", help="bot command, such as '/liq 88000'")
    _history_options(ask)
    ask.add_argument("--at", type=_time, help="answer as of this time (default: end of the history)")
    ask.set_defaults(run=_ask)

    record = commands.add_parser("record", help="record the venues' bars and liquidation orders until stopped")
    record.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"a {SUFFIX} file; an existing one is continued"
    )
    record.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    record.set_defaults(run=_record)

    export = commands.add_parser("export", help="export the database's bars and liquidation orders as a recording")
    export.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"a {SUFFIX} file that does not exist yet"
    )
    export.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    export.set_defaults(run=_export)

    skill = commands.add_parser("skill", help="score the map's predictions against a recorded history")
    _history_options(skill)
    skill.add_argument(
        "--from", dest="since", type=_time, required=True, help="score from this time; fit on earlier data"
    )
    skill.add_argument("--until", type=_time, help="score until this time")
    skill.add_argument(
        "--out", type=Path, metavar="PREDICTIONS", help="write hourly predictions as CSV: time, long USD, short USD"
    )
    skill.add_argument("--spans", type=_spans, metavar="1h,4h,24h", help="also score F(P) on newly reached levels")
    skill.set_defaults(run=_skill)

    located = commands.add_parser("located", help="score how well the map locates single liquidation orders")
    _history_options(located)
    located.add_argument(
        "--orders", type=Path, required=True, metavar="FILE", help="CSV: time,symbol,side,price,notional_usd"
    )
    located.set_defaults(run=_located)

    clusters = commands.add_parser("clusters", help="measure number, lifetime and turnover of clusters over a history")
    _history_options(clusters)
    clusters.add_argument(
        "--entered", action="store_true", help="measure how often clusters are entered, against placebo levels"
    )
    clusters.add_argument("--swept", action="store_true", help="measure reports at sweeps, against similar moves")
    clusters.add_argument(
        "--distance", type=float, default=0.01, help="of the near rule, a fraction of price (default %(default)s)"
    )
    clusters.set_defaults(run=_clusters)
    return parser


def _history_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--history", type=Path, required=True, metavar="FILE", help="bars in the format of docs/history.md"
    )
    parser.add_argument("--asset", help="coin (default: from the file's name, or the main one of a recording)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2025-12-14T00:00:00Z") from None


def _spans(text: str) -> tuple[int, ...]:
    hours = tuple(int(word[:-1]) if re.fullmatch(r"[1-9]\d?h", word) else 0 for word in text.split(","))
    if not all(hours):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a list of spans such as 1h,4h,24h")
    return hours


def _seed(text: str) -> int:
    if not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a whole number such as 7")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1 <= speed <= 3600:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a speed between 1 and 3600")
    return speed


def _history(options: argparse.Namespace) -> History:
    read = read_recording if options.history.suffix == SUFFIX else read_history
    history = read(options.history, options.asset)
    for gap in history.gaps:
        print(f"{options.history.name}: gap from {iso(gap.start)} to {iso(gap.end)}", file=sys.stderr)
    for where in history.odd:
        print(f"{options.history.name}: a gap at {where}", file=sys.stderr)
    return history


def _replay(options: argparse.Namespace) -> int:
    rules = [parse_rule(text) for text in options.rule or [RULE_EXAMPLE]]
    history, clock = _history(options), ManualClock()

    async def run() -> None:
        store = Store(None, SystemClock())
        await store.open()
        book = ActiveRules(replace(rule, id=number, chat_id=1) for number, rule in enumerate(rules, start=1))
        pipeline = AlertPipeline({history.market.asset: AssetBoard(history.market.asset)}, book, store)
        feed = ReplayFeed(history, clock, since=options.since or 0, until=options.until)
        async for delivered in feed.ticks():
            for alert in (await pipeline.process(delivered)).alerts:
                print(json.dumps(_alert_row(alert.facts)) if options.json else _alert_text(alert.facts), flush=False)
        await store.close()

    asyncio.run(run())
    return 0


def _alert_row(facts: dict[str, Any]) -> dict[str, Any]:
    cluster = _shown(facts["cluster"]) if "cluster" in facts else None
    row: dict[str, Any] = {
        "time": iso(facts["at"]),
        **{key: facts[key] for key in ("kind", "asset", "side", "price", "reason", "rule") if key in facts},
    }
    if "forced_usd" in facts:
        row |= {key: facts[key] for key in ("forced_usd", "forced_low_usd", "forced_high_usd")}
    return {**row, "cluster": cluster}


def _shown(cluster: dict[str, Any]) -> dict[str, Any]:
    return {key: cluster[key] for key in ("id", "label", "low", "high", "peak", "forced_usd", "side")}


def _alert_text(facts: dict[str, Any]) -> str:
    return f"{iso(facts['at'])}\n{alert_answer(facts).text}\n"


def _ask(options: argparse.Namespace) -> int:
    history = _history(options)
    board = board_at(history, options.at)
    clock = ManualClock(options.at if options.at is not None else board.closed_at)

    async def run() -> int:
        store = Store(None, SystemClock())
        await store.open()
        await store.add_liquidations([event for event in history.events if event.at <= clock.at])
        pipeline = AlertPipeline({board.asset: board}, ActiveRules(), store)
        chat = replace(await store.upsert_chat("terminal", "local", "private", ""), approved=True)
        services = Services(pipeline, store, clock, access="open")
        reply = await answer(Request("terminal", "local", chat, options.command, services, NoMembership()))
        await store.close()
        print(json.dumps({**reply.data, "text": reply.text}) if options.json else reply.text)
        return 0 if reply.data or not options.json else 2

    return asyncio.run(run())


def _clusters(options: argparse.Namespace) -> int:
    history = _history(options)
    figures = cluster_figures(history)
    if options.entered:
        figures |= entry_figures(history, options.distance)
    if options.swept:
        figures |= sweep_figures(history)
    return _print_figures(figures, options)


def _skill(options: argparse.Namespace) -> int:
    if options.until is not None and options.until <= options.since:
        raise HistoryError("--until is not after --from")
    if options.out and not options.out.parent.is_dir():
        raise HistoryError(f"there is no directory {options.out.parent}")
    walked = walk_history(_history(options))
    figures: dict[str, Any] = {"asset": walked.asset, **skill_figures(walked, options.since, options.until)}
    if options.spans:
        figures["spans"] = span_figures(walked, options.spans, options.since, options.until)
    if options.out:
        write_predictions(walked, options.out)
    print(json.dumps(figures) if options.json else _skill_text(figures))
    return 0


def _located(options: argparse.Namespace) -> int:
    history = _history(options)
    return _print_figures(location_figures(history, read_orders(options.orders, history.market.asset)), options)


def _print_figures(figures: dict[str, Any], options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):32} {value}")
    return 0


def _skill_text(figures: dict[str, Any]) -> str:
    lines = [f"{name:12} {value}" for name, value in figures.items() if name != "spans"]
    for row in figures.get("spans", ()):
        lines.append(
            f"F over {row['span_hours']} h: {row['deviance_removed']:.2f} of deviance removed, folds {row['folds']}"
        )
        for key, count in row["count"].items():
            over, coverage = row["over"][key], row["coverage"][key]
            shown = f"coverage {coverage:.2f}" if coverage is not None else "unmeasured"
            ratio = f"{over:5.2f}" if over is not None else "    -"
            churn = f"  plus churn ${row['churn'][key] / 1e6:.1f}M" if count else ""
            lines.append(f"  {key:14} {count:5} moves  reported / expected {ratio}  {shown}{churn}")
    return "\n".join(lines)


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options.env)
    set_up_logging(settings.log_level, settings.secrets)
    terminal = options.face == "terminal" or (options.face is None and sys.stdin is not None and sys.stdin.isatty())
    clock: Clock = SystemClock() if settings.clock == "system" else ScaledClock.parse(settings.clock)
    return asyncio.run(_live(settings, clock, terminal=terminal, new=options.new))


def _record(options: argparse.Namespace) -> int:
    settings = load_settings(options.env)
    set_up_logging(settings.log_level, settings.secrets)
    clock: Clock = SystemClock() if settings.clock == "system" else ScaledClock.parse(settings.clock)
    _recording_name(options.out)
    before = take_up(options.out)
    with options.out.open("a", encoding="utf-8") as handle:
        recorder = Recorder(handle)
        asyncio.run(_recorded(settings, clock, RecordingStore(recorder, before)))
    print(
        f"{recorder.bars:,} bars and {recorder.orders:,} liquidation orders written to {options.out.name}",
        file=sys.stderr,
    )
    return 0


async def _recorded(settings: Settings, clock: Clock, store: RecordingStore) -> None:
    """Follow the venues without rules or chats until a stop signal."""
    stop = _stopped()
    boards = {asset: AssetBoard(asset) for asset in settings.assets if settings.ranked is None}
    workers = _workers(settings, clock, store, boards)
    if settings.ranked is not None:
        chosen = (await by_open_interest(workers))[: settings.ranked] or list(FALLBACK)
        boards.update((asset, AssetBoard(asset)) for asset in chosen)
    for worker in workers:
        with contextlib.suppress(VenueError):  # lists none of them, which its state shows
            await worker.follow(list(boards))
    pipeline, feed = (
        AlertPipeline(boards, ActiveRules(), store),
        LiveFeed(workers, boards, store, clock, settings.poll_seconds),
    )

    async def follow() -> None:
        async for delivered in feed.ticks():
            await pipeline.process(delivered)

    tasks = [asyncio.create_task(work) for work in (follow(), show_history(feed, clock), stop.wait())]
    try:
        await asyncio.wait([tasks[0], tasks[2]], return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await feed.stop()


def _export(options: argparse.Namespace) -> int:
    settings = load_settings(options.env)
    _recording_name(options.out)
    if options.out.exists():
        raise HistoryError(f"{options.out.name} exists already; name another file")
    if not settings.database.exists():
        raise StorageError(f"there is no database {settings.database.name}")

    async def run(recorder: Recorder) -> None:
        store = Store(settings.database, SystemClock(), reading=True)
        await store.open()
        try:
            for market in await store.markets():
                recorder.add_bars((market, bar) for bar in await store.bars_since(market, 0))
                recorder.add_liquidations(await store.liquidations_of(market))
        finally:
            await store.close()

    unfinished = options.out.with_suffix(".unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as handle:
            recorder = Recorder(handle)
            asyncio.run(run(recorder))
        unfinished.replace(options.out)
    finally:
        unfinished.unlink(missing_ok=True)
    print(
        f"{recorder.bars:,} bars and {recorder.orders:,} liquidation orders written to {options.out.name}",
        file=sys.stderr,
    )
    return 0


def _recording_name(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise HistoryError(f"{path.name}: a recording's name ends in {SUFFIX}")
    if not path.parent.is_dir():
        raise HistoryError(f"there is no directory {path.parent}")


def _stopped() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _workers(
    settings: Settings, clock: Clock, store: MarketStore, boards: Mapping[str, AssetBoard]
) -> list[VenueWorker]:
    """Return a worker for each configured venue. It follows no coin yet."""
    proxies = settings.venue_proxies or {}
    return [
        VenueWorker(
            VENUES[venue](Access(settings.venue_gateway, proxies.get(venue), clock.now)),
            [],
            store,
            clock,
            settings.history_days,
            lambda market: boards[market.asset].maps.closed_at_of(market) if market.asset in boards else 0,
            settings.poll_seconds,
        )
        for venue in settings.venues
    ]


async def _live(
    settings: Settings,
    clock: Clock,
    *,
    terminal: bool,
    in_memory: bool = False,
    simulated: bool = False,
    new: bool = False,
) -> int:
    """Wire everything together, run it until a stop signal, and close it. Return the exit code."""
    stop, wall = _stopped(), SystemClock()
    store = Store(None if in_memory else settings.database, wall, new=new)
    await store.open()
    try:
        boards: dict[str, AssetBoard] = {}
        book = await store.load_book()
        workers = _workers(settings, clock, store, boards)
        pipeline = AlertPipeline(boards, book, store)
        feed = LiveFeed(workers, boards, store, clock, settings.poll_seconds)
        feed.review = await _choose_assets(settings, clock, store, workers, pipeline, feed)
        pipeline.downtime.begin(await store.priced_until(), await store.stale_since())
        simulated = simulated or isinstance(clock, ScaledClock)
        services = Services(pipeline, store, clock, settings.access, simulated)
        platforms = await build_platforms(settings, services, wall, in_terminal=terminal)
        started_at = clock.now()
        services.health = lambda: health_of(feed, clock, platforms.states(), started_at)
        services.wake = platforms.wake
        supervisor = Supervisor(
            services, Jobs(services, feed, store), platforms.dispatchers, platforms.runners, platforms.foreground
        )
        progress = asyncio.create_task(show_history(feed, clock)) if terminal and not simulated else None
        try:
            return await supervisor.run(stop)
        finally:
            if progress is not None:
                progress.cancel()
            await feed.stop()
            await platforms.close()
    finally:
        await store.close()


async def _choose_assets(
    settings: Settings,
    clock: Clock,
    store: Store,
    workers: Sequence[VenueWorker],
    pipeline: AlertPipeline,
    feed: LiveFeed,
) -> Callable[[], Awaitable[None]] | None:
    """Make the boards of the named coins, or of those with the most open interest.

    Return a function that reviews the choice by open interest, or None if the coins are named.
    """

    def make_board(asset: str) -> Awaitable[AssetBoard]:
        return _board(store, asset, settings.venues, clock)

    async def forget(asset: str) -> None:
        await store.forget_asset(asset)
        pipeline.downtime.drop(asset)
        feed.forget(asset)

    if settings.ranked is None:
        for asset in settings.assets:
            pipeline.boards[asset] = await make_board(asset)
        for worker in workers:
            await worker.follow(settings.assets)
        return None
    universe = Universe(settings.ranked, workers, pipeline.boards, make_board, pipeline.rules.assets, forget)

    async def review() -> None:
        last_choice = _names(await store.get_meta(RANKED))
        await store.set_meta(RANKED, json.dumps(await universe.review(last_choice)))

    await review()
    return review


def _names(text: str | None) -> list[str]:
    """Return the coins of a stored list, none if it cannot be read."""
    try:
        return [str(name) for name in json.loads(text or "[]") if is_name(str(name))]
    except (ValueError, TypeError):
        return []


async def _board(store: Store, asset: str, venues: Sequence[str], clock: Clock) -> AssetBoard:
    """Return an asset's board from its checkpoint, or an empty one."""
    state = await store.load_checkpoint(asset)
    if state is None or state.get("model") != MODEL:
        return AssetBoard(asset)  # it is built from history
    try:
        board = AssetBoard.restore(asset, venues, state)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        # A checkpoint is a cache: an unreadable one is rebuilt from history.
        log.warning("the checkpoint of %s cannot be read (%s); rebuilding it", asset, type(error).__name__)
        return AssetBoard(asset)
    if clock.now() - board.closed_at > MAX_DAYS * DAY_MS:
        return AssetBoard(asset)  # too old: venues no longer have the bars since
    board.reported.restore_orders(await store.reported_since(asset, board.closed_at - 2 * DAY_MS))
    return board


def _demo(options: argparse.Namespace) -> int:
    from engine.loopback.server import LoopbackExchange
    from engine.loopback.simulated import SimulatedSource
    from engine.loopback.tape import Tape

    settings = load_settings(None, {})
    set_up_logging("WARNING", ())
    now = SystemClock().now()
    clock = ScaledClock(now, now, options.speed)

    async def run() -> int:
        source = SimulatedSource(options.seed, now, DEMO_DAYS)
        exchange = LoopbackExchange({source.asset: Tape(source)}, clock)
        await exchange.start()
        try:
            demo_settings = replace(
                settings,
                venues=DEMO_VENUES,
                assets=(source.asset,),
                venue_gateway=exchange.url,
                history_days=DEMO_DAYS,
                poll_seconds=max(settings.poll_seconds, DEMO_POLL_SECONDS * options.speed),
                access="open",
            )
            return await _live(demo_settings, clock, terminal=True, in_memory=True, simulated=True)
        finally:
            await exchange.stop()

    return asyncio.run(run())


def _health(options: argparse.Namespace) -> int:
    settings = load_settings(options.env)
    if not settings.database.exists():
        raise StorageError(f"there is no database {settings.database.name}")

    async def read() -> str | None:
        store = Store(settings.database, SystemClock(), reading=True)
        await store.open()
        try:
            return await store.get_meta(HEARTBEAT)
        finally:
            await store.close()

    lines, well = read_heartbeat(asyncio.run(read()), SystemClock().now())
    for line in lines:
        print(line)
    return 0 if well else 1


def _check(options: argparse.Namespace) -> int:
    settings = load_settings(options.env)
    set_up_logging("ERROR", settings.secrets)
    lines, well = asyncio.run(check(settings))
    for line in lines:
        print(line)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
