"""The loopback exchange: every venue format on one port of 127.0.0.1, as /<venue>/<path>."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from engine.loopback.binancecoinm import BinanceCoinM
from engine.loopback.binanceusdm import BinanceUsdm
from engine.loopback.bitget import Bitget
from engine.loopback.bybit import Bybit
from engine.loopback.deribit import Deribit
from engine.loopback.faults import AHEAD_MS, Fault, instead, spoiled
from engine.loopback.format import Format, Subscription
from engine.loopback.gate import Gate
from engine.loopback.htx import Htx
from engine.loopback.hyperliquid import Hyperliquid
from engine.loopback.krakenfutures import KrakenFutures
from engine.loopback.kucoinfutures import KucoinFutures
from engine.loopback.okx import Okx
from engine.loopback.tape import Tape
from engine.ports import Clock

FORMATS: tuple[type[Format], ...] = (
    BinanceUsdm,
    Bybit,
    Okx,
    BinanceCoinM,
    Bitget,
    Gate,
    Hyperliquid,
    Deribit,
    KrakenFutures,
    KucoinFutures,
    Htx,
)
STREAM_SECONDS = 0.2


class _VenueClock:
    """A venue's own clock, which may be wrong."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_ms = 0
        self.frozen_at: int | None = None

    @property
    def speed(self) -> float:
        return self._clock.speed

    def now(self) -> int:
        return (self.frozen_at if self.frozen_at is not None else self._clock.now()) + self.offset_ms


class LoopbackExchange:
    """Serves tapes by coin until stopped.

    Attributes:
        requests: how many requests each venue has had.
    """

    def __init__(self, tapes: Mapping[str, Tape], clock: Clock, *, inverse: bool = False) -> None:
        self._clocks = {made.venue: _VenueClock(clock) for made in FORMATS}
        self._formats = {made.venue: made(tapes, self._clocks[made.venue], inverse=inverse) for made in FORMATS}
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self._faults: dict[str, Fault] = {}
        self._subscribed: list[tuple[str, Subscription]] = []
        self.requests: dict[str, int] = dict.fromkeys(self._formats, 0)
        self.port = 0

    @property
    def url(self) -> str:
        """The address to give as the venues' gateway."""
        return f"http://127.0.0.1:{self.port}"

    def fail(self, venue: str, fault: Fault | None) -> None:
        """Have a venue fail from now on, or with None be well again."""
        clock = self._clocks[venue]
        clock.offset_ms, clock.frozen_at = 0, None
        if fault is None:
            self._faults.pop(venue, None)
            return
        self._faults[venue] = fault
        if fault == "ahead":
            clock.offset_ms = AHEAD_MS
        if fault == "frozen":
            clock.frozen_at = clock.now()

    def recover(self) -> None:
        """Have every venue be well again."""
        for venue in tuple(self._faults):
            self.fail(venue, None)

    def listeners(self, venue: str) -> int:
        """How many websockets of a venue have subscribed to something."""
        return sum(1 for name, heard in self._subscribed if name == venue and (heard.everything or heard.ids))

    def delist(self, venue: str, coin: str) -> None:
        """Take a coin's contracts off a venue."""
        listed = self._formats[venue].contracts
        for contract in [c for c in listed.values() if c.coin == coin]:
            del listed[contract.id]

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_route("*", "/{venue}/{path:.*}", self._serve)
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
        fault = self._faults.get(venue)
        if path.startswith(found.stream_prefix) and fault != "down":
            return await self._stream(request, found)
        odd = await instead(fault)
        if odd is not None:
            return odd
        query: dict[str, Any] = dict(request.query)
        if request.method == "POST":
            query |= await request.json()
        answer = found.answer(path, query)
        if answer is None:
            raise web.HTTPNotFound
        status, payload = answer
        return web.Response(status=status, text=spoiled(fault, payload), content_type="application/json")

    async def _stream(self, request: web.Request, found: Format) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        subscription = Subscription()
        self._subscribed.append((found.venue, subscription))
        pump = asyncio.create_task(self._pump(socket, found, subscription))
        try:
            async for message in socket:
                if self._faults.get(found.venue) == "silent stream":
                    continue
                if message.type == WSMsgType.PING:
                    await socket.pong(message.data)
                if message.type == WSMsgType.TEXT:
                    for reply in found.hear(message.data, subscription):
                        await socket.send_str(reply)
        finally:
            pump.cancel()
            self._sockets.discard(socket)
            self._subscribed = [row for row in self._subscribed if row[1] is not subscription]
        return socket

    async def _pump(self, socket: web.WebSocketResponse, found: Format, subscription: Subscription) -> None:
        clock = self._clocks[found.venue]
        told = clock.now()
        while not socket.closed:
            await asyncio.sleep(STREAM_SECONDS)
            fault = self._faults.get(found.venue)
            if fault == "down":
                await socket.close()
                return
            now = clock.now()
            frames = [
                found.tell(contract, event)
                for contract in found.contracts.values()
                if subscription.wants(contract.id)
                for event in found.forced(contract, told, now)
            ]
            told = now
            if fault == "silent stream":
                continue
            for frame in frames * (2 if fault == "twice" else 1):
                await socket.send_str(frame)
            if fault == "cut stream" and frames:
                await socket.close()
                return
