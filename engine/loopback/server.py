"""The loopback exchange: all venue formats on one port of 127.0.0.1, as /<venue>/<path>."""

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
        requests: number of requests by venue, stream connections included.
    """

    def __init__(self, tapes: Mapping[str, Tape], clock: Clock, *, inverse: bool = False) -> None:
        self._clocks = {kind.venue: _VenueClock(clock) for kind in FORMATS}
        self._formats = {kind.venue: kind(tapes, self._clocks[kind.venue], inverse=inverse) for kind in FORMATS}
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self._faults: dict[str, Fault] = {}
        self._subscribed: list[tuple[str, Subscription]] = []
        self.requests: dict[str, int] = dict.fromkeys(self._formats, 0)
        self.port = 0

    @property
    def url(self) -> str:
        """Address to configure as the venues' gateway."""
        return f"http://127.0.0.1:{self.port}"

    def fail(self, venue: str, fault: Fault | None) -> None:
        """Make a venue fail from now on, or recover if the fault is None."""
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
        """Make every venue recover."""
        for venue in tuple(self._faults):
            self.fail(venue, None)

    def listeners(self, venue: str) -> int:
        """Return the number of a venue's websockets with a subscription."""
        return sum(1 for name, sub in self._subscribed if name == venue and (sub.everything or sub.ids))

    def delist(self, venue: str, coin: str) -> None:
        """Remove a coin's contracts from a venue."""
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
        wire_format = self._formats.get(venue)
        if wire_format is None:
            raise web.HTTPNotFound
        self.requests[venue] += 1
        fault = self._faults.get(venue)
        if path.startswith(wire_format.stream_prefix) and fault != "down":
            return await self._stream(request, wire_format)
        odd = await instead(fault)
        if odd is not None:
            return odd
        query: dict[str, Any] = dict(request.query)
        if request.method == "POST":
            query |= await request.json()
        answer = wire_format.answer(path, query)
        if answer is None:
            raise web.HTTPNotFound
        status, payload = answer
        return web.Response(status=status, text=spoiled(fault, payload), content_type="application/json")

    async def _stream(self, request: web.Request, wire_format: Format) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        subscription = Subscription()
        self._subscribed.append((wire_format.venue, subscription))
        pump = asyncio.create_task(self._pump(socket, wire_format, subscription))
        try:
            async for message in socket:
                if self._faults.get(wire_format.venue) == "silent stream":
                    continue
                if message.type == WSMsgType.PING:
                    await socket.pong(message.data)
                if message.type == WSMsgType.TEXT:
                    for reply in wire_format.hear(message.data, subscription):
                        await socket.send_str(reply)
        finally:
            pump.cancel()
            self._sockets.discard(socket)
            self._subscribed = [row for row in self._subscribed if row[1] is not subscription]
        return socket

    async def _pump(self, socket: web.WebSocketResponse, wire_format: Format, subscription: Subscription) -> None:
        clock = self._clocks[wire_format.venue]
        sent_until = clock.now()
        while not socket.closed:
            await asyncio.sleep(STREAM_SECONDS)
            fault = self._faults.get(wire_format.venue)
            if fault == "down":
                await socket.close()
                return
            now = clock.now()
            frames = [
                wire_format.tell(contract, event)
                for contract in wire_format.contracts.values()
                if subscription.wants(contract.id)
                for event in wire_format.forced(contract, sent_until, now)
            ]
            sent_until = now
            if fault == "silent stream":
                continue
            for frame in frames * (2 if fault == "twice" else 1):
                await socket.send_str(frame)
            if fault == "cut stream" and frames:
                await socket.close()
                return
