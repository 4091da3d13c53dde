"""Suppression: why a rule that fires makes no alert. Pure.

Quiet hours and the daily cap apply to alerts that are made: see engine.alerts.delivery_policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import TypeVar

from engine.alerts.rules import Rule
from engine.alerts.state import Decisions, Firing

F = TypeVar("F", bound=Firing)


class Reason(StrEnum):
    """Why a rule that fires makes no alert."""

    MUTED = "muted"
    """The chat has muted the asset, or everything."""

    COOL_DOWN = "cool_down"
    """The rule's repeat interval since its last incident is not over, or it fires only once and has fired."""

    IN_SUMMARY = "in_summary"
    """It happened during downtime, and the message after that reports it."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An alert that was not made, and why."""

    key: str
    kind: str
    asset: str
    chat_id: int
    rule_id: int
    reason: Reason


ReasonOf = Callable[[Rule], Reason | None]


def suppress(decisions: Decisions[F], asset: str, reason_of: ReasonOf) -> list[Suppressed]:
    """Remove the alerts of suppressed rules and return them. Their rules count as having fired.

    An alert that was not made gets no follow-up.
    """
    kept, suppressed = [], []
    for firing in decisions.fired:
        reason = reason_of(firing.rule)
        if reason is None:
            kept.append(firing)
            continue
        suppressed.append(_suppressed(firing, asset, reason))
        state = decisions.states.get(firing.state_key)
        if state is not None:
            decisions.states[firing.state_key] = replace(state, awaiting_followup=False)
    decisions.fired = kept
    return suppressed


def suppress_incidents(
    decisions: Decisions[F], asset: str, muted: Callable[[Rule], bool], cooling_down: Callable[[Rule], bool]
) -> list[Suppressed]:
    """Remove the alerts about clusters that a mute or a rule's cool-down suppresses, and return them.

    A mute suppresses follow-ups too. A cool-down suppresses only alerts that open an incident, with their follow-ups of
    the same tick. A rule with a repeat interval opens one incident a tick.
    """
    kept: list[F] = []
    suppressed: list[Suppressed] = []
    opened: set[int] = set()
    for state_key, group in groupby(decisions.fired, key=lambda firing: firing.state_key):
        firings = list(group)
        rule = firings[0].rule
        if muted(rule):
            suppressed += [_suppressed(firing, asset, Reason.MUTED) for firing in firings]
            continue
        first = next((i for i, firing in enumerate(firings) if firing.opens_incident), None)
        if first is not None and (cooling_down(rule) or (rule.every_ms and rule.id in opened)):
            suppressed += [_suppressed(firing, asset, Reason.COOL_DOWN) for firing in firings[first:]]
            firings = firings[:first]
            state = decisions.states.get(state_key)
            if state is not None:
                decisions.states[state_key] = replace(state, awaiting_followup=False)
        elif first is not None:
            opened.add(rule.id)
        kept += firings
    decisions.fired = kept
    return suppressed


def _suppressed(firing: Firing, asset: str, reason: Reason) -> Suppressed:
    return Suppressed(firing.key, firing.kind, asset, firing.rule.chat_id, firing.rule.id, reason)
