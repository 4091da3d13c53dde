"""Liquidations reported when price sweeps a cluster, compared with similar moves through other levels.

Each bar's move on either side is one row: its length, how long the levels it reached had gone untraded, and reported
liquidations. Moves that swept a mature cluster are compared with their nearest controls: moves of equal length, moves
of equal length through equally untraded levels, and moves that swept a placebo (a cluster's own run, mirrored to the
other side of the price at its birth, where there is no cluster).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.board import AssetBoard
from engine.calibration.hourly_model import walk_forward
from engine.calibration.hours import Hours
from engine.errors import HistoryError
from engine.history import History
from engine.liquidation.clusters import Cluster
from engine.liquidation.grid import BIN, bin_of, outward
from engine.market import DAY_MS, HOUR_MS, SIDES, Bar, Side
from engine.replay import update_of
from engine.study.clusters import WARM_UP_DAYS
from engine.study.days import day_weights, middle

NEIGHBOURS = 10
CANDIDATES = 80
"""Nearest controls stored per move: more than NEIGHBOURS, because a resample may leave out some days."""

Run = tuple[Side, int, int]
"""Side, and outward coordinates of a run's first and last level."""


@dataclass(frozen=True)
class SweptMoves:
    """Moves, one row each.

    Attributes:
        at: (n,) int64, UTC ms.
        short: (n,) bool.
        length: (n,) float64, log distance from the previous close to the extreme.
        untraded: (n,) float64, mean over the levels reached of ln(hours untraded).
        reported: (n,) float64, USD.
        cluster, placebo: (n,) bool, True if the move went through all of one.
    """

    at: np.ndarray
    short: np.ndarray
    length: np.ndarray
    untraded: np.ndarray
    reported: np.ndarray
    cluster: np.ndarray
    placebo: np.ndarray


def sweep_figures(history: History) -> dict[str, Any]:
    """Return reported liquidations at sweeps of mature clusters over those at similar moves, with intervals.

    Intervals are the middle 90 % over resampled days.

    Raises:
        HistoryError: when no cluster was swept, or nothing was reported.
    """
    moves, hours = _moves(history)
    swept = moves.cluster
    if not swept.any() or not moves.reported[swept].any():
        raise HistoryError("no mature cluster was swept while liquidations were recorded")
    length, untraded = np.log(moves.length), moves.untraded
    plain = ~moves.cluster
    mirrored = replace(moves, cluster=plain & moves.placebo)
    figures: dict[str, Any] = {
        "cluster_sweeps": int(swept.sum()),
        "reported_median_usd": round(float(np.median(moves.reported[swept]))),
        "over_equal_moves": ratio_over(moves, plain, [length]),
        "over_equally_untraded": ratio_over(moves, plain, [length, untraded]),
        "over_placebo": ratio_over(moves, plain & moves.placebo, [length]),
        "placebo_over_equal_moves": ratio_over(mirrored, plain & ~moves.placebo, [length]),
    }
    if history.step_ms == HOUR_MS:
        figures["over_tie"] = _over_tie(moves, hours)
    for name, low, high in (("4-12h", 4, 12), ("12-120h", 12, 120), ("over_120h", 120, math.inf)):
        which = swept & (untraded >= math.log(low)) & (untraded < (math.log(high) if high < math.inf else math.inf))
        if which.any():
            figures[f"median_usd_untraded_{name}"] = round(float(np.median(moves.reported[which])))
    return figures


def _moves(history: History) -> tuple[SweptMoves, Hours]:
    start = history.bars[0].opened_at + WARM_UP_DAYS * DAY_MS
    board = AssetBoard(history.market.asset)
    rows: list[tuple[float, ...]] = []
    mirrored: dict[str, Run] = {}
    for step in history.steps():
        bar = step.bar
        reported = {"long": bar.long_liquidations_usd, "short": bar.short_liquidations_usd}
        if board.ready and bar.opened_at >= start:
            for number, side in enumerate(SIDES):
                usd = reported[side]
                if usd is not None:
                    rows += _row(board, bar, side, number, usd, mirrored)
        board.advance(update_of(step), bar.closed_at)
        mirrored = {c.id: mirrored.get(c.id) or _mirror(c, bar.close) for c in board.clusters}
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    at, short, cluster, placebo = (table[:, i] for i in (0, 1, 5, 6))
    kept = SweptMoves(at.astype(np.int64), short > 0, table[:, 2], table[:, 3], table[:, 4], cluster > 0, placebo > 0)
    return kept, board.hours.hours()


