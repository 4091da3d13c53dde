"""The Discord platform: slash commands and buttons in, headline and embed out. Answers are made elsewhere."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import discord
import yarl

from engine.chats import ChatKind
from engine.errors import TokenRefusedError
from engine.messages import Message, Outcome
from handlers.access import MAX_KEPT
from handlers.answers import Answer
from handlers.context import Services
from handlers.operators import notify_operators
from handlers.platforms.discord.interactions import FAILED, NO_MENTIONS, PLATFORM, Draw, Incoming, Translator, view_of
from handlers.platforms.discord.outcomes import outcome_of
from handlers.platforms.discord.render import render_discord

log = logging.getLogger(__name__)

RETRY_SECONDS = (1.0, 60.0)
SYNC_SECONDS = (60.0, 3600.0)
NEEDED = discord.Permissions(view_channel=True, send_messages=True, embed_links=True, attach_files=True)
MAX_WAIT_SECONDS = 30.0
NO_MEMBER = (10007, 10013)
"""Error codes that mean "not in this server": unknown member, unknown user."""

"""MAX_WAIT_SECONDS: the library sleeps through shorter pauses; for longer ones the dispatcher serves others."""


class DiscordPlatform:
    """A bot on Discord. run() connects, and reconnects after failures; send() sends one message."""

    def __init__(
        self, services: Services, draw: Draw, token: str, api: str | None = None, gateway: str | None = None
    ) -> None:
        self._token = token
        self._incoming = Incoming(services, draw, self)
        self._client: discord.AutoShardedClient | None = None
        self._services = services
        self._state = "connecting"
        self._was_connected = False
        self._private_chats: dict[str, str] = {}
        self.trouble = ""
        self.syncing: asyncio.Task[None] | None = None
        self.idempotent = True  # for the minutes that Discord remembers a nonce
        point_elsewhere(api, gateway)

    @property
    def platform(self) -> str:
        return PLATFORM

    @property
    def state(self) -> str:
        """The connection's state in a few words: ok, or the problem."""
        return self.trouble if self._state == "ok" and self.trouble else self._state

    @state.setter
    def state(self, value: str) -> None:
        self._state = value

    @property
    def ready(self) -> bool:
        return self._client is not None

    @property
    def incoming(self) -> Incoming:
        return self._incoming

    # -- life cycle

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            TokenRefusedError: when the token or the intents are refused before the first successful connect. Later we
                retry forever: an ailing platform may refuse them for minutes.
        """
        wait = RETRY_SECONDS[0]
        while True:
            client = self._make_client()
            started = asyncio.create_task(client.start(self._token), name="discord")
            try:
                # Not awaited directly: the library may swallow our cancellation.
                await asyncio.wait([started])
                started.result()
            except (discord.LoginFailure, discord.PrivilegedIntentsRequired) as error:
                what = "token" if isinstance(error, discord.LoginFailure) else "intents"
                a_page = str(getattr(error.__cause__, "text", "")).lstrip().startswith("<")
                if not self._was_connected and not a_page:
                    self.state = f"{what} refused"
                    raise TokenRefusedError(
                        f"discord: the {what} was refused; check CLIFFWATCH_DISCORD_TOKEN"
                    ) from None
                if self.state != f"{what} refused":
                    self.state = f"{what} refused"
                    facts = {"kind": "platform", "platform": PLATFORM, "state": self.state}
                    await notify_operators(self._services, facts, but=PLATFORM)
                log.warning("discord: %s; next try in %.0f s", self.state, wait)
            except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
                self.state = "cannot be reached"
                log.warning("discord: %s; next try in %.0f s", type(error).__name__, wait)
            finally:
                self._client = None
                ending = [started, *([self.syncing] if self.syncing is not None else [])]
                for task in ending:
                    task.cancel()
                await client.close()
                await asyncio.gather(*ending, return_exceptions=True)
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_SECONDS[1])

    async def sync(self, tree: Any) -> None:
        """Register the slash commands. On failure, show it in the state and retry with growing pauses."""
        wait = SYNC_SECONDS[0]
        while True:
            try:
                await tree.sync()
            except (discord.DiscordException, aiohttp.ClientError, OSError, ValueError, TypeError, KeyError) as error:
                self.trouble = f"commands not registered ({outcome_of(error).error})"
                log.warning("discord: %s; next try in %.0f s", self.trouble, wait)
            else:
                self.trouble = ""
                return
            await asyncio.sleep(wait)
            wait = min(wait * 2, SYNC_SECONDS[1])

    def _make_client(self) -> discord.AutoShardedClient:
        face = self
        intents = discord.Intents.none()
        intents.guilds = True

        class Client(discord.AutoShardedClient):
            async def setup_hook(self) -> None:
                tree = face.incoming.tree(self)
                await tree.set_translator(Translator())
                # In the background: Discord may refuse registration for a day, and messages must not wait for it.
                face.syncing = asyncio.create_task(face.sync(tree), name="discord commands")

            async def on_interaction(self, interaction: discord.Interaction) -> None:
                await face.incoming.on_interaction(interaction)

            async def on_shard_ready(self, shard_id: int) -> None:  # noqa: ARG002  # its signature
                face.connected(self)

            async def on_shard_resumed(self, shard_id: int) -> None:  # noqa: ARG002
                face.connected(self)

            async def on_shard_disconnect(self, shard_id: int) -> None:  # noqa: ARG002
                face.state = "reconnecting"

        return Client(
            intents=intents,
            allowed_mentions=NO_MENTIONS,
            guild_ready_timeout=0.5,
            max_ratelimit_timeout=MAX_WAIT_SECONDS,
        )

    def connected(self, client: discord.AutoShardedClient) -> None:
        """Note that we are connected. The library calls this again after every reconnect."""
        self._client, self.state = client, "ok"
        self._was_connected = True

    # -- out

    def render(self, answer: Answer) -> dict[str, Any]:
        return render_discord(answer)

    async def send(self, message: Message) -> Outcome:
        """Send one message. Its nonce keeps a second attempt within minutes from making a second message."""
        client, rendered = self._client, message.rendered
        if client is None or rendered is None:
            return Outcome("retry", self.state)
        target = client.get_partial_messageable(int(message.remote_chat))
        mention, mentions = role_of(message)
        try:
            if message.edits:
                await target.get_partial_message(int(message.edits)).edit(
                    content=rendered["content"],
                    embed=discord.Embed.from_dict(rendered["embed"]),
                    view=view_of(rendered),
                    allowed_mentions=NO_MENTIONS,
                )
                return Outcome("sent", remote_id=message.edits)
            if message.plain:
                body = f"{rendered['plain']}\n{rendered['embed']['description']}"[:2000]
                sent = await target.send(body, nonce=message.nonce, allowed_mentions=NO_MENTIONS)
            else:
                sent = await target.send(
                    mention + rendered["content"],
                    embed=discord.Embed.from_dict(rendered["embed"]),
                    view=view_of(rendered),
                    nonce=message.nonce,
                    allowed_mentions=mentions,
                )
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            return outcome_of(error, edit=bool(message.edits))
        except (TypeError, KeyError, ValueError) as error:
            return Outcome("unknown", f"odd answer ({type(error).__name__})")  # accepted, but the response is malformed
        return Outcome("sent", remote_id=str(sent.id))

    # -- who is who

    async def is_admin(self, remote_chat: str, user_id: str, kind: ChatKind) -> bool:  # noqa: ARG002  # only channels
        pair = await self._member(remote_chat, user_id)
        if pair is None:
            return False
        channel, member = pair
        rights = channel.permissions_for(member)
        return bool(rights.administrator or rights.manage_guild or rights.manage_channels)

    async def is_member(self, remote_chat: str, user_id: str) -> bool | None:
        try:
            pair = await self._asked_member(remote_chat, user_id)
        except discord.NotFound as error:
            return False if error.code in NO_MEMBER else None
        except FAILED:
            return None
        return pair[0].permissions_for(pair[1]).view_channel if pair is not None else None

    async def resolve(self, name: str) -> None:  # noqa: ARG002  # channels are subscribed from within
        return None

    async def private_chat(self, user_id: str) -> str | None:
        if user_id in self._private_chats:
            return self._private_chats[user_id]
        if self._client is None or not user_id:
            return None
        try:
            channel = await self._client.create_dm(discord.Object(int(user_id)))
        except (discord.DiscordException, aiohttp.ClientError, OSError):
            return None
        if len(self._private_chats) >= MAX_KEPT:
            self._private_chats.clear()
        self._private_chats[user_id] = str(channel.id)
        return str(channel.id)

    def user_of(self, remote_chat: str) -> str | None:  # noqa: ARG002  # a private channel has an id of its own
        return None

    async def _member(self, remote_chat: str, user_id: str) -> tuple[Any, discord.Member] | None:
        """Return a channel and a member of its guild, fetched now. Return None if Discord does not confirm both."""
        try:
            return await self._asked_member(remote_chat, user_id)
        except FAILED:
            return None

    async def _asked_member(self, remote_chat: str, user_id: str) -> tuple[Any, discord.Member] | None:
        """As _member, but raise the library's exceptions."""
        if self._client is None or not user_id:
            return None
        channel = self._client.get_channel(int(remote_chat)) or await self._client.fetch_channel(int(remote_chat))
        if not isinstance(channel, discord.abc.GuildChannel | discord.Thread):
            return None
        return channel, await channel.guild.fetch_member(int(user_id))


