"""Any input: never an exception, never unescaped markup or a live mention, never over a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.answers import BLANK, pressed
from handlers.commands.dispatch import all_commands
from handlers.commands.registry import split
from handlers.i18n import LANGUAGES
from handlers.numbers import clean
from tests.handlers.kit import Kit
from tests.handlers.limits import broken

NAMES = [command.name for command in all_commands(hidden=True)] + ["oi", "liquidated", "x", ""]
TYPED = (
    "btc BTC 88000 88k -3% 1,5% nan inf 1e999 save once every 4h for 7d p2 p0 p999 remove #1 yes off "
    "{0} {asset} {!r} %s @everyone <@1> <b> </b> & `x` [x](y) [bold] 88.000 0 longs cap \u202e \U0001f4a5 ٣٤ ½ Ⅷ ０"
)
WORDS = st.sampled_from(TYPED.split())
UNCHECKED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
LINES = st.one_of(
    st.text(max_size=300),
    st.builds(lambda name, rest: f"/{name} {rest}", st.sampled_from(NAMES), st.text(max_size=120)),
    st.builds(lambda name, words: f"/{name} {' '.join(words)}", st.sampled_from(NAMES), st.lists(WORDS, max_size=6)),
)


class Here:
    """A kit with its own event loop, because hypothesis runs a property many times within one test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.kit = self.loop.run_until_complete(Kit.make())
        self.chat = self.loop.run_until_complete(self.kit.chat())
        self.kit.people.admins.add("7")

    def close(self) -> None:
        self.loop.run_until_complete(self.kit.close())
        self.loop.close()


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    made = Here()
    yield made
    made.close()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(line=LINES, tag=st.sampled_from(list(LANGUAGES)))
def test_every_line_is_answered_within_the_limits(
    here: Here, caplog: pytest.LogCaptureFixture, line: str, tag: str
) -> None:
    caplog.clear()
    with caplog.at_level(logging.ERROR, "handlers"):
        answer = here.loop.run_until_complete(here.kit.ask(line, chat=here.chat, locale=tag))
    assert not caplog.records, caplog.text
    assert not broken(answer)


@given(text=st.text())
def test_cleaned_text_can_be_sent(text: str) -> None:
    clean(text).encode()
    split(clean(text))


@given(code=st.text(max_size=80), word=st.text(max_size=80))
def test_any_button_code_can_be_parsed(code: str, word: str) -> None:
    press = pressed(code)
    filled = press.filled(word)
    assert press.asks == (BLANK in press.command.split())
    assert isinstance(filled, str)
