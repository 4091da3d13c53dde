"""A web address that accepts posts: a Discord webhook, or any program that receives ours."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.servers.telegram import Spoil, spoil


class WebhookServer:
    """Keeps the posts."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.refuses: tuple[int, dict[str, str], dict[str, Any]] | None = None
        self.spoils: Spoil | None = None
        self.changes = ""
        """Id of the message that it claims to have edited, whatever was requested."""

        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/secret-part-of-the-address"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.method, request.path, dict(request.query)))
        if self.refuses is not None:
            status, headers, answer = self.refuses
            return web.json_response(answer, status=status, headers=headers)
        self.posts.append((dict(request.headers), body))
        if self.spoils:
            return await spoil(request, self.spoils)
        changed = request.path.rpartition("/messages/")[2] if request.method == "PATCH" else ""
        return web.json_response({"id": self.changes or changed or str(len(self.posts))})
