"""Commands over a recorded history: replay, ask, skill, located, clusters. They load no exchange or chat library."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

from engine.alerts.active_rules import ActiveRules
from engine.alerts.rule_syntax import parse_rule
from engine.alerts.rules import RULE_EXAMPLE
from engine.board import AssetBoard
from engine.clock import ManualClock
from engine.errors import HistoryError
from engine.history import History, iso, read_history, read_orders
from engine.pipeline import AlertPipeline
from engine.ports import Store
from engine.recording import SUFFIX, read_recording
from engine.replay import ReplayFeed, board_at
from engine.study.clusters import cluster_figures
from engine.study.entries import entry_figures
from engine.study.location import location_figures
from engine.study.skill import skill_figures, span_figures, walk_history, write_predictions
from engine.study.sweeps import sweep_figures
from handlers.alert_messages import alert_answer
from handlers.commands.dispatch import answer
from handlers.context import NoMembership, Request, Services


async def replay(options: argparse.Namespace, store: Store) -> int:
    """Print the alerts that a history would have fired."""
    rules = [parse_rule(text) for text in options.rule or [RULE_EXAMPLE]]
    history = _read(options)
    active = ActiveRules(replace(rule, id=number, chat_id=1) for number, rule in enumerate(rules, start=1))
    pipeline = AlertPipeline({history.market.asset: AssetBoard(history.market.asset)}, active, store)
    feed = ReplayFeed(history, ManualClock(), since=options.since or 0, until=options.until)
    async for tick in feed.ticks():
        for alert in (await pipeline.process(tick)).alerts:
            print(json.dumps(_alert_row(alert.facts)) if options.json else _alert_text(alert.facts), flush=False)
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


async def ask(options: argparse.Namespace, store: Store) -> int:
    """Print one answer as of a time of a history."""
    history = _read(options)
    board = board_at(history, options.at)
    clock = ManualClock(options.at if options.at is not None else board.closed_at)
    await store.market.add_liquidations([event for event in history.events if event.at <= clock.at])
    pipeline = AlertPipeline({board.asset: board}, ActiveRules(), store)
    chat = replace(await store.chats.upsert("terminal", "local", "private", ""), approved=True)
    services = Services(pipeline, store, clock, access="open")
    reply = await answer(Request("terminal", "local", chat, options.command, services, NoMembership()))
    print(json.dumps({**reply.data, "text": reply.text}) if options.json else reply.text)
    return 0 if reply.data or not options.json else 2


def clusters(options: argparse.Namespace) -> int:
    """Print number, lifetime and turnover of clusters over a history."""
    history = _read(options)
    figures = cluster_figures(history)
    if options.entered:
        figures |= entry_figures(history, options.distance)
    if options.swept:
        figures |= sweep_figures(history)
    return _print_figures(figures, options)


def skill(options: argparse.Namespace) -> int:
    """Print how well the map predicted what was liquidated in a history."""
    if options.until is not None and options.until <= options.since:
        raise HistoryError("--until is not after --from")
    if options.out and not options.out.parent.is_dir():
        raise HistoryError(f"there is no directory {options.out.parent}")
    walked = walk_history(_read(options))
    figures: dict[str, Any] = {"asset": walked.asset, **skill_figures(walked, options.since, options.until)}
    if options.spans:
        figures["spans"] = span_figures(walked, options.spans, options.since, options.until)
    if options.out:
        write_predictions(walked, options.out)
    print(json.dumps(figures) if options.json else _skill_text(figures))
    return 0


def located(options: argparse.Namespace) -> int:
    """Print where among the levels reached single liquidation orders fell."""
    history = _read(options)
    return _print_figures(location_figures(history, read_orders(options.orders, history.market.asset)), options)


def _read(options: argparse.Namespace) -> History:
    read = read_recording if options.history.suffix == SUFFIX else read_history
    history = read(options.history, options.asset)
    for gap in history.gaps:
        print(f"{options.history.name}: gap from {iso(gap.start)} to {iso(gap.end)}", file=sys.stderr)
    for where in history.odd:
        print(f"{options.history.name}: a gap at {where}", file=sys.stderr)
    return history


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
