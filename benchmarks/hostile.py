"""Random and hostile input to parsers and renderers: no exceptions, nothing over a platform's limits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator

from handlers.answers import pressed
from handlers.commands.autocomplete import proposed
from handlers.commands.dispatch import all_commands
from handlers.commands.rule_arguments import SAVE
from handlers.i18n import LANGUAGES
from handlers.numbers import clean
from handlers.platforms.telegram.updates import _addressed
from tests.handlers.kit import Kit
from tests.handlers.limits import broken

INPUTS, SEED = 100_000, 20_261_122
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ",
    "0123456789.,'_ kmb%$+-–−\u00a0\u202f",
    "<>&\"'`*_~|[](){}@#!/\\=?",
    "\u202e\u200b\u0000\u001b\ud800\udfff\U0001f4a5ñйж中文ạ٣½Ⅷ\n\t",
)
PIECES = (
    *(
        "btc",
        "eth",
        "BTC/USDT",
        "88000",
        "88,000",
        "88.000",
        "88k",
        "-3%",
        "1,5%",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 40,
    ),
    *("near", "price", "funding", "oi", "risk", "cascade", "swept", "once", "always", "every", "for", "4h", "7d", SAVE),
    *(
        "calm",
        "normal",
        "busy",
        "longs",
        "short",
        "$20m",
        "remove",
        "pause",
        "resume",
        "#1",
        "1",
        "p2",
        "p99999",
        "yes",
    ),
    *("@everyone", "@here", "<@1234567890>", "<@&1234567890>", "<#1234567890>", "<t:1:R>", "[x](http://y)", "||x||"),
    *("<b>", "</b>", "<script>", "&lt;", "&amp;", "[bold]", "[/]", "\\", "{0}", "{asset}", "{x!r}", "%s", "%(x)s"),
    *(
        "'; DROP TABLE chat; --",
        "../../etc/passwd",
        "23:00-07:00",
        "Europe/Berlin",
        "UTC+3",
        "es",
        "auto",
        "cap",
        "role",
    ),
)


def run() -> Iterator[tuple[str, float, str]]:
    """Yield all figures. Takes some minutes."""
    exceptions, over = asyncio.run(_all(INPUTS, SEED))
    yield "hostile.inputs", float(INPUTS), "lines, each rendered for three faces"
    yield "hostile.exceptions", float(exceptions), "none is right"
    yield "hostile.over_limit", float(over), "none is right"


class Exceptions(logging.Handler):
    """Counts errors logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        if self.count <= 3:
            print(self.format(record))


async def _all(count: int, seed: int) -> tuple[int, int]:
    """Send `count` lines. Return the number of exceptions, and of answers that break a limit."""
    chance, kit, seen = random.Random(seed), await Kit.make(), Exceptions()
    logging.getLogger("handlers").addHandler(seen)
    kit.people.admins.add("7")
    chats = [await kit.chat(str(number)) for number in range(1, 6)]
    chats.append(await kit.chat("-100", "group"))
    over = raised = 0
    for _ in range(count):
        line = _line(chance)
        try:
            _addressed(f"/{line}" if not line.strip() else line, "cliffwatch_bot")
            proposed(kit.services, chance.choice(("asset", "price")), clean(line), line[:5])
            line = pressed(line).filled(line[:30])
            answer = await kit.ask(line, chat=chance.choice(chats), locale=chance.choice(list(LANGUAGES)))
            wrong = broken(answer)
        except Exception as error:  # noqa: BLE001  # counted, not raised
            raised += 1
            print(f"{type(error).__name__}: {error} for {line!r}")
            continue
        if wrong:
            over += 1
            print(f"{wrong} for {line!r}")
    await kit.close()
    logging.getLogger("handlers").removeHandler(seen)
    return raised + seen.count, over


def _line(chance: random.Random) -> str:
    """Return a line: random letters, a command with pieces, or a command that is far too long."""
    kind = chance.random()
    names = [command.name for command in all_commands(hidden=True)]
    if kind < 0.2:
        return _letters(chance, chance.randrange(1, 80))
    if kind < 0.23:
        return f"/{chance.choice(names)} {_letters(chance, chance.randrange(1000, 5000))}"
    words = [
        chance.choice(PIECES) if chance.random() < 0.8 else _letters(chance, 12) for _ in range(chance.randrange(6))
    ]
    at = "@cliffwatch_bot" if chance.random() < 0.1 else ""
    return f"/{chance.choice(names)}{at} {' '.join(words)}"


def _letters(chance: random.Random, count: int) -> str:
    alphabet = chance.choice(ALPHABETS) + chance.choice(ALPHABETS)
    return "".join(chance.choice(alphabet) for _ in range(count))
