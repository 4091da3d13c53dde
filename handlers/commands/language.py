"""/language: the language of a chat."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import InputError
from engine.preferences import Preferences
from handlers.access import require_admin
from handlers.answers import Answer, Button
from handlers.commands.registry import Parameter, command
from handlers.context import Request
from handlers.i18n import LANGUAGES, _, language_of, pick, use_language

AUTOMATIC = "auto"

NAMES = {
    "english": "en",
    "chinese": "zh-Hans",
    "spanish": "es",
    "russian": "ru",
    "portuguese": "pt-BR",
    "vietnamese": "vi",
    "中文": "zh-Hans",
    "汉语": "zh-Hans",
    "brazilian": "pt-BR",
    "portugues": "pt-BR",
    "español": "es",
    "espanol": "es",
    "русский": "ru",
    "tiếng việt": "vi",
    "tieng viet": "vi",
}
"""Language tags by other names that people use, in addition to LANGUAGES."""


@command(
    "language",
    "Set this chat's language",
    "/language es",
    Parameter("language", "Such as es, or auto to follow the platform", choices=(AUTOMATIC, *LANGUAGES)),
    admin_only=True,
)
async def language(request: Request, arguments: str) -> Answer:
    """Answer /language [tag | auto]."""
    wanted = arguments.strip()
    if not wanted:
        return _chosen(_of_chat(request, request.chat.preferences))
    await require_admin(request)
    tag = "" if wanted.lower() == AUTOMATIC else _known(wanted)
    preferences = replace(request.chat.preferences, language=tag)
    await request.services.store.chats.save_preferences(request.chat.id, preferences)
    with use_language(language_of(preferences, request.locale)):
        return replace(_chosen(_of_chat(request, preferences)), changed=True)


def _of_chat(request: Request, preferences: Preferences) -> str:
    """Return the language tag of a chat's alerts. In a group, the asker's own locale does not count."""
    return language_of(preferences, request.locale if request.chat.kind == "private" else "")


def _chosen(own: str) -> Answer:
    return Answer(
        _("This chat's language is {name}", name=LANGUAGES[own]),
        (_("Commands and names of coins and venues stay in English."),),
        buttons=tuple(Button(name, f"/language {tag}", here=True) for tag, name in LANGUAGES.items() if tag != own),
    )


def _known(wanted: str) -> str:
    """Return the tag of a language given by tag, name or locale.

    Raises:
        InputError: when there is no such language.
    """
    if wanted.casefold() in NAMES:
        return NAMES[wanted.casefold()]
    for tag, name in LANGUAGES.items():
        if wanted.lower() in (tag.lower(), name.lower()):
            return tag
    tag = pick(wanted)
    if tag == "en" and not wanted.lower().startswith("en"):
        raise InputError(
            "{word} isn't supported. Languages: {languages}.",
            "/language es",
            word=wanted[:20],
            languages=", ".join(LANGUAGES),
        )
    return tag
