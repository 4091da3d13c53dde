"""Limits of every platform that every answer must keep, whatever the input."""

from __future__ import annotations

import re

from rich.errors import MarkupError
from rich.text import Text

from handlers.answers import MAX_LINES, Answer, pressed
from handlers.platforms.discord.render import render_discord
from handlers.platforms.telegram.render import caption, render_telegram, units
from handlers.platforms.terminal import markup
from tests.servers.telegram import RefusedError, _Checker

MENTION = re.compile(r"(?<!\\)<(?:@[!&]?|id:)\d")
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def broken(answer: Answer) -> list[str]:
    """Return the limits that an answer breaks on any platform, in a few words each. Empty if it breaks none."""
    return [*_plain(answer), *_telegram(answer), *_discord(answer), *_terminal(answer)]


def _plain(answer: Answer) -> list[str]:
    wrong = []
    if not answer.headline.strip():
        wrong.append("no headline")
    if len(answer.lines) > MAX_LINES:
        wrong.append(f"{len(answer.lines)} lines")
    if FORBIDDEN.search(answer.text):
        wrong.append("control characters or lone surrogates")
    other = [button.label for button in answer.buttons if pressed(button.code).command != button.command]
    return wrong + [f"the button {label} runs another command" for label in other]


def _telegram(answer: Answer) -> list[str]:
    rendered = render_telegram(answer)
    wrong = []
    for name, text, limit in (("html", rendered["html"], 4096), ("caption", caption(answer), 1024)):
        try:
            if units(_Checker.plain(text)) > limit:
                wrong.append(f"telegram {name} too long")
        except RefusedError as error:
            wrong.append(f"telegram {name}: {error}")
    if units(rendered["plain"]) > 4096:
        wrong.append("telegram plain too long")
    for row in rendered["buttons"]:
        for label, code in row:
            if not 1 <= len(code.encode()) <= 64 or not label or len(label) > 64:
                wrong.append(f"telegram button {label[:30]}")
    return wrong


def _discord(answer: Answer) -> list[str]:
    rendered = render_discord(answer)
    embed = rendered["embed"]
    wrong = []
    if not 0 < len(rendered["content"]) <= 2000 or len(rendered["plain"]) > 2000:
        wrong.append("discord content too long")
    if len(embed["description"]) > 4096 or len(embed["footer"]["text"]) > 2048:
        wrong.append("discord embed too long")
    if len(rendered["content"]) + len(embed["description"]) + len(embed["footer"]["text"]) > 6000:
        wrong.append("discord message too long")
    if MENTION.search(rendered["content"] + embed["description"]):
        wrong.append("discord mention")
    buttons = rendered["buttons"]
    if len(buttons) > 25 or len({custom_id for _, custom_id in buttons}) < len(buttons):
        wrong.append("discord buttons")
    if any(len(custom_id) > 100 or not 0 < len(label) <= 80 for label, custom_id in buttons):
        wrong.append("discord button")
    return wrong


def _terminal(answer: Answer) -> list[str]:
    try:
        Text.from_markup(markup(answer))
    except MarkupError as error:
        return [f"terminal: {error}"]
    return []