def _row(
    board: AssetBoard, bar: Bar, side: Side, number: int, usd: float, mirrored: dict[str, Run]
) -> list[tuple[float, ...]]:
    first = outward(side, bin_of(board.mark)) + 1
    last = outward(side, bin_of(bar.low if side == "long" else bar.high))
    if last <= first:
        return []
    mature = {c.id: c for c in board.clusters if c.mature(bar.opened_at)}
    cluster = any(c.side == side and first <= c.first and c.last <= last for c in mature.values())
    placebo = any(
        whose == side and first <= near and far <= last and not _taken(board, side, near, far)
        for key, (whose, near, far) in mirrored.items()
        if key in mature
    )
    untraded = float(np.log(untraded_hours(board, bar, side, np.arange(first, last + 1))).mean())
    return [(bar.opened_at, number, (last - first + 1) * BIN, untraded, usd, cluster, placebo)]


def _mirror(cluster: Cluster, price: float) -> Run:
    """Return the cluster's run mirrored to the other side of a price."""
    side: Side = "short" if cluster.side == "long" else "long"
    shift = outward(side, bin_of(price)) - outward(cluster.side, bin_of(price))
    return side, cluster.first + shift, cluster.last + shift


def _taken(board: AssetBoard, side: Side, first: int, last: int) -> bool:
    """Return True if a cluster overlaps the levels."""
    return any(c.side == side and c.first <= last and first <= c.last for c in board.clusters)


def untraded_hours(board: AssetBoard, bar: Bar, side: Side, levels: np.ndarray) -> np.ndarray:
    """Return the hours since levels (outward coordinates) last traded, as of a bar's open, at least half an hour."""
    hours = []
    for level in levels:
        number = int(outward(side, int(level)))
        last = board.traded.last(number, number)
        since = last if last is not None else board.traded.since or bar.opened_at
        hours.append(max((bar.opened_at - since) / HOUR_MS, 0.5))
    return np.array(hours)


def ratio_over(moves: SweptMoves, controls: np.ndarray, features: list[np.ndarray]) -> dict[str, Any]:
    """Return mean reported USD at cluster sweeps over that at each one's ten nearest controls of its side.

    Args:
        controls: (n,) bool, moves to compare with.
        features: (n,) float64 each, coordinates for the distance between moves, each scaled by its own spread.
    """
    swept = np.flatnonzero(moves.cluster)
    order = np.full((len(swept), CANDIDATES), -1)
    for side in (False, True):
        mine = np.flatnonzero(moves.short[swept] == side)
        theirs = np.flatnonzero(controls & (moves.short == side))
        if not len(theirs):
            continue
        apart = np.zeros((len(mine), len(theirs)))
        for feature in features:
            scale = feature.std() or 1.0
            apart += ((feature[swept[mine]][:, None] - feature[theirs][None, :]) / scale) ** 2
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :CANDIDATES]
        order[mine, : nearest.shape[1]] = theirs[nearest]
    weights = day_weights(moves.at)
    drawn = [_drawn(moves, swept, order, weight) for weight in weights]
    whole = _drawn(moves, swept, order, np.ones(len(moves.at)))
    return {**_shown(whole, drawn), "controls": int(controls.sum())}


def _shown(whole: float, drawn: list[float]) -> dict[str, Any]:
    """Return rounded figures, None if the ratio is undefined."""
    if math.isnan(whole):
        return {"ratio": None, "middle_90": None}
    return {"ratio": round(whole, 2), "middle_90": middle(np.array(drawn))}


def _drawn(moves: SweptMoves, swept: np.ndarray, order: np.ndarray, weight: np.ndarray) -> float:
    """Return the ratio with moves weighted by resample, or NaN if it is undefined."""
    counts = np.where(order >= 0, weight[order], 0.0)
    before = np.cumsum(counts, axis=1) - counts
    used = np.clip(NEIGHBOURS - before, 0.0, counts)
    enough = used.sum(axis=1) > 0
    likeness = (used * moves.reported[order]).sum(axis=1)[enough] / used.sum(axis=1)[enough]
    mine = weight[swept][enough]
    below = float((mine * likeness).sum())
    return float((mine * moves.reported[swept][enough]).sum()) / below if below else math.nan


def _over_tie(moves: SweptMoves, hours: Hours) -> dict[str, Any]:
    """Return reported liquidations at cluster sweeps over those the hourly model expected in these hours."""
    expected = walk_forward(hours).expected
    row = {int(at): i for i, at in enumerate(hours.at)}
    predicted = np.array([expected[row[int(at)], int(s)] for at, s in zip(moves.at, moves.short, strict=True)])
    which = moves.cluster & ~np.isnan(predicted)
    ratios = []
    for weight in (np.ones(len(moves.at)), *day_weights(moves.at)):
        below = float((weight * predicted)[which].sum())
        ratios.append(float((weight * moves.reported)[which].sum()) / below if below else math.nan)
    return _shown(ratios[0], ratios[1:])
