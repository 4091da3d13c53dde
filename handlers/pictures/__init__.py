"""Pictures: the event loop takes the data from the board, one worker thread draws."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from engine.market import DAY_MS
from handlers.answers import Answer, PictureRequest
from handlers.context import Services
from handlers.i18n import use_language
from handlers.pictures.clusters import clusters_picture, draw_clusters
from handlers.pictures.map import draw_map, map_picture
from handlers.pictures.market import draw_market, market_picture
from handlers.pictures.rekt import draw_rekt, rekt_picture
from handlers.pictures.skill import draw_skill, skill_picture
from handlers.pictures.style import drawable

KEPT = 32
SHARED_MS = 30_000
"""Maximum age of a shared picture, even if its data has not changed: its footer shows the time and data age."""


class Pictures:
    """Draws on demand. Equal requests within SHARED_MS share a picture while the data is the same."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="drawing")
        self._made: OrderedDict[tuple[Any, ...], asyncio.Future[bytes]] = OrderedDict()

    async def draw(self, answer: Answer) -> bytes:
        """Return the PNG of an answer's picture."""
        if answer.picture is None:
            raise ValueError("the answer has no picture")
        request = replace(answer.picture, alt="", language=drawable(answer.picture.language))
        board = self._services.board(request.asset)
        # Everything that can change a picture: price, reported liquidations, and the time in its footer.
        reported = sum(sum(sides.values()) for sides in board.reported.by_venue(board.closed_at - DAY_MS).values())
        moment = self._services.clock.now() // SHARED_MS
        key = (request, board.closed_at, f"{board.view.mark:.6g}", reported, moment)
        if key not in self._made:
            loop, work = asyncio.get_running_loop(), self._work(request)
            self._made[key] = asyncio.ensure_future(loop.run_in_executor(self._worker, work))
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        try:
            return await asyncio.shield(self._made[key])
        except Exception:
            self._made.pop(key, None)
            raise

    def _work(self, request: PictureRequest) -> Callable[[], bytes]:
        """Return the worker's job, with its data copied from the board now."""
        board, now = self._services.board(request.asset), self._services.clock.now()
        simulated = self._services.simulated
        with use_language(request.language):
            match request.kind:
                case "skill":
                    record = self._services.records[request.asset]
                    draw = partial(draw_skill, skill_picture(board, record, request, now, simulated=simulated))
                case "clusters":
                    draw = partial(draw_clusters, clusters_picture(board, request, now, simulated=simulated))
                case "market":
                    draw = partial(draw_market, market_picture(board, request, now, simulated=simulated))
                case "rekt":
                    draw = partial(draw_rekt, rekt_picture(board, request, now, simulated=simulated))
                case _:
                    draw = partial(draw_map, map_picture(board, request, now, simulated=simulated))
        return partial(_spoken, request.language, draw)

    def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)


def _spoken(language: str, draw: Callable[[], bytes]) -> bytes:
    """Draw in a language. It must be set here because the worker thread has its own context."""
    with use_language(language):
        return draw()
