"""Pictures: what is drawn is taken from the board on the loop, drawing itself happens in one worker."""

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
"""How long a picture is good for, though nothing that it shows has changed: its foot says how old it is."""


class Pictures:
    """Draws on demand; equal requests of one moment of the market share a picture."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="drawing")
        self._made: OrderedDict[tuple[Any, ...], asyncio.Future[bytes]] = OrderedDict()

    async def draw(self, found: Answer) -> bytes:
        """The PNG of an answer's picture."""
        if found.picture is None:
            raise ValueError("the answer has no picture")
        request = replace(found.picture, alt="", language=drawable(found.picture.language))
        board = self._services.board(request.asset)
        # What changes between two looks: price, what was reported, and the clock in the foot.
        reported = sum(sum(sides.values()) for sides in board.reported_by_venue(board.closed_at - DAY_MS).values())
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
        """What the worker has to do, with everything it needs taken from the board now."""
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
    """Draw in a language: the worker's thread has a context of its own."""
    with use_language(language):
        return draw()
