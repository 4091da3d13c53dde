"""Discord over real sockets: simcord models it, and this server connects clients in other processes to it.

It serves REST with multipart and the gateway with zlib-stream, and honours nonces, which the model ignores.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import simcord.http.routes  # registers the routes  # noqa: F401
from aiohttp import WSMsgType, web
from simcord import interactions
from simcord._clock import Clock
from simcord.backend import Backend, serializers
from simcord.backend.errors import BackendError
from simcord.http.router import RouteNotImplemented, UnsupportedField, dispatch

from tests.servers.telegram import Spoil, spoil

TOKEN = "discord-test-token-abcdef"
Fault = Callable[[str, str], web.Response | None]


NONCE_SECONDS = 120.0
"""Lifetime of a nonce, seconds. Discord documents a few minutes."""


class WallClock(Clock):  # type: ignore[misc]  # simcord is not typed
    """Real time. The model's own clock does not move, so interactions would never expire."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Connection:
    """One gateway connection."""

    queue: asyncio.Queue[tuple[int, str | None, Any]]
    shard: int = 0


class DiscordServer:
    """A Discord with one guild, one channel, an admin and a member."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.backend = Backend(clock=WallClock())
        self._connections: dict[int, Connection] = {}
        self.backend.subscribers.append(self._on_event)
        self.admin = self.backend.make_user("admin")
        self.member = self.backend.make_user("member")
        self.guild = self.backend.create_guild("Traders", owner_id=self.admin.id)
        self.channel = self.backend.create_channel(self.guild.id, "alerts")
        self.backend.add_member(self.guild.id, self.member.id)
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []
        self._nonces: dict[tuple[str, str], tuple[float, Any]] = {}
        self.slow_seconds = 0.0
        """Upper bound of the random delay before a message is accepted. Once the sender is gone, a share is dropped."""

        self.unheard_share = 0.5
        self.spoils: Spoil | None = None
        """How to break the response to an accepted message."""

        self._chance = random.Random(2)
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v10"

    @property
    def gateway(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=32 << 20)
        app.router.add_route("*", "/api/v10/{tail:.*}", self._rest)
        app.router.add_get("/", self._socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        for socket in tuple(self._sockets):
            await socket.close(code=1001)
        if self._runner:
            await self._runner.cleanup()

    # -- people

    def slash(
        self, user_id: int, channel_id: int, name: str, own: bool = False, between_people: bool = False, **options: Any
    ) -> Any:
        """Give a slash command as a user. Return the record of the interaction.

        own: through an app that only this user has installed. between_people: in a chat without the bot.

        Raises:
            KeyError: when the command is not synced.
        """
        visible = {c["name"]: c for c in self.backend.visible_commands(user_id=user_id, channel_id=channel_id)}
        leaf, nesting = interactions.walk_to_subcommand(visible[name], [])
        actor = SimpleNamespace(_env=SimpleNamespace(backend=self.backend), id=user_id)
        given, _ = interactions.build_options(actor, name, leaf, options, channel_id=channel_id)
        data = {"id": visible[name]["id"], "name": name, "type": 1}
        data["options"] = interactions.nest_options(visible[name], nesting, given)
        record, payload = self._prepared(2, user_id, channel_id, data, own=own or between_people)
        if between_people:
            payload.pop("guild_id", None)
            payload |= {"context": 2, "user": payload.pop("member")["user"]}
        self.backend.emit("INTERACTION_CREATE", payload)
        return record

    def click(self, user_id: int, channel_id: int, message: Any, label: str) -> Any:
        """Press a button of a message as a user. Return the record of the interaction."""
        buttons = [b for row in message.components for b in row["components"]]
        custom_id = next(b["custom_id"] for b in buttons if b["label"] == label)
        return self._interact(3, user_id, channel_id, {"custom_id": custom_id, "component_type": 2}, message)

    async def propose(self, user_id: int, channel_id: int, name: str, option: str, typed: str) -> list[dict[str, str]]:
        """Return what autocomplete proposes while a user types an option of a command."""
        visible = {c["name"]: c for c in self.backend.visible_commands(user_id=user_id, channel_id=channel_id)}
        options = [{"name": option, "type": 3, "value": typed, "focused": True}]
        data = {"id": visible[name]["id"], "name": name, "type": 1, "options": options}
        record = self._interact(4, user_id, channel_id, data)
        deadline = time.monotonic() + 5
        while record.autocomplete_choices is None and time.monotonic() < deadline:  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.02)
        return list(record.autocomplete_choices or [])

    def form(self, record: Any) -> Any:
        """Return the form that answers an interaction, None until it is there."""
        return record.modal

    def submit(self, user_id: int, channel_id: int, form: Any, typed: str) -> Any:
        """Fill in and submit a one-line form as a user. Return the record of the interaction."""
        line = form["components"][0]["components"][0]
        row = {"type": 1, "components": [{"type": 4, "custom_id": line["custom_id"], "value": typed}]}
        return self._interact(5, user_id, channel_id, {"custom_id": form["custom_id"], "components": [row]})

    def commands(self) -> list[dict[str, Any]]:
        """Return the commands that the bot registered."""
        return list(self.backend.commands.get(None, {}).values())

    def private(self, user_id: int) -> int:
        """Return the id of the private channel of a user and the bot."""
        return int(self.backend.get_dm_channel(user_id).id)

    def synced(self, user_id: int | None = None) -> set[str]:
        """Return the names of registered commands that a user sees, by default the admin."""
        visible = self.backend.visible_commands(user_id=user_id or self.admin.id, channel_id=self.channel.id)
        return {command["name"] for command in visible}

    def messages(self, channel_id: int) -> list[Any]:
        """Return the bot's messages in a channel, oldest first, without answers to commands."""
        return [
            message
            for message in self.backend.messages.get(channel_id, {}).values()
            if message.author_id == self.backend.bot_user.id and not getattr(message, "interaction_metadata", None)
        ]

    def answer(self, record: Any) -> Any:
        """Return the message that answers an interaction, None until it is there."""
        if record.message_id is None or record.loading:
            return None
        return self.backend.get_message(record.channel_id, record.message_id)

    def _interact(self, kind: int, user_id: int, channel_id: int, data: Any, message: Any = None) -> Any:
        record, payload = self._prepared(kind, user_id, channel_id, data)
        if message is not None:
            payload["message"] = serializers.message_payload(self.backend, message)
            record.source_message_id = message.id
        self.backend.emit("INTERACTION_CREATE", payload)
        return record

    def _prepared(
        self, kind: int, user_id: int, channel_id: int, data: Any, *, own: bool = False
    ) -> tuple[Any, dict[str, Any]]:
        """Return the record of an interaction, and the payload for the bot."""
        channel = self.backend.get_channel(channel_id)
        record, payload = interactions.base_payload(
            self.backend, type=kind, channel_id=channel_id, guild_id=channel.guild_id, user_id=user_id, data=data
        )
        owners = {"1": str(user_id)} if own else {"0": str(channel.guild_id or 0)}
        payload["authorizing_integration_owners"] = owners
        return record, payload

    # -- REST

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path, body, files = "/" + request.match_info["tail"], None, []
        if request.content_type == "application/json" and request.can_read_body:
            body = await request.json()
        elif request.content_type.startswith("multipart/"):
            async for part in await request.multipart():
                if part.name == "payload_json":  # type: ignore[union-attr]  # body parts only
                    body = json.loads(await part.text())  # type: ignore[union-attr]
                else:
                    data = io.BytesIO(await part.read())  # type: ignore[union-attr]
                    name = part.filename  # type: ignore[union-attr]
                    files.append(SimpleNamespace(fp=data, filename=name, description=None))
        if self.slow_seconds and request.method == "POST" and path.endswith("/messages"):
            await asyncio.sleep(self.slow_seconds * self._chance.random())
            if request.transport is None and self._chance.random() < self.unheard_share:
                return web.Response(status=500)  # the sender is gone
        response = self._answer(request, path, body, files)
        if self.spoils and request.method == "POST" and path.endswith("/messages"):
            return await spoil(request, self.spoils)
        self.requests.append((request.method, path, response.status))
        return response

    def _answer(self, request: web.Request, path: str, body: Any, files: list[Any]) -> web.Response:
        for fault in tuple(self.faults):
            if (refused := fault(request.method, path)) is not None:
                return refused
        given = request.headers.get("Authorization")
        open_to_all = path.startswith(("/interactions/", "/webhooks/"))
        if given != f"Bot {self.token}" and not (given is None and open_to_all):
            return reply({"message": "401: Unauthorized", "code": 0}, status=401)
        if path == "/gateway/bot":
            limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
            return reply({"url": self.gateway + "/", "shards": 1, "session_start_limit": limit})
        sends = request.method == "POST" and path.startswith("/channels/") and path.endswith("/messages")
        nonce = body.get("nonce") if sends and isinstance(body, dict) and body.get("enforce_nonce") else None
        if nonce is not None and (path, nonce) in self._nonces:
            taken_at, before = self._nonces[path, nonce]
            if time.monotonic() - taken_at < NONCE_SECONDS:
                return reply(before)
        try:
            result = dispatch(
                self.backend, request.method, path, json=body, params=dict(request.query), files=files, reason=None
            )
        except BackendError as error:
            return reply(error.to_json(), status=error.status)
        except (RouteNotImplemented, UnsupportedField) as error:
            return reply({"message": f"404: {error}", "code": 0}, status=404)
        if result is None:
            return web.Response(status=204)
        if nonce is not None:
            result = {**result, "nonce": nonce}
            self._nonces[path, nonce] = (time.monotonic(), result)
        return reply(result)

    # -- gateway

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self._sockets.add(socket)
        connection = Connection(asyncio.Queue())
        pump = asyncio.create_task(_pump(socket, connection.queue))
        connection.queue.put_nowait((10, None, {"heartbeat_interval": 41_250}))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT and not self._hear(json.loads(message.data), connection):
                    await socket.close(code=4004, message=b"Authentication failed.")
        finally:
            pump.cancel()
            self._sockets.discard(socket)
            if self._connections.get(connection.shard) is connection:
                del self._connections[connection.shard]
        return socket

    def _hear(self, message: dict[str, Any], connection: Connection) -> bool:
        """Handle one gateway message. Return False if the connection must be closed for a wrong token."""
        put = connection.queue.put_nowait
        if message["op"] == 1:
            put((11, None, None))
        elif message["op"] == 6:
            self._connections[connection.shard] = connection
            put((0, "RESUMED", {}))
        elif message["op"] == 2:
            if message["d"]["token"] != self.token:
                return False
            shard = message["d"].get("shard", [0, 1])
            connection.shard = shard[0]
            self._connections[connection.shard] = connection
            ready = {
                "v": 10,
                "user": serializers.user_payload(self.backend.bot_user),
                "guilds": [{"id": str(guild), "unavailable": True} for guild in self.backend.guilds],
                "session_id": "s",
                "resume_gateway_url": self.gateway + "/",
                "shard": shard,
                "application": {"id": str(self.backend.application_id), "flags": 0},
            }
            put((0, "READY", ready))
            for guild in self.backend.guilds.values():
                put((0, "GUILD_CREATE", serializers.guild_create_payload(self.backend, guild)))
        return True

    def _on_event(self, event: str, payload: Any) -> None:
        for connection in self._connections.values():
            # Copy it: the model keeps changing its payloads.
            connection.queue.put_nowait((0, event, json.loads(json.dumps(payload))))


async def _pump(socket: web.WebSocketResponse, queue: asyncio.Queue[tuple[int, str | None, Any]]) -> None:
    packer, number = zlib.compressobj(), 0
    while True:
        op, event, data = await queue.get()
        number += op == 0
        raw = json.dumps({"op": op, "t": event, "d": data, "s": number if op == 0 else None}).encode()
        await socket.send_bytes(packer.compress(raw) + packer.flush(zlib.Z_SYNC_FLUSH))


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON response with exactly the content type that the library requires."""
    given = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(value).encode(), status=status, headers=given)