def role_of(message: Message) -> tuple[str, discord.AllowedMentions]:
    """Return the mention of the chat's role, for top-tier alerts, and the mentions to allow."""
    role = message.preferences.role
    if not role or not message.body.get("top_tier") or message.chat_kind == "private":
        return "", NO_MENTIONS
    called = discord.Object(int(role), type=discord.Role)
    return f"<@&{role}> ", discord.AllowedMentions(everyone=False, users=False, roles=[called])


def point_elsewhere(api: str | None, gateway: str | None) -> None:
    """Make the library use other servers than Discord's."""
    if api is not None:
        discord.http.Route.BASE = api
    if gateway is not None:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway + "/")


async def check_discord(token: str, api: str | None, gateway: str | None) -> tuple[list[str], bool]:
    """Check the token. Return lines to print (invite link, missing permissions), and whether it works."""
    point_elsewhere(api, gateway)
    client = discord.Client(intents=discord.Intents.none())
    try:
        await client.login(token)
        me = client.user
        invite = discord.utils.oauth_url(
            client.application_id or 0, permissions=NEEDED, scopes=("bot", "applications.commands")
        )
        lines = [f"reached as {me}", f"invite {invite}"]
        async for guild in client.fetch_guilds():
            lines += await _missing_permissions(client, guild)
    except discord.LoginFailure:
        return ["the token was refused"], False
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        return [f"cannot be reached ({type(error).__name__})"], False
    else:
        return lines, True
    finally:
        await client.close()


async def _missing_permissions(client: discord.Client, guild: discord.Guild) -> list[str]:
    """Return a line for each text channel of a guild in which the bot lacks needed permissions."""
    full = await client.fetch_guild(guild.id)
    member = await full.fetch_member(client.user.id if client.user else 0)
    lines = []
    for channel in await full.fetch_channels():
        if isinstance(channel, discord.TextChannel):
            rights = channel.permissions_for(member)
            missing = [name for name, wanted in NEEDED if wanted and not getattr(rights, name)]
            if missing:
                lines.append(f"{guild.name} #{channel.name}: missing {', '.join(missing)}")
    return lines
