"""The loopback exchange: every venue format on one port of 127.0.0.1, as /<venue>/<path>."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from aiohttp import WSMsgType, web

from engine.loopback.binanceusdm import BinanceUsdm
from engine.loopback.bybit import Bybit
from engine.loopback.format import Format, Subscription
from engine.loopback.okx import Okx
from engine.loopback.tape import Tape
from engine.ports import Clock

FORMATS: tuple[type[Format], ...] = (BinanceUsdm, Bybit, Okx)
STREAM_SECONDS = 0.2


class LoopbackExchange:
    """Serves tapes by coin until stopped.

    Attributes:
        failing: venues that answer 503 and cut their streams, for tests.
        requests: how many requests each venue has had.
    """

    def __init__(self, tapes: Mapping[str, Tape], clock: Clock) -> None:
        self._tapes, self._clock = tapes, clock
        self._formats = {made.venue: made(tapes, clock) for made in FORMATS}
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self.failing: set[str] = set()
        self.requests: dict[str, int] = dict.fromkeys(self._formats, 0)
        self.port = 0

    @property
    def url(self) -> str:
        """The address to give as the venues' gateway."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/{venue}/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        for socket in tuple(self._sockets):
            await socket.close()
        if self._runner:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        venue, path = request.match_info["venue"], "/" + request.match_info["path"]
        found = self._formats.get(venue)
        if found is None:
            raise web.HTTPNotFound
        self.requests[venue] += 1
        if venue in self.failing:
            return web.Response(status=503, text="<html>Service Unavailable</html>", content_type="text/html")
        if path.startswith(found.stream_prefix):
            return await self._stream(request, found)
        answer = found.answer(path, request.query)
        if answer is None:
            raise web.HTTPNotFound
        status, payload = answer
        return web.Response(status=status, text=json.dumps(payload), content_type="application/json")

    async def _stream(self, request: web.Request, found: Format) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.add(socket)
        subscription = Subscription()
        pump = asyncio.create_task(self._pump(socket, found, subscription))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    for reply in found.hear(message.data, subscription):
                        await socket.send_str(reply)
        finally:
            pump.cancel()
            self._sockets.discard(socket)
        return socket

    async def _pump(self, socket: web.WebSocketResponse, found: Format, subscription: Subscription) -> None:
        told = self._clock.now()
        while not socket.closed:
            await asyncio.sleep(STREAM_SECONDS)
            if found.venue in self.failing:
                await socket.close()
                return
            now = self._clock.now()
            for coin, tape in self._tapes.items():
                for event in tape.forced(found.venue, told, now):
                    if subscription.wants(coin):
                        await socket.send_str(found.tell(coin, event))
            told = now
