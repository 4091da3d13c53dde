"""Budgets: what one person and one chat may ask for, told once when it was too much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handlers.budget import CHAT, PERSON, PICTURE_COST, Budget

ME, OTHER = ("telegram", "7"), ("telegram", "8")


def test_a_person_is_told_once_and_then_left_alone_until_there_is_something_again() -> None:
    budget, now = Budget(), 1_000_000
    verdicts = [budget.spend(ME, "1", now) for _ in range(20)]
    assert verdicts == ["yes"] * int(PERSON[0]) + ["notice"] + ["silence"] * (19 - int(PERSON[0]))
    later = now + round(60_000 / PERSON[1])
    assert budget.spend(ME, "1", later) == "yes"
    assert budget.spend(ME, "1", later) == "notice"


def test_one_person_takes_nothing_from_another_in_another_chat() -> None:
    budget, now = Budget(), 1_000_000
    for _ in range(50):
        budget.spend(ME, "1", now)
    assert budget.spend(OTHER, "2", now) == "yes"


def test_a_chat_has_a_budget_of_its_own() -> None:
    budget, now = Budget(), 1_000_000
    verdicts = [budget.spend(("telegram", str(number)), "1", now) for number in range(40)]
    assert verdicts.count("yes") == CHAT[0]
    assert verdicts.count("notice") == 10  # each of the others is told once
    assert budget.spend(("telegram", "39"), "1", now) == "silence"


def test_pictures_cost_more() -> None:
    budget = Budget()
    verdicts = [budget.spend(ME, "1", 1_000_000, PICTURE_COST) for _ in range(6)]
    assert verdicts.count("yes") == PERSON[0] // PICTURE_COST


@given(st.lists(st.tuples(st.integers(0, 5_000), st.sampled_from([1.0, PICTURE_COST])), max_size=80))
def test_nobody_gets_more_than_the_rate(asked: list[tuple[int, float]]) -> None:
    budget, now, spent = Budget(), 1_000_000, 0.0
    start = now
    for wait, cost in asked:
        now += wait
        spent += cost if budget.spend(ME, "1", now, cost) == "yes" else 0.0
    assert spent <= PERSON[0] + (now - start) / 60_000 * PERSON[1] + 1e-6
