"""Translation by gettext catalogues, with the language chosen for each request and message.

A context variable holds the language, so that functions need not pass it on. Texts are written in English where they
are used, with placeholders in braces: _("{count} alerts here", count=3). N_ marks a text that is translated later.
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
"""Native name of each language, by tag."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its catalogue, and its thousands and decimal separators as a translation table."""

    tag: str
    catalogue: gettext.NullTranslations
    separators: dict[int, str]


@lru_cache
def language(tag: str) -> Language:
    """Return the language of a tag, with its catalogue loaded.

    Raises:
        KeyError: for a tag that is not in LANGUAGES.
    """
    if tag not in LANGUAGES:
        raise KeyError(tag)
    symbols = Locale.parse(tag, sep="-").number_symbols["latn"]
    # Where CLDR groups by a space it does not break, so a number stays on one line. For es CLDR has a point: Latin
    # America uses commas and Spain no separator below 10,000, but all of them can read the point.
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
    """Use a language for all texts within the block."""
    token = _current.set(tag if tag in LANGUAGES else SOURCE)
    try:
        yield
    finally:
        _current.reset(token)


def spoken() -> str:
    """Return the tag of the current language."""
    return _current.get()


def pick(locale: str | None) -> str:
    """Return the language for a platform's locale such as pt-br, zh-CN or ru; English if there is none."""
    tag = (locale or "").replace("_", "-").lower()
    base = tag.partition("-")[0]
    return next((candidate for candidate in LANGUAGES if candidate.lower().partition("-")[0] == base), SOURCE)


def language_of(preferences: Preferences, locale: str = "") -> str:
    """Return the language of a chat: the one it chose, else the one for its locale.

    Args:
        locale: the sender's locale; if empty, the last one seen in the chat counts.
    """
    return preferences.language or pick(locale or preferences.locale)


def _(message: str, /, **values: Any) -> str:
    """Translate a text into the current language and fill in its values."""
    if not message:
        return ""  # the empty text is the catalogue's header
    text = language(_current.get()).catalogue.gettext(message)
    return text.format(**values) if values else text


def n_(one: str, many: str, count: int, /, **values: Any) -> str:
    """Translate a text that depends on a count; {count} is replaced by it."""
    return language(_current.get()).catalogue.ngettext(one, many, count).format(count=count, **values)


def N_(message: str) -> str:  # noqa: N802  # the name that gettext's tools and readers know
    """Mark a text for the catalogues where it is written. It is translated where it is used."""
    return message


def error_text(error: CliffwatchError) -> str:
    """Return an error's message in the current language."""
    return _(error.message, **error.values) if error.message else str(error)


def written(number: str) -> str:
    """Return a number such as 88,000.5 with the separators of the current language."""
    return number.translate(language(_current.get()).separators)
