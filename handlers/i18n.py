"""The language an answer is in: gettext catalogues, picked anew for each request and message.

The language is kept in a context variable, so that every phrase of one answer is in one language without handing it
through each of them. A text is written in English where it is said, with names in braces for what changes:
_("{count} alerts here", count=3). Texts that are translated later than they are written are marked by N_.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from engine.errors import CliffwatchError
from engine.preferences import Preferences

CATALOGUES = Path(__file__).parent / "catalogues"
SOURCE = "en"
LANGUAGES = {
    "en": "English",
    "zh-Hans": "简体中文",
    "es": "Español",
    "ru": "Русский",
    "pt-BR": "Português (Brasil)",
    "vi": "Tiếng Việt",
}
"""By tag, each called as its speakers call it."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its catalogue, and what stands between thousands and before decimals of a number."""

    tag: str
    catalogue: gettext.NullTranslations
    separators: dict[int, str]


@lru_cache
def language(tag: str) -> Language:
    """The language of a tag, its catalogue read.

    Raises:
        KeyError: for a tag that is none of LANGUAGES.
    """
    if tag not in LANGUAGES:
        raise KeyError(tag)
    symbols = Locale.parse(tag, sep="-").number_symbols["latn"]
    # A space that may break would let a number end one line and begin the next; Latin America groups by commas and
    # Spain not below 10,000: the point of es is the one all of them read.
    separators = {ord(","): symbols["group"], ord("."): symbols["decimal"]}
    if tag == SOURCE:
        return Language(tag, gettext.NullTranslations(), separators)
    with (CATALOGUES / f"{tag}.po").open("rb") as file:
        catalogue = read_po(file, locale=tag.replace("-", "_"))
    binary = io.BytesIO()
    write_mo(binary, catalogue)
    binary.seek(0)
    return Language(tag, gettext.GNUTranslations(binary), separators)


_current: ContextVar[str] = ContextVar("language", default=SOURCE)


@contextmanager
def use_language(tag: str) -> Iterator[None]:
    """Say everything within in a language."""
    token = _current.set(tag if tag in LANGUAGES else SOURCE)
    try:
        yield
    finally:
        _current.reset(token)


def spoken() -> str:
    """The tag of the language that is spoken."""
    return _current.get()


def pick(locale: str | None) -> str:
    """The language for a platform's locale such as pt-br, zh-CN or ru: English where there is none for it."""
    tag = (locale or "").replace("_", "-").lower()
    base = tag.partition("-")[0]
    return next((known for known in LANGUAGES if known.lower().partition("-")[0] == base), SOURCE)


def language_of(preferences: Preferences, locale: str = "") -> str:
    """The language that a chat is spoken to in: the one it chose, else that of the platform's locale.

    Args:
        locale: of whoever asks, where that is known; else the one last seen there.
    """
    return preferences.language or pick(locale or preferences.locale)


def _(message: str, /, **values: Any) -> str:
    """A text in the language that is spoken, with its values."""
    if not message:
        return ""  # a catalogue keeps its head under the empty text
    text = language(_current.get()).catalogue.gettext(message)
    return text.format(**values) if values else text


def n_(one: str, many: str, count: int, /, **values: Any) -> str:
    """A text that depends on a count, in the language that is spoken; {count} stands for it."""
    return language(_current.get()).catalogue.ngettext(one, many, count).format(count=count, **values)


def N_(message: str) -> str:  # noqa: N802  # the name that gettext's tools and readers know
    """Mark a text for the catalogues where it is written; it is translated where it is said."""
    return message


def told(error: CliffwatchError) -> str:
    """An error in the language that is spoken."""
    return _(error.message, **error.values) if error.message else str(error)


def written(number: str) -> str:
    """A number such as 88,000.5 with the separators of the language that is spoken."""
    return number.translate(language(_current.get()).separators)
