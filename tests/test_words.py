"""The house's words: one word for a thing, and none of the private dialect it was once written in."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handlers.test_i18n import texts
from tests.test_structure import ROOMS, ROOT

BANNED = re.compile(
    r"\b(?:told|heard|anew|whoever|wish(?:es|ed)?|forced out|mend(?:s|ed)?|let(?:s)? in|take(?:s|n)? up|took up"
    r"|weighed|held against)\b",
    re.IGNORECASE,
)
PAGES = ("README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))


def prose(source: str) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a module, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        # A string that stands alone documents what it follows.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def test_a_banned_word_would_be_seen() -> None:
    module = '"""Whoever reads."""\nX = 1  # told\n"""Not forced out."""\n'
    assert [bool(BANNED.search(text)) for _, text in prose(module)] == [True, True, True]
    assert not BANNED.search("told_at notified threshold recommend")


@pytest.mark.parametrize("room", ROOMS)
def test_no_comment_or_docstring_uses_a_banned_word(room: str) -> None:
    uses = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in sorted((ROOT / room).rglob("*.py"))
        if path != Path(__file__)
        for line, text in prose(path.read_text(encoding="utf-8"))
        for match in BANNED.finditer(text)
    ]
    assert uses == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_uses_a_banned_word(page: str) -> None:
    assert BANNED.findall((ROOT / page).read_text(encoding="utf-8")) == []


def test_no_message_uses_a_banned_word() -> None:
    assert [text for text in map(str, texts()) if BANNED.search(text)] == []
