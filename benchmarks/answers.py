"""/liq and /map from a hundred users at once: waiting times, and event-loop lag while pictures are drawn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import numpy as np

from handlers.pictures import Pictures
from handlers.platforms.telegram.render import render_telegram
from tests.handlers.kit import Kit

USERS, ROUNDS, DIFFERENT, TICK_SECONDS = 100, 5, 12, 0.005


def run() -> Iterator[tuple[str, float, str]]:
    """Yield all figures. Takes some seconds."""
    yield from asyncio.run(_all())


async def _all() -> list[tuple[str, float, str]]:
    kit = await Kit.make()
    pictures = Pictures(kit.services)
    chats = [await kit.chat(str(number)) for number in range(1, USERS + 1)]
    reaches = count(300)

    async def ask(number: int, text: str) -> None:
        answer = await kit.ask(text, str(number + 1), chats[number])
        render_telegram(answer)
        if answer.picture is not None:
            await pictures.draw(answer)

    liq = [await _at_once(USERS, lambda n: ask(n, f"/liq {80_000 + 97 * n}")) for _ in range(ROUNDS)]
    cold = await _at_once(USERS, lambda n: ask(n, "/map 7%"))
    warm = [await _at_once(USERS, lambda n: ask(n, "/map 7%")) for _ in range(ROUNDS)]
    lag = asyncio.create_task(_lag())
    started = time.perf_counter()
    await _at_once(DIFFERENT, lambda n: ask(n, f"/map {next(reaches) / 100}%"))
    drawn = (time.perf_counter() - started) / DIFFERENT
    lag.cancel()
    lags = np.array((await asyncio.gather(lag, return_exceptions=True))[0])
    pictures.close()
    await kit.close()
    one = float(np.median(np.concatenate(liq)))
    rows = [("answers.users", float(USERS), "at once")]
    for name, waits in (("liq", np.concatenate(liq)), ("map_first", cold), ("map_shared", np.concatenate(warm))):
        rows.append((f"answers.{name}_median_ms", float(np.median(waits)) * 1000, "all asking at once"))
        rows.append((f"answers.{name}_p99_ms", float(np.quantile(waits, 0.99)) * 1000, "all asking at once"))
    rows.append(("answers.map_shared_over_liq", float(np.median(np.concatenate(warm))) / one, "ratio of medians"))
    rows.append(("answers.picture_ms", drawn * 1000, "one picture, one worker"))
    rows.append(("answers.lag_p99_ms", float(np.quantile(lags, 0.99)) * 1000, "loop late while pictures are drawn"))
    rows.append(("answers.lag_max_ms", float(lags.max()) * 1000, "loop late while pictures are drawn"))
    return rows


async def _at_once(many: int, ask: Callable[[int], Awaitable[None]]) -> np.ndarray:
    """Run `ask` for `many` users at once. Return the seconds each waited."""

    async def timed(number: int) -> float:
        started = time.perf_counter()
        await ask(number)
        return time.perf_counter() - started

    return np.array(await asyncio.gather(*(timed(number) for number in range(many))))


async def _lag() -> list[float]:
    """Sleep repeatedly until cancelled. Return how late each wake-up was, seconds."""
    lags: list[float] = []
    try:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            lags.append(time.perf_counter() - before - TICK_SECONDS)
    except asyncio.CancelledError:
        return lags
