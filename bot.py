"""Entry point: parse, dispatch, exit codes, and the wiring of store, engine and platforms."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from engine.errors import CliffwatchError, HistoryError, InputError, SettingError, StorageError
from handlers.cli.parser import build_parser

if TYPE_CHECKING:
    from engine.ports import Clock
    from handlers.settings import Settings
    from storage.store import Store

# Everything heavy is imported by the command that needs it: ccxt and the chat libraries take most of a second each.

T = TypeVar("T")

DEMO_DAYS = 10
DEMO_VENUES = ("binanceusdm", "bybit", "okx")
DEMO_POLL_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return 0, 1 after a failure, or 2 for invalid arguments or settings."""
    options = build_parser().parse_args(arguments)
    os.umask(0o077)  # what it writes is for its operator alone
    try:
        return COMMANDS[options.command_name](options)
    except (SettingError, HistoryError, InputError) as error:
        example = f" Try: {error.example}" if isinstance(error, InputError) and error.example else ""
        return _fail(f"{error}{example}", 2)
    except CliffwatchError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        return 0


def _fail(text: str, code: int) -> int:
    from handlers.logs import redact

    print(f"cliffwatch: {redact(text)}", file=sys.stderr)
    return code


# -- a running bot


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    in_terminal = sys.stdin is not None and sys.stdin.isatty() and options.face is None
    terminal = options.terminal or options.face == "terminal" or in_terminal

    async def live() -> int:
        return await _live(settings, _clock(settings), terminal=terminal, new=options.new)

    return asyncio.run(live())


def _demo(options: argparse.Namespace) -> int:
    from engine.clock import ScaledClock, SystemClock
    from engine.loopback.server import LoopbackExchange
    from engine.loopback.simulated import SimulatedSource
    from engine.loopback.tape import Tape
    from handlers import settings
    from handlers.logs import set_up_logging

    defaults = settings.load(None, {})
    set_up_logging("WARNING", ())
    now = SystemClock().now()
    clock = ScaledClock(now, now, options.speed)

    async def run() -> int:
        source = SimulatedSource(options.seed, now, DEMO_DAYS)
        exchange = LoopbackExchange({source.asset: Tape(source)}, clock)
        await exchange.start()
        try:
            demo = replace(
                defaults,
                venues=DEMO_VENUES,
                assets=(source.asset,),
                venue_gateway=exchange.url,
                history_days=DEMO_DAYS,
                poll_seconds=max(defaults.poll_seconds, DEMO_POLL_SECONDS * options.speed),
                access="open",
            )
            return await _live(demo, clock, terminal=True, in_memory=True, simulated=True)
        finally:
            await exchange.stop()

    return asyncio.run(run())


async def _live(
    settings: Settings,
    clock: Clock,
    *,
    terminal: bool,
    in_memory: bool = False,
    simulated: bool = False,
    new: bool = False,
) -> int:
    """Wire everything together, run it until it is stopped, and take it apart again."""
    from engine.clock import ScaledClock, SystemClock
    from engine.pipeline import AlertPipeline
    from engine.venues.feed import LiveFeed
    from handlers.check import health_of
    from handlers.context import Services
    from handlers.jobs import Jobs
    from handlers.platforms.factory import build_platforms
    from handlers.progress import show_history
    from handlers.startup import build_workers, choose_assets, stop_signal
    from handlers.supervisor import Supervisor
    from storage.store import Store

    stop, wall = stop_signal(), SystemClock()
    store = Store(None if in_memory else settings.database, wall, new=new)
    await store.open()
    try:
        pipeline = AlertPipeline({}, await store.rules.load(), store)
        workers = build_workers(settings, clock, store.market, pipeline.boards)
        feed = LiveFeed(workers, pipeline.boards, store.market, clock, settings.poll_seconds)
        feed.review = await choose_assets(settings, clock, store, workers, pipeline, feed)
        pipeline.downtime.begin(await store.market.priced_until(), await store.market.stale_since())
        simulated = simulated or isinstance(clock, ScaledClock)
        services = Services(pipeline, store, clock, settings.access, simulated)
        platforms = await build_platforms(settings, services, wall, in_terminal=terminal)
        started_at = clock.now()
        services.health = lambda: health_of(feed, clock, platforms.states(), started_at)
        services.wake = platforms.wake
        supervisor = Supervisor(
            services, Jobs(services, feed), platforms.dispatchers, platforms.runners, platforms.foreground
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


# -- checks


def _check(options: argparse.Namespace) -> int:
    from handlers.check import check

    lines, well = asyncio.run(check(_settings(options, "ERROR")))
    print("\n".join(lines))
    return 0 if well else 1


def _health(options: argparse.Namespace) -> int:
    from engine.clock import SystemClock
    from handlers.health import HEARTBEAT, read_heartbeat

    heartbeat = asyncio.run(_with_database(_settings(options), lambda store: store.meta.get(HEARTBEAT)))
    lines, well = read_heartbeat(heartbeat, SystemClock().now())
    print("\n".join(lines))
    return 0 if well else 1


# -- histories and recordings


def _replay(options: argparse.Namespace) -> int:
    from handlers.cli.studies import replay

    return asyncio.run(_in_memory(lambda store: replay(options, store)))


def _ask(options: argparse.Namespace) -> int:
    from handlers.cli.studies import ask

    return asyncio.run(_in_memory(lambda store: ask(options, store)))


def _clusters(options: argparse.Namespace) -> int:
    from handlers.cli.studies import clusters

    return clusters(options)


def _skill(options: argparse.Namespace) -> int:
    from handlers.cli.studies import skill

    return skill(options)


def _located(options: argparse.Namespace) -> int:
    from handlers.cli.studies import located

    return located(options)


def _record(options: argparse.Namespace) -> int:
    from handlers.cli.recordings import record

    settings = _settings(options)
    return asyncio.run(record(options, settings, _clock(settings)))


def _export(options: argparse.Namespace) -> int:
    from handlers.cli.recordings import check_export, export

    settings = _settings(options)
    check_export(options.out)
    return asyncio.run(_with_database(settings, lambda store: export(options, store)))


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "demo": _demo,
    "check": _check,
    "health": _health,
    "replay": _replay,
    "ask": _ask,
    "clusters": _clusters,
    "skill": _skill,
    "located": _located,
    "record": _record,
    "export": _export,
}


def _settings(options: argparse.Namespace, log_level: str = "") -> Settings:
    """Load the settings and set up the log.

    Raises:
        SettingError: when one is invalid.
    """
    from handlers import settings
    from handlers.logs import set_up_logging

    loaded = settings.load(options.env)
    set_up_logging(log_level or loaded.log_level, loaded.secrets)
    return loaded


def _clock(settings: Settings) -> Clock:
    from engine.clock import ScaledClock, SystemClock

    return SystemClock() if settings.clock == "system" else ScaledClock.parse(settings.clock)


async def _in_memory(work: Callable[[Store], Awaitable[T]]) -> T:
    """Run work on an empty store in memory."""
    return await _with_store(None, work)


async def _with_database(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Run work on the database, which a running bot may have open.

    Raises:
        StorageError: when there is none, or it cannot be read.
    """
    if not settings.database.exists():
        raise StorageError(f"there is no database {settings.database.name}")
    return await _with_store(settings.database, work)


async def _with_store(path: Path | None, work: Callable[[Store], Awaitable[T]]) -> T:
    from engine.clock import SystemClock
    from storage.store import Store

    store = Store(path, SystemClock(), reading=path is not None)
    await store.open()
    try:
        return await work(store)
    finally:
        await store.close()


if __name__ == "__main__":
    sys.exit(main())
