"""A history, measured: its clusters, the skill of the map hour by hour, and F(P) against new ground."""

from __future__ import annotations

import csv
import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.alerts.book import RuleBook
from engine.alerts.decide import decide
from engine.alerts.rules import Rule
from engine.board import AssetBoard
from engine.errors import HistoryError
from engine.history import ForcedOrder, History, iso
from engine.liquidation.grid import BIN, bin_of, outward
from engine.liquidation.hours import Hours
from engine.liquidation.peaks import REACH
from engine.liquidation.skill import score
from engine.liquidation.spans import report as report_span
from engine.liquidation.tie import Walk, walk_forward
from engine.liquidation.usual import Snapshot
from engine.market import DAY_MS, HOUR_MS, SIDES, Bar, Side, sign
from engine.replay import update_of

WARM_UP_DAYS = 30


def cluster_figures(history: History) -> dict[str, Any]:
    """Number, width, life and churn of clusters over a history, the first 30 days left out of the counts."""
    board = AssetBoard(history.market.asset)
    first, end = history.bars[0].opened_at, history.bars[-1].closed_at
    start = first + min(WARM_UP_DAYS * DAY_MS, (end - first) // 2)
    born_at: dict[str, int] = {}
    lives: list[float] = []
    numbers: list[int] = []
    widths: list[float] = []
    counted: tuple[int, int, int] | None = None
    for step in history.steps():
        bar = step.bar
        board.advance(update_of(step), bar.closed_at)
        live = {cluster.id: cluster for cluster in board.clusters}
        for gone in [key for key in born_at if key not in live]:
            if born_at[gone] >= start:
                lives.append((bar.closed_at - born_at[gone]) / HOUR_MS)
            del born_at[gone]
        born_at |= {key: cluster.born_at for key, cluster in live.items()}
        if bar.closed_at < start:
            continue
        counted = counted or (board.tracker.born, board.tracker.ended, board.tracker.relabelled)
        for side in SIDES:
            near = [c for c in live.values() if c.side == side and c.distance(bar.close) <= REACH]
            numbers.append(len(near))
            widths += [(c.last - c.first + 1) * BIN for c in near]
    days = (end - start) / DAY_MS
    born, ended, relabelled = counted or (0, 0, 0)
    tracker = board.tracker
    return {
        "asset": board.asset,
        "days": round(days, 2),
        "number_per_side": round(statistics.fmean(numbers), 3) if numbers else 0.0,
        "width_fraction": round(statistics.fmean(widths), 5) if widths else 0.0,
        "median_life_hours": round(statistics.median(lives), 2) if lives else 0.0,
        "births_per_day_and_side": round((tracker.born - born) / days / 2, 3),
        "deaths_per_day_and_side": round((tracker.ended - ended) / days / 2, 3),
        "label_moves_per_cluster_day": round(
            (tracker.relabelled - relabelled) / max(sum(numbers) * history.step_ms / DAY_MS, 1e-9), 3
        ),
    }


@dataclass(frozen=True)
class Walked:
    """A history gone through once, without looking ahead.

    Attributes:
        snapshots: the map at each hour's close, oldest first.
    """

    asset: str
    hours: Hours
    walk: Walk
    snapshots: list[Snapshot]


def walk_history(history: History) -> Walked:
    """Step the map through a history and predict each hour from what came before it.

    Raises:
        HistoryError: when there is nothing to hold a prediction against, or bars are longer than an hour.
    """
    if history.step_ms > HOUR_MS:
        raise HistoryError(f"bars of {history.step_ms // HOUR_MS} hours are too long: predictions are by the hour")
    board = AssetBoard(history.market.asset)
    snapshots: list[Snapshot] = []
    for step in history.steps():
        board.advance(update_of(step), step.bar.closed_at, silent=True)
        last = board.usual.past(1)
        if last and (not snapshots or last[0].at > snapshots[-1].at):
            snapshots += last
    hours = board.hours.hours()
    if np.isnan(hours.reported).all():
        raise HistoryError("no liquidations are recorded in it: there is nothing to hold a prediction against")
    return Walked(board.asset, hours, walk_forward(hours), snapshots)


def skill_figures(walked: Walked, start: int, end: int | None) -> dict[str, Any]:
    """Skill of one-hour predictions from start to end, as engine.liquidation.skill defines it."""
    figures = asdict(score(walked.hours, walked.walk.expected, start, end))
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def span_figures(walked: Walked, spans: Sequence[int], start: int, end: int | None = None) -> list[dict[str, Any]]:
    """F(P) against new ground for each span of hours, rolling folds from start to end."""
    found = []
    for span in spans:
        report = report_span(walked.hours, walked.snapshots, span, start, end)
        row = {
            "span_hours": span,
            "deviance_removed": round(statistics.fmean(report.removed), 4),
            "folds": [round(value, 3) for value in report.removed],
        }
        for name in ("over", "coverage", "count"):
            row[name] = {key: _rounded(value) for key, value in getattr(report, name).items()}
        found.append(row)
    return found


def _rounded(value: float | None) -> float | None:
    return round(value, 3) if isinstance(value, float) else value


def write_predictions(walked: Walked, path: Path) -> None:
    """One row an hour that has a prediction: its opening time, and the USD expected of longs and of shorts."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(("time", "long_usd", "short_usd"))
        for at, (longs, shorts) in zip(walked.hours.at, walked.walk.expected, strict=True):
            if not np.isnan(longs):
                rows.writerow((iso(int(at)), f"{longs:.2f}", f"{shorts:.2f}"))


SPANS_HOURS = (1, 4, 24)
PLACEBO_STEP = 0.0031
"""Log distance between placebo levels: no round number, and none of the map's."""

RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Approach:
    """Price came within some distance of a level: when, and where the level begins."""

    at: int
    side: Side
    edge: float


def entry_figures(history: History, distance: float) -> dict[str, Any]:
    """How often levels are entered after price has come within a distance: clusters', placebo levels', any time.

    Placebo levels lie on a fixed lattice that knows nothing of the map, and go through the same near rule: armed when
    price is twice as far away, told when it comes within the distance. Any time: from each close to a level that far
    off. Intervals are the middle 90 % over resampled days. The first 30 days are left out, as clusters warm up.
    """
    start = history.bars[0].opened_at + WARM_UP_DAYS * DAY_MS
    groups = {
        "near_clusters": _near_clusters(history, distance),
        "placebo_levels": _near_placebos(history, distance),
        "any_time": _any_time(history, distance),
    }
    found: dict[str, Any] = {"asset": history.market.asset, "distance": distance}
    for name, approaches in groups.items():
        kept = [approach for approach in approaches if approach.at >= start]
        found[name] = {"count": len(kept), **_entered(history, kept, after=name == "any_time")}
    return found


def _near_clusters(history: History, distance: float) -> list[Approach]:
    """Every near alert of mature clusters, whatever their size, as the live rule would fire it."""
    asset = history.market.asset
    board, rule = AssetBoard(asset), Rule(1, 1, "near", asset, distance, "busy")
    book, found = RuleBook([rule]), []
    for step in history.steps():
        now = step.bar.closed_at
        tick = board.advance(update_of(step), now)
        if tick is None:
            continue
        verdict = decide(book.for_asset(asset), book.states, tick, {}, set())
        book.apply(verdict)
        for decision in verdict.decisions:
            if decision.kind == "near":
                edge = decision.cluster.high if decision.cluster.side == "long" else decision.cluster.low
                found.append(Approach(step.bar.opened_at, decision.cluster.side, edge))
    return found


def _near_placebos(history: History, distance: float) -> list[Approach]:
    """The same rule on levels of a lattice: told once price comes within the distance from twice as far."""
    found: list[Approach] = []
    armed: set[tuple[Side, int]] = set()
    close = history.bars[0].close
    for bar in history.bars:
        for side, extreme in (("long", bar.low), ("short", bar.high)):
            sign_of = 1 if side == "long" else -1
            centre, reach = round(math.log(close) / PLACEBO_STEP), math.ceil(3 * distance / PLACEBO_STEP) + 10
            for number in range(centre - reach, centre + reach + 1):
                edge = math.exp(number * PLACEBO_STEP)
                key: tuple[Side, int] = (side, number)  # type: ignore[assignment]  # the two literals above
                if sign_of * math.log(close / edge) >= 2 * distance:
                    armed.add(key)
                if key in armed and sign_of * math.log(extreme / edge) <= distance:
                    armed.discard(key)
                    found.append(Approach(bar.opened_at, key[0], edge))
        close = bar.close
    return found


def _any_time(history: History, distance: float) -> list[Approach]:
    """A level on either side at each close."""
    return [
        Approach(bar.opened_at, side, bar.close * math.exp(-sign(side) * distance))
        for bar in history.bars
        for side in SIDES
    ]


def _entered(history: History, approaches: Sequence[Approach], *, after: bool) -> dict[str, Any]:
    """Share of levels that price reached within each span, with the middle 90 % over resampled days.

    after: the bar of the approach had closed before it and does not count.
    """
    bars = history.bars
    at = np.array([bar.opened_at for bar in bars])
    low, high = np.array([bar.low for bar in bars]), np.array([bar.high for bar in bars])
    first = np.searchsorted(at, [approach.at for approach in approaches]) + int(after)
    days = np.array([approach.at // DAY_MS for approach in approaches])
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for hours in SPANS_HOURS:
        count = max(hours * HOUR_MS // history.step_ms, 1)
        hit = np.array(
            [
                bool(
                    (low[i : i + count] <= a.edge).any() if a.side == "long" else (high[i : i + count] >= a.edge).any()
                )
                for i, a in zip(first, approaches, strict=True)
            ]
        )
        found[f"within_{hours}h"] = round(float(hit.mean()), 3) if len(hit) else None
        found[f"within_{hours}h_90"] = _interval(hit, days, rng) if len(hit) else None
    return found


def _interval(hit: np.ndarray, days: np.ndarray, rng: np.random.Generator) -> list[float]:
    names, which = np.unique(days, return_inverse=True)
    sums = np.bincount(which, weights=hit)
    counts = np.bincount(which)
    drawn = rng.integers(0, len(names), (RESAMPLES, len(names)))
    shares = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(value), 3) for value in np.quantile(shares, (0.05, 0.95))]


LEAST_LEVELS = 4
SPREAD = 0.05
"""Share of each guess that is spread evenly: no guess may call a level impossible."""


def location_figures(history: History, orders: Sequence[ForcedOrder]) -> dict[str, Any]:
    """Where among the levels that a bar reached its forced orders fell: the map against distance and freshness alone.

    Distance alone calls every level reached as likely as the others; freshness alone goes by the hours a level had not
    been traded. Figures are mean log likelihood over distance alone, in nats, weighed by USD and one an order. The map
    stands as it did before the bar. Orders outside the levels that the bar reached from its opening are left out.
    """
    board = AssetBoard(history.market.asset)
    gains: dict[str, list[float]] = {"map": [], "freshness": []}
    weights: list[float] = []
    waiting = deque(order for order in orders if order.at >= history.bars[0].opened_at)
    for step in history.steps():
        within = []
        while waiting and waiting[0].at < step.bar.closed_at:
            within.append(waiting.popleft())
        for side in SIDES if board.ready else ():
            mine = [order for order in within if order.side == side]
            for order, gain in _placed(board, step.bar, side, mine):
                weights.append(order.usd)
                for name, value in gain.items():
                    gains[name].append(value)
        board.advance(update_of(step), step.bar.closed_at, silent=True)
    if not weights:
        raise HistoryError("no forced order falls within the history's bars")
    figures: dict[str, Any] = {"asset": board.asset, "orders": len(weights), "usd": round(sum(weights))}
    for name, values in gains.items():
        figures[f"{name}_nats_by_usd"] = round(float(np.average(values, weights=weights)), 3)
        figures[f"{name}_nats_by_order"] = round(statistics.fmean(values), 3)
    return figures


def _placed(
    board: AssetBoard, bar: Bar, side: Side, orders: Sequence[ForcedOrder]
) -> list[tuple[ForcedOrder, dict[str, float]]]:
    """The orders that fell on levels the bar reached, with what each guess gained over an even one, nats."""
    market_map = board.maps[next(iter(board.maps))]
    first = outward(side, bin_of(market_map.close)) + 1
    count = outward(side, bin_of(bar.low if side == "long" else bar.high)) - first + 1
    if count < LEAST_LEVELS:
        return []
    levels = np.arange(first, first + count)
    guesses = {"map": board.held_at(side, levels), "freshness": _untraded(board, bar, side, levels)}
    shares = {
        name: weight / weight.sum() if weight.any() else np.full(count, 1 / count) for name, weight in guesses.items()
    }
    found = []
    for order in orders:
        place = outward(side, bin_of(order.price)) - first
        if 0 <= place < count:
            gain = {name: math.log((1 - SPREAD) * share[place] * count + SPREAD) for name, share in shares.items()}
            found.append((order, gain))
    return found


def _untraded(board: AssetBoard, bar: Bar, side: Side, levels: np.ndarray) -> np.ndarray:
    """Hours for which levels had not been traded when a bar opened, at least half of one."""
    hours = []
    for level in levels:
        number = int(outward(side, int(level)))
        last = board.traded.last(number, number)
        since = last if last is not None else board.traded.since or bar.opened_at
        hours.append(max((bar.opened_at - since) / HOUR_MS, 0.5))
    return np.array(hours)
