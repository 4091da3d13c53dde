"""A rule's state for a cluster, a metric or a market event, and how a tick changes it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Generic, Protocol, TypeVar

from engine.alerts.rules import Rule
from engine.market import HOUR_MS

FOLLOWUP_MS = 24 * HOUR_MS
"""An incident is followed for this long; then a message says that the cluster was not reached."""

StateKey = tuple[int, str]
"""Rule id and slot: a cluster's id, or @ASSET/what for a metric or a market event."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """A rule's state for one cluster, metric or market event; absent while it equals the default.

    Attributes:
        armed: whether the rule may fire.
        since: UTC ms, when it last fired or re-armed.
        awaiting_followup: the chat was notified and is owed a follow-up, which re-arming does not change.
        moved_away: price has since been twice the distance away.
        arm_count: how often it has been armed; part of the alert key, which is never used twice.
        value: the alert's value in the metric's unit; of a cluster F in USD, of fresh ground the price it began at.
        value_low, value_high: the band of F, USD; of fresh ground value_low is the price it ends at.
        peak_value: the largest value that the alert's message has shown.
        label: the cluster's name when the chat was notified, USD; of a move the price; 0 if no chat was notified.
        notified_at: UTC ms, 0 in states of older versions, for which since is used.
    """

    armed: bool
    since: int
    awaiting_followup: bool = False
    moved_away: bool = False
    arm_count: int = 0
    value: float = 0.0
    value_low: float = 0.0
    value_high: float = 0.0
    label: float = 0.0
    notified_at: int = 0
    peak_value: float = 0.0

    @property
    def opened_at(self) -> int:
        """When the incident was opened, UTC ms."""
        return self.notified_at or self.since

    @property
    def closes_at(self) -> int:
        """When the incident is no longer followed, UTC ms."""
        return self.opened_at + FOLLOWUP_MS

    def has_closed(self, now: int) -> bool:
        """Return whether an incident was opened so long ago that the cluster's sweep is news again."""
        return self.label > 0 and now >= self.closes_at


_STORED = {
    "awaiting_followup": "fired",
    "moved_away": "left",
    "arm_count": "arming",
    "value": "forced_usd",
    "value_low": "forced_low_usd",
    "value_high": "forced_high_usd",
    "notified_at": "told_at",
}
"""Names of fields in stored states, where they differ from today's."""


def to_row(state: RuleState) -> dict[str, Any]:
    """Return a state as it is stored, JSON values."""
    return {_STORED.get(name, name): value for name, value in asdict(state).items()}


def from_row(row: Mapping[str, Any]) -> RuleState:
    """Return the state that to_row() described, of this version or an older one.

    Raises:
        TypeError, ValueError: when it is damaged.
    """
    names = {each.name: _STORED.get(each.name, each.name) for each in fields(RuleState)}
    values = {name: row[stored] for name, stored in names.items() if stored in row}
    # Older versions kept the peak of a metric in the lower end of the band.
    values.setdefault("peak_value", row.get("forced_low_usd", 0.0))
    state = RuleState(**values)
    numbers = [value for value in asdict(state).values() if not isinstance(value, bool)]
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise ValueError("a number in it is not finite")
    return state


class RuleStates(Mapping[StateKey, RuleState]):
    """States of all rules, kept by slot."""

    def __init__(self, of: Mapping[StateKey, RuleState]) -> None:
        self.by_slot: dict[str, dict[int, RuleState]] = {}
        self.put(of)

    def __getitem__(self, key: StateKey) -> RuleState:
        return self.by_slot[key[1]][key[0]]

    def get(self, key: StateKey, default: RuleState | None = None) -> RuleState | None:  # type: ignore[override]
        return self.by_slot.get(key[1], {}).get(key[0], default)

    def __iter__(self) -> Iterator[StateKey]:
        return ((rule_id, slot) for slot, rows in self.by_slot.items() for rule_id in rows)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.by_slot.values())

    def put(self, changed: Mapping[StateKey, RuleState | None]) -> None:
        """Replace states; None deletes one."""
        for (rule_id, slot), state in changed.items():
            if state is not None:
                self.by_slot.setdefault(slot, {})[rule_id] = state
            elif slot in self.by_slot:
                self.by_slot[slot].pop(rule_id, None)
                if not self.by_slot[slot]:
                    del self.by_slot[slot]


class Firing(Protocol):
    """A rule that fires, about any subject."""

    @property
    def rule(self) -> Rule: ...

    @property
    def key(self) -> str:
        """The alert's key, which is never used twice."""
        ...

    @property
    def kind(self) -> str:
        """The alert's kind."""
        ...

    @property
    def state_key(self) -> StateKey: ...

    @property
    def opens_incident(self) -> bool:
        """Whether it counts against the rule's repeat interval; a follow-up does not."""
        ...

    @property
    def top_tier(self) -> bool:
        """Whether it is among the largest, which a calm rule reports too."""
        ...


F = TypeVar("F", bound=Firing)


@dataclass(slots=True)
class Decisions(Generic[F]):
    """A tick's decisions for a set of rules.

    Attributes:
        fired: rules that fire.
        grown: rules whose last message is edited because its value has grown, with the key of that alert.
        states: states that change, None for one that is deleted.
    """

    fired: list[F] = field(default_factory=list)
    grown: list[F] = field(default_factory=list)
    states: dict[StateKey, RuleState | None] = field(default_factory=dict)

    def merge(self, other: Decisions[F]) -> None:
        """Add the decisions for other rules or slots."""
        self.fired += other.fired
        self.grown += other.grown
        self.states |= other.states
