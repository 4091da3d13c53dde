"""How often price enters levels after coming near them: clusters, placebo levels, any level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.alerts.active_rules import ActiveRules
from engine.alerts.cluster_rules import decide, every_pair
from engine.alerts.rules import Rule
from engine.board import AssetBoard
from engine.history import History
from engine.market import DAY_MS, HOUR_MS, SIDES, Side, sign
from engine.replay import update_of
from engine.study.clusters import WARM_UP_DAYS
from engine.study.days import day_weights, middle

SPANS_HOURS = (1, 4, 24)
PLACEBO_STEP = 0.0031
"""Log distance between placebo levels: not round, and unrelated to the map's grid."""


@dataclass(frozen=True, slots=True)
class Approach:
    """A price move to within some distance of a level: time, side of the level, and its near edge, USD."""

    at: int
    side: Side
    edge: float


def entry_figures(history: History, distance: float) -> dict[str, Any]:
    """Return how often levels are entered after price comes within a distance: clusters, placebos, any time.

    Placebo levels are on a fixed lattice independent of the map and use the same near rule: armed when price is twice
    as far away, fired when it comes within the distance. Any time means from each close to a level at that distance.
    Intervals are the middle 90 % over resampled days. The first 30 days are left out while clusters warm up.
    """
    start = history.bars[0].opened_at + WARM_UP_DAYS * DAY_MS
    groups = {
        "near_clusters": _near_clusters(history, distance),
        "placebo_levels": _near_placebos(history, distance),
        "any_time": _any_time(history, distance),
    }
    figures: dict[str, Any] = {"asset": history.market.asset, "distance": distance}
    for name, approaches in groups.items():
        kept = [approach for approach in approaches if approach.at >= start]
        figures[name] = {"count": len(kept), **_entered(history, kept, after=name == "any_time")}
    return figures


def _near_clusters(history: History, distance: float) -> list[Approach]:
    """Return every near alert of mature clusters of any size, as the live rule would fire it."""
    asset = history.market.asset
    board, rule = AssetBoard(asset), Rule(1, 1, "near", asset, distance, "busy")
    book, approaches = ActiveRules([rule]), []
    for step in history.steps():
        now = step.bar.closed_at
        tick = board.advance(update_of(step), now)
        if tick is None:
            continue
        decisions = decide(every_pair([rule], tick), book.states, tick)
        book.apply(asset, decisions.states, decisions.fired, now)
        for decision in decisions.fired:
            if decision.kind == "near":
                edge = decision.cluster.high if decision.cluster.side == "long" else decision.cluster.low
                approaches.append(Approach(step.bar.opened_at, decision.cluster.side, edge))
    return approaches


def _near_placebos(history: History, distance: float) -> list[Approach]:
    """Return approaches to lattice levels: armed at twice the distance, fired within it."""
    approaches: list[Approach] = []
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
                    approaches.append(Approach(bar.opened_at, key[0], edge))
        close = bar.close
    return approaches


def _any_time(history: History, distance: float) -> list[Approach]:
    """Return an approach on either side at each close."""
    return [
        Approach(bar.opened_at, side, bar.close * math.exp(-sign(side) * distance))
        for bar in history.bars
        for side in SIDES
    ]


def _entered(history: History, approaches: Sequence[Approach], *, after: bool) -> dict[str, Any]:
    """Return the share of levels that price reached within each span, with the middle 90 % over resampled days.

    Args:
        after: True if the approach is at its bar's close, so that this bar does not count.
    """
    bars = history.bars
    at = np.array([bar.opened_at for bar in bars])
    low, high = np.array([bar.low for bar in bars]), np.array([bar.high for bar in bars])
    first = np.searchsorted(at, [approach.at for approach in approaches]) + int(after)
    weights = day_weights(np.array([approach.at for approach in approaches]))
    figures: dict[str, Any] = {}
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
        figures[f"within_{hours}h"] = round(float(hit.mean()), 3) if len(hit) else None
        figures[f"within_{hours}h_90"] = middle(weights @ hit / weights.sum(axis=1)) if len(hit) else None
    return figures
