"""Variants tried, measured again: other kernels, exits and turnovers, other forms of the hourly model.

Figures are d2 and d2_path of January, February and March 2026 on recorded hourly Bitcoin, the deviance that F(P)
removes over 1, 4 and 24 h with the shipped coefficients as prior, and rank correlation with the truth of three
simulated markets. Also prints the hourly model's coefficients to ship. Needs the recorded history and takes some
minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from benchmarks import truth
from engine.calibration.hourly_model import FORM, ModelSpec, fit_prior
from engine.history import parse_time, read_history
from engine.liquidation.prior import MAP, MapPrior
from engine.study.skill import skill_figures, span_figures, walk_history

HISTORY = Path(__file__).parents[2] / "shared" / "data" / "btc_1h_2025-12-04_2026-03-31.csv"
MONTHS = tuple(parse_time(text) for text in ("2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01"))
NAMES = ("january", "february", "march")
SPANS_FROM = parse_time("2026-01-03")
SPANS = (1, 4, 24)
SEEDS, DAYS = (1, 2, 3), 30

MAPS: dict[str, MapPrior] = {
    "in_use": MAP,
    "even_exits": replace(MAP, exit_hazard=0.0),
    "urge_6": replace(MAP, exit_hazard=6.0),
    "urge_20": replace(MAP, exit_hazard=20.0),
    "exit_reach_3%": replace(MAP, exit_reach=0.03),
    "turnover_0.5%": replace(MAP, turnover_per_hour=0.005),
    "turnover_2%": replace(MAP, turnover_per_hour=0.02),
    "kernel_8%_1.5": replace(MAP, kernel_median=0.08, kernel_sigma=1.5),
    "kernel_12%_1.25": replace(MAP, kernel_median=0.12, kernel_sigma=1.25),
    "kernel_8%_1.5_even_exits": replace(MAP, kernel_median=0.08, kernel_sigma=1.5, exit_hazard=0.0),
    "kernel_25%_1.0_even_exits": replace(MAP, kernel_median=0.25, kernel_sigma=1.0, exit_hazard=0.0),
}
FORMS: dict[str, ModelSpec] = {
    "tie_of_the_study": ModelSpec(24, extremes=False, other_side=False),
    "tie_with_extremes": ModelSpec(24, extremes=True, other_side=False),
    "tie_with_other_side": ModelSpec(24, extremes=True, other_side=True),
}


def run() -> Iterator[tuple[str, float, str]]:
    """Yield every variant's figures, without those on the recorded history if it is missing."""
    worlds = {seed: truth.world(seed, DAYS) for seed in SEEDS}
    history = read_history(HISTORY) if HISTORY.exists() else None
    for name, prior in MAPS.items():
        for seed, world in worlds.items():
            yield f"{name}.truth_{seed}", truth.of_map(world, prior), "rank correlation"
        if history is not None:
            yield from _recorded(name, prior, FORM)
    for name, form in FORMS.items():
        if history is not None:
            yield from _recorded(name, MAP, form)
    if history is not None:
        shipped = fit_prior(walk_history(history).hours)
        yield "tie.mean_log_held", shipped.mean_log_held, "of the coefficients that ship"
        for number, value in enumerate(shipped.coefficients):
            yield f"tie.coefficient_{number}", value, "that ships"


def _recorded(name: str, prior: MapPrior, form: ModelSpec) -> Iterator[tuple[str, float, str]]:
    walked = walk_history(read_history(HISTORY), prior, form)
    for month, (start, end) in zip(NAMES, pairwise(MONTHS), strict=True):
        figures = skill_figures(walked, start, end)
        for figure in ("d2", "d2_path"):
            yield f"{name}.{month}_{figure}", figures[figure], "of deviance removed"
    if form == FORM:
        for row in span_figures(walked, SPANS, SPANS_FROM):
            yield f"{name}.forced_{row['span_hours']}h", row["deviance_removed"], "of deviance removed"
