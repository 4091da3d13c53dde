"""Request budgets of a person and of a chat, with one notice when they are used up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handlers.budget import CHAT, PERSON, PICTURE_COST, Budget

ME, OTHER = ("telegram", "7"), ("telegram", "8")


def test_a_person_over_budget_gets_one_notice_until_it_refills() -> None:
    budget, now = Budget(), 1_000_000
    verdicts = [budget.spend(ME, "1", now) for _ in range(20)]
    assert verdicts == ["yes"] * int(PERSON[0]) + ["notice"] + ["silence"] * (19 - int(PERSON[0]))
    later = now + round(60_000 / PERSON[1])
    assert budget.spend(ME, "1", later) == "yes"
    assert budget.spend(ME, "1", later) == "notice"


def test_people_in_different_chats_share_no_budget() -> None:
    budget, now = Budget(), 1_000_000
    for _ in range(50):
        budget.spend(ME, "1", now)
    assert budget.spend(OTHER, "2", now) == "yes"


def test_a_chat_has_a_budget_of_its_own() -> None:
    budget, now = Budget(), 1_000_000
    verdicts = [budget.spend(("telegram", str(number)), "1", now) for number in range(40)]
    assert verdicts.count("yes") == CHAT[0]
    assert verdicts.count("notice") == 10  # one to each of the other ten people
    assert budget.spend(("telegram", "39"), "1", now) == "silence"


def test_pictures_cost_more() -> None:
    budget = Budget()
    verdicts = [budget.spend(ME, "1", 1_000_000, PICTURE_COST) for _ in range(6)]
    assert verdicts.count("yes") == PERSON[0] // PICTURE_COST


@given(st.lists(st.tuples(st.integers(0, 5_000), st.sampled_from([1.0, PICTURE_COST])), max_size=80))
def test_spending_stays_within_the_rate(asked: list[tuple[int, float]]) -> None:
    budget, now, spent = Budget(), 1_000_000, 0.0
    start = now
    for wait, cost in asked:
        now += wait
        spent += cost if budget.spend(ME, "1", now, cost) == "yes" else 0.0
    assert spent <= PERSON[0] + (now - start) / 60_000 * PERSON[1] + 1e-6
