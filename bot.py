"""Cliffwatch: entry point. Command line, wiring, life cycle; nothing else."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.alerts.book import RuleBook
from engine.alerts.rules import RULE_EXAMPLE, parse_rule
from engine.board import AssetBoard
from engine.clock import ManualClock, SystemClock
from engine.errors import CliffwatchError, HistoryError, InputError, SettingError
from engine.history import History, iso, parse_time, read_history
from engine.replay import ReplayFeed, board_at
from engine.study import cluster_figures
from engine.watch import Watch
from handlers.commands import answer
from handlers.context import NoMembership, Request, Services
from handlers.messages import alert_answer
from storage.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 after a failure, 2 for what was typed or set wrongly."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except (SettingError, HistoryError, InputError) as error:
        example = f" Try: {error.example}" if isinstance(error, InputError) and error.example else ""
        print(f"cliffwatch: {error}{example}", file=sys.stderr)
        return 2
    except CliffwatchError as error:
        print(f"cliffwatch: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cliffwatch", description="Warns where leveraged crypto positions break.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    replay = commands.add_parser("replay", help="the alerts that a recorded history would have made")
    _history_options(replay)
    replay.add_argument("--from", dest="since", type=_time, help="warm up until then")
    replay.add_argument("--until", type=_time, help="stop there")
    replay.add_argument("--rule", action="append", help=f"such as {RULE_EXAMPLE!r} (default); may be repeated")
    replay.set_defaults(run=_replay)

    ask = commands.add_parser("ask", help="one answer from a recorded history")
    ask.add_argument("command", help="such as '/liq 88000'")
    _history_options(ask)
    ask.add_argument("--at", type=_time, help="as of then; the history's end by default")
    ask.set_defaults(run=_ask)

    clusters = commands.add_parser("clusters", help="number, life and churn of clusters over a history")
    _history_options(clusters)
    clusters.set_defaults(run=_clusters)
    return parser


def _history_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--history", type=Path, required=True, metavar="FILE", help="bars as docs/history.md says")
    parser.add_argument("--asset", help="the coin; by default the first word of the file's name")
    parser.add_argument("--json", action="store_true", help="for machines")


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2025-12-14T00:00:00Z") from None


def _history(options: argparse.Namespace) -> History:
    history = read_history(options.history, options.asset)
    for gap in history.gaps:
        print(f"{options.history.name}: gap from {iso(gap.start)} to {iso(gap.end)}", file=sys.stderr)
    return history


def _replay(options: argparse.Namespace) -> int:
    rules = [parse_rule(text) for text in options.rule or [RULE_EXAMPLE]]
    history, clock = _history(options), ManualClock()

    async def run() -> None:
        store = Store(None, SystemClock())
        await store.open()
        book = RuleBook(replace(rule, id=number, chat_id=1) for number, rule in enumerate(rules, start=1))
        watch = Watch({history.market.asset: AssetBoard(history.market.asset)}, book, store)
        feed = ReplayFeed(history, clock, since=options.since or 0, until=options.until)
        async for delivered in feed.ticks():
            for alert in (await watch.tick(delivered)).alerts:
                print(json.dumps(_alert_row(alert.facts)) if options.json else _alert_text(alert.facts), flush=False)
        await store.close()

    asyncio.run(run())
    return 0


def _alert_row(facts: dict[str, Any]) -> dict[str, Any]:
    cluster = {key: facts["cluster"][key] for key in ("id", "label", "low", "high", "peak", "forced_usd", "side")}
    row = {
        "time": iso(facts["at"]),
        **{key: facts[key] for key in ("kind", "asset", "side", "price", "reason", "rule")},
    }
    if "forced_usd" in facts:
        row |= {key: facts[key] for key in ("forced_usd", "forced_low_usd", "forced_high_usd")}
    return {**row, "cluster": cluster}


def _alert_text(facts: dict[str, Any]) -> str:
    return f"{iso(facts['at'])}\n{alert_answer(facts).text}\n"


def _ask(options: argparse.Namespace) -> int:
    history = _history(options)
    board = board_at(history, options.at)
    clock = ManualClock(options.at if options.at is not None else board.closed_at)

    async def run() -> int:
        store = Store(None, SystemClock())
        await store.open()
        watch = Watch({board.asset: board}, RuleBook(), store)
        chat = replace(await store.see_chat("terminal", "local", "private", ""), approved=True)
        services = Services(watch, store, clock, access="open")
        found = await answer(Request("terminal", "local", chat, options.command, services, NoMembership()))
        await store.close()
        print(json.dumps({**found.data, "text": found.text}) if options.json else found.text)
        return 0 if found.data or not options.json else 2

    return asyncio.run(run())


def _clusters(options: argparse.Namespace) -> int:
    figures = cluster_figures(_history(options))
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):32} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
