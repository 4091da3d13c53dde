"""Pictures: what is drawn is taken from the board on the loop, drawing itself happens in one worker."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from engine.board import AssetBoard
from handlers.answers import Answer, PictureRequest
from handlers.context import Services
from handlers.pictures.map import draw_map, map_picture
from handlers.pictures.skill import draw_skill, skill_picture

KEPT = 32


class Pictures:
    """Draws on demand; equal requests of one closed bar share a picture."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="drawing")
        self._made: OrderedDict[tuple[Any, ...], asyncio.Future[bytes]] = OrderedDict()

    async def draw(self, found: Answer) -> bytes:
        """The PNG of an answer's picture."""
        request = found.picture
        if request is None:
            raise ValueError("the answer has no picture")
        board = self._services.board(request.asset)
        key = (request.kind, request.asset, request.reach, board.closed_at, round(board.view.mark, 2))
        if key not in self._made:
            loop, work = asyncio.get_running_loop(), self._work(board, request)
            self._made[key] = asyncio.ensure_future(loop.run_in_executor(self._worker, work))
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        try:
            return await asyncio.shield(self._made[key])
        except Exception:
            self._made.pop(key, None)
            raise

    def _work(self, board: AssetBoard, request: PictureRequest) -> Callable[[], bytes]:
        """What the worker has to do, with everything it needs taken from the board now."""
        now, simulated = self._services.clock.now(), self._services.simulated
        if request.kind == "skill":
            record = self._services.records[request.asset]
            return partial(draw_skill, skill_picture(board, record, now, simulated=simulated))
        return partial(draw_map, map_picture(board, request, now, simulated=simulated))

    def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)
