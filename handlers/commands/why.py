"""/why: how a number was computed, for the button of that name."""

from __future__ import annotations

import contextlib

from engine.alerts.rule_syntax import SIDE_WORDS
from engine.board import AssetBoard
from engine.calibration.coefficients import Calibration
from engine.errors import ImplausibleError
from engine.facts import forced_facts
from engine.history import iso
from engine.liquidation.margin import Tier, position_price, valued_at_entry
from engine.liquidation.prior import FORCED
from engine.market import Side
from handlers import wording
from handlers.answers import Answer
from handlers.commands.arguments import asset_and_rest, fresh
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import N_, _
from handlers.numbers import label, parse_price, price, usd

_PASSED = {
    "long": N_("{asset} {label}: price ({price}) is already below it; those longs were swept or closed"),
    "short": N_("{asset} {label}: price ({price}) is already above it; those shorts were swept or closed"),
}

LEVERAGES = (10, 25, 100)
EXAMPLE_USD = 10_000.0


@command("why", "Explain a number", "/why btc 88000", Parameter("price", "A price"), hidden=True)
async def why(request: Request, arguments: str) -> Answer:
    """Answer /why [asset] price [long | short]. An alert's button adds the side of its cluster."""
    words = arguments.split()
    about = SIDE_WORDS.get(words[-1].lower()) if words else None
    asset, rest = asset_and_rest(request, " ".join(words[:-1] if about else words))
    board, source = fresh(request, asset)
    mark = board.view.mark
    target = parse_price(rest, mark) if rest else (board.clusters[0].label_price if board.clusters else mark * 0.97)
    forced = forced_facts(board.view, board, target)
    side = board.view.side_of(target)
    mass, churned = board.view.curves[side].mass_usd(target), board.churn_usd(24)
    share = f"{forced['map_share']:.0%}"
    lines: tuple[str, ...] = (
        _("Open: contracts by entry price, spread over leverages, minus those closed or swept since."),
        _("Liquidated: the amount feeds should report. Most positions get closed or topped up first."),
        _("{share} of it comes from the map, the rest from positions opened during the move.", share=share),
        wording.churn(churned, side),
        await _examples(request, board, side),
        _where(board.calibration),
        _("Heatmaps that show billions count positions opened, not liquidated."),
        wording.rough(source) or _("Reported liquidations are a lower bound."),
    )
    head = _(
        "{asset} {label}: ~{usd} liquidated on the way; {open} open there now",
        asset=asset,
        label=label(target),
        usd=usd(forced["forced_usd"]),
        open=usd(mass),
    )
    if about is not None and about != side:
        head = _(_PASSED[about], asset=asset, label=label(target), price=price(mark))
        lines = (lines[0], lines[1], *lines[3:])
    return Answer(
        head,
        tuple(line for line in lines if line),
        footer=wording.sources(source, shares=True),
    )


async def _examples(request: Request, board: AssetBoard, side: Side) -> str:
    """Return the liquidation prices of sample positions opened now, by the margin tiers of the largest market."""
    market, mark = board.largest, board.view.mark
    tiers = (await request.services.store.market.tiers_of(market.key))[1]
    rows = tiers or [Tier(0.0, market.maintenance_rate)]
    inverse, at_entry = market.kind == "inverse", valued_at_entry(market)
    amount = EXAMPLE_USD if inverse else EXAMPLE_USD / mark
    phrases = []
    for leverage in (number for number in LEVERAGES if number <= market.max_leverage):
        # Skip positions whose margin is below what their tier requires.
        with contextlib.suppress(ImplausibleError):
            margin = EXAMPLE_USD / leverage / (mark if inverse else 1.0)
            level = position_price(mark, amount, margin, side, rows, market.kind, market.fee_rate, at_entry=at_entry)
            if level is not None:
                phrases.append(_("{leverage}x at {label}", leverage=leverage, label=label(level)))
    if not phrases:
        return ""
    text = (
        N_("A {usd} isolated long opened now on {venue} liquidates: {examples}.")
        if side == "long"
        else N_("A {usd} isolated short opened now on {venue} liquidates: {examples}.")
    )
    return _(text, usd=usd(EXAMPLE_USD), venue=wording.venue(market.venue), examples=", ".join(phrases))


def _where(fit: Calibration) -> str:
    if fit.fitted:
        return _("Fitted on this coin's reports to {day}; range: 80% of comparable moves.", day=iso(fit.end)[:10])
    return _("Fitted on Bitcoin to {day}; range: 80% of comparable moves.", day=FORCED.fitted_until)
