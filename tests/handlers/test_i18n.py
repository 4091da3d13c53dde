"""Languages: every text is translated, keeps its placeholders and fits the platforms' limits."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from engine.errors import InputError
from handlers import i18n as language
from handlers.commands.dispatch import all_commands
from handlers.commands.prompts import _QUESTIONS
from handlers.delivery.rendering import answer_of
from handlers.i18n import CATALOGUES, LANGUAGES, SOURCE, _, error_text, n_, pick, use_language
from handlers.numbers import parse_price, price, span, usd, usd_range
from handlers.platforms.discord.interactions import LOCAL_NAMES
from tests.handlers.kit import Kit
from tests.handlers.limits import broken

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [tag for tag in LANGUAGES if tag != SOURCE]
MARKS: dict[str, Any] = dict.fromkeys(("_", "N_", "InputError", "NotReadyError"))
MARKS |= {"n_": (1, 2), "command": (2,), "Parameter": (2,)}


def texts() -> set[str | tuple[str, ...]]:
    """Return every user-facing text of the program."""
    ids: set[str | tuple[str, ...]] = set()
    for folder in ("engine", "handlers"):
        for _file, _line, text, _comments, _context in extract_from_dir(ROOT / folder, keywords=MARKS):
            ids.add(text)
    return ids


def catalogue(tag: str) -> Catalog:
    with (CATALOGUES / f"{tag}.po").open("rb") as file:
        return read_po(file, locale=tag.replace("-", "_"))


def placeholders(text: str) -> list[tuple[str, str, str | None]]:
    return sorted((name, spec or "", how) for _, name, spec, how in Formatter().parse(text) if name is not None)


def said(message: Message) -> list[str]:
    return list(message.string) if isinstance(message.string, list | tuple) else [str(message.string)]


@pytest.mark.parametrize("tag", OTHERS)
def test_every_text_is_translated_and_no_other_is(tag: str) -> None:
    messages = {message.id: message for message in catalogue(tag) if message.id}
    assert messages.keys() == texts()
    assert not [message.id for message in messages.values() if message.fuzzy or not all(said(message))]


@pytest.mark.parametrize("tag", OTHERS)
def test_translations_keep_the_placeholders(tag: str) -> None:
    for message in catalogue(tag):
        many = [message.id] if isinstance(message.id, str) else list(message.id)
        if not many[0]:
            continue
        allowed = [placeholders(text) for text in many]
        for text in said(message):
            assert placeholders(text) in allowed, f"{tag}: {text}"


@pytest.mark.parametrize("tag", list(LANGUAGES))
def test_menus_and_forms_fit_the_platforms(tag: str) -> None:
    with use_language(tag):
        for command in all_commands(hidden=True):
            assert 1 <= len(_(command.help)) <= 100, (tag, command.name)
            for parameter in command.parameters:
                assert 1 <= len(_(parameter.help)) <= 100, (tag, parameter.help)
        for name in LOCAL_NAMES:
            local = _(name).removeprefix("/")
            assert re.fullmatch(r"[-\w]{1,32}", local), (tag, local)
            assert local == local.lower()
        assert len({_(name) for name in LOCAL_NAMES}) == len(LOCAL_NAMES)
        for question in _QUESTIONS.values():
            assert len(_(question)) <= 100


def test_every_command_of_the_menus_has_a_name_in_every_language() -> None:
    assert {name.removeprefix("/") for name in LOCAL_NAMES} == {command.name for command in all_commands()}


@pytest.mark.parametrize("tag", OTHERS)
async def test_every_answer_keeps_to_the_limits_in_every_language(tag: str) -> None:
    kit = await Kit.make()
    for command in all_commands():
        for line in (command.example, f"/{command.name}"):
            answer = await kit.ask(line, locale=tag)
            assert not broken(answer), (line, answer.text)
    assert (await kit.ask("/liq 86000", "9", locale=tag)).text != (await kit.ask("/liq 86000", "9")).text
    await kit.close()


def test_a_locale_leads_to_the_nearest_language() -> None:
    wanted = {"pt-br": "pt-BR", "pt": "pt-BR", "zh-hans": "zh-Hans", "zh-CN": "zh-Hans", "zh_TW": "zh-Hans"}
    wanted |= {"es-419": "es", "ru": "ru", "vi": "vi", "de": "en", "": "en"}
    assert {locale: pick(locale) for locale in wanted} == wanted


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("en", ("88,910", "3,124.5", "$1.2B", "$1.2-75M")),
        ("es", ("88.910", "3.124,5", "$1,2B", "$1,2-75M")),
        ("ru", ("88\u00a0910", "3\u00a0124,5", "$1,2B", "$1,2-75M")),
        ("pt-BR", ("88.910", "3.124,5", "$1,2B", "$1,2-75M")),
        ("zh-Hans", ("88,910", "3,124.5", "$1.2B", "$1.2-75M")),
    ],
)
def test_numbers_are_formatted_and_parsed_by_language(tag: str, shown: tuple[str, ...]) -> None:
    with use_language(tag):
        assert (price(88_910), price(3_124.5), usd(1.2e9), usd_range(1.2e6, 7.5e7)) == shown
        # A price that we display parses back.
        assert parse_price(price(88_910), 90_000.0) == 88_910
        assert parse_price(price(3_124.5), 3_000.0) == pytest.approx(3_124.5)


def test_plurals_follow_the_language() -> None:
    with use_language("ru"):
        shown = [n_("{count} alert here", "{count} alerts here", count) for count in (1, 2, 5, 11, 21)]
    assert shown == [
        "1 оповещение здесь",
        "2 оповещения здесь",
        "5 оповещений здесь",
        "11 оповещений здесь",
        "21 оповещение здесь",
    ]


def test_use_language_applies_only_within_its_block() -> None:
    with use_language("es"):
        assert span(30) == "30 s"
        with use_language("ru"):
            assert span(30) == "30 с"
        assert error_text(InputError("{word!r} is not a price.", word="x{y}")) == "'x{y}' no es un precio."
    assert language.spoken() == SOURCE
    with use_language("xx"):
        assert language.spoken() == SOURCE


async def test_a_group_uses_the_language_of_its_subscriber() -> None:
    kit = await Kit.make()
    kit.people.admins.add("7")
    group = await kit.chat("-5", "group")
    await kit.ask("/subscribe calm", chat=group, locale="ru")
    assert (await kit.chat("-5", "group")).preferences.locale == "ru"
    await kit.ask("/subscribe calm", chat=group, locale="es")
    assert (await kit.chat("-5", "group")).preferences.locale == "ru"
    await kit.store.outbox.add_message(group.id, {"kind": "test"})
    message = await kit.store.outbox.claim("telegram", 1000, ())
    assert message is not None
    assert answer_of(kit.services, kit.clock)(message).headline.startswith("Пробное оповещение")
    await kit.close()


async def test_a_chats_language_overrides_the_app_locale() -> None:
    kit = await Kit.make()
    assert (await kit.ask("/help", locale="es")).headline == "Lo que respondo"
    assert (await kit.ask("/language русский", locale="es")).headline == "Язык этого чата: Русский"
    assert (await kit.ask("/help", locale="es")).headline == "Команды"
    await kit.ask("/language auto", locale="es")
    assert (await kit.ask("/help", locale="es")).headline == "Lo que respondo"
    assert "no hablo" in (await kit.ask("/language klingon", locale="es")).headline.lower()
    await kit.close()


def test_f_strings_contain_no_texts() -> None:
    """Tools that collect texts do not find those inside an f-string."""
    for path in (ROOT / "handlers").rglob("*.py"):
        assert not re.search(r"\{(?:_|n_)\(['\"]", path.read_text()), path.name
