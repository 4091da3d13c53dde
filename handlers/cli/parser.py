"""What can be typed: commands, their options, and how each is read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from engine.alerts.rules import RULE_EXAMPLE
from engine.history import parse_time
from engine.recording import SUFFIX

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  # the only name it has


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. Its result names the command as `command_name`."""
    parser = argparse.ArgumentParser(prog="cliffwatch", description="Warns of liquidation clusters in crypto markets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_live(commands)
    _add_studies(commands)
    _add_recordings(commands)
    return parser


def _add_live(commands: Commands) -> None:
    run = commands.add_parser("run", help="run the bot")
    run.add_argument("--terminal", action="store_true", help="also chat in the terminal (default if run in one)")
    run.add_argument("--face", choices=["terminal", "none"], help=argparse.SUPPRESS)  # --terminal's former name
    run.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    run.add_argument("--new", action="store_true", help="create a new database where an earlier one is gone")
    run.set_defaults(command_name="run")

    check_ = commands.add_parser("check", help="show settings, test connections, print invite links")
    check_.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    check_.set_defaults(command_name="check")

    health = commands.add_parser("health", help="check a running bot: exit code 0 if healthy, 1 if not")
    health.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    health.set_defaults(command_name="health")

    demo = commands.add_parser("demo", help="run on a simulated market in the terminal, without network")
    demo.add_argument("--seed", type=_seed, default=11, help="seed of the simulated market (default %(default)s)")
    demo.add_argument("--speed", type=_speed, default=60.0, help="market seconds per second (default %(default)g)")
    demo.set_defaults(command_name="demo")


def _add_studies(commands: Commands) -> None:
    replay = commands.add_parser("replay", help="print the alerts that a recorded history would have fired")
    _history_options(replay)
    replay.add_argument("--from", dest="since", type=_time, help="fire from then on; earlier bars warm up the map")
    replay.add_argument("--until", type=_time, help="stop at this time")
    replay.add_argument(
        "--rule",
        action="append",
        help=f"alert rule, such as {RULE_EXAMPLE!r} (default); may be repeated".replace("%", "%%"),
    )
    replay.set_defaults(command_name="replay")

    ask = commands.add_parser("ask", help="answer one command from a recorded history")
    ask.add_argument("command", help="bot command, such as '/liq 88000'")
    _history_options(ask)
    ask.add_argument("--at", type=_time, help="answer as of this time (default: end of the history)")
    ask.set_defaults(command_name="ask")

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
    skill.set_defaults(command_name="skill")

    located = commands.add_parser("located", help="score how well the map locates single liquidation orders")
    _history_options(located)
    located.add_argument(
        "--orders", type=Path, required=True, metavar="FILE", help="CSV: time,symbol,side,price,notional_usd"
    )
    located.set_defaults(command_name="located")

    clusters = commands.add_parser("clusters", help="measure number, lifetime and turnover of clusters over a history")
    _history_options(clusters)
    clusters.add_argument(
        "--entered", action="store_true", help="measure how often clusters are entered, against placebo levels"
    )
    clusters.add_argument("--swept", action="store_true", help="measure reports at sweeps, against similar moves")
    clusters.add_argument(
        "--distance", type=float, default=0.01, help="of the near rule, a fraction of price (default %(default)s)"
    )
    clusters.set_defaults(command_name="clusters")


def _add_recordings(commands: Commands) -> None:
    record = commands.add_parser("record", help="record the venues' bars and liquidation orders until stopped")
    record.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"a {SUFFIX} file; an existing one is continued"
    )
    record.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    record.set_defaults(command_name="record")

    export = commands.add_parser("export", help="export the database's bars and liquidation orders as a recording")
    export.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"a {SUFFIX} file that does not exist yet"
    )
    export.add_argument("--env", type=Path, metavar="FILE", help="settings file")
    export.set_defaults(command_name="export")


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
