"""Incoming interactions on Discord: slash commands with autocomplete, buttons, and forms."""

from __future__ import annotations

import inspect
import io
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import discord
from discord import app_commands

from engine.alerts.rules import Rule
from engine.chats import Chat, ChatKind
from engine.preferences import PRIVATE, PUBLIC
from handlers.access import REFUSED
from handlers.answers import Answer, Press, pressed
from handlers.commands.autocomplete import proposed
from handlers.commands.dispatch import Command, all_commands, answer_within_budget, find_command
from handlers.commands.prompts import question
from handlers.commands.registry import Parameter
from handlers.context import Membership, Request, Services
from handlers.i18n import LANGUAGES, N_, SOURCE, _, language_of, pick, use_language
from handlers.platforms.discord.render import CUSTOM_ID_PREFIX, FORM_PREFIX, render_discord

log = logging.getLogger(__name__)

PLATFORM = "discord"
NO_MENTIONS = discord.AllowedMentions.none()
FILE = "cliffwatch.png"
MAX_CHOICES = 25
WORD = "word"
FAILED = (discord.DiscordException, aiohttp.ClientError, OSError)

PERSONAL = frozenset(
    {"alert", "threshold", "alerts", "start", "stop", "admin", "why", "settings", "history", "offer"}
    | {"quiet", "timezone", "language", "mute", "export", "forget", "channel", "preview", "help"}
)
"""Commands that concern only the user who gives them: the answer is ephemeral."""

Draw = Callable[[Answer], Awaitable[bytes]]

LOCAL_NAMES = (
    N_("/liq"),
    N_("/clusters"),
    N_("/map"),
    N_("/cascade"),
    N_("/market"),
    N_("/rekt"),
    N_("/risk"),
    N_("/skill"),
    N_("/threshold"),
    N_("/alert"),
    N_("/alerts"),
    N_("/history"),
    N_("/mute"),
    N_("/quiet"),
    N_("/timezone"),
    N_("/settings"),
    N_("/language"),
    N_("/start"),
    N_("/stop"),
    N_("/export"),
    N_("/forget"),
    N_("/subscribe"),
    N_("/unsubscribe"),
    N_("/channel"),
    N_("/preview"),
    N_("/status"),
    N_("/help"),
)
"""Localised command names that Discord shows. The English ones keep working."""


class Incoming:
    """Answers interactions. face answers questions about membership."""

    def __init__(self, services: Services, draw: Draw, face: Membership) -> None:
        self._services, self._draw, self._face = services, draw, face

    def tree(self, client: discord.Client) -> app_commands.CommandTree[Any]:
        """Return the command tree with the registry's commands."""
        tree: app_commands.CommandTree[Any] = app_commands.CommandTree(client)
        for command in (*all_commands(), find_command("admin")):
            tree.add_command(self._slash(command))
        return tree

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Handle button presses and forms. Commands go through the tree."""
        data: dict[str, Any] = dict(interaction.data or {})
        custom_id = str(data.get("custom_id", ""))
        if interaction.type is discord.InteractionType.component and custom_id.startswith(CUSTOM_ID_PREFIX):
            await self._on_button(interaction, pressed(custom_id.removeprefix(CUSTOM_ID_PREFIX)))
        elif interaction.type is discord.InteractionType.modal_submit and custom_id.startswith(FORM_PREFIX):
            press = pressed(custom_id.removeprefix(FORM_PREFIX))
            await self._respond(interaction, press.filled(_typed(data)), ephemeral=True)

    async def _on_button(self, interaction: discord.Interaction, press: Press) -> None:
        """Run the command of a button for the user who pressed it, or open a form if it has a blank."""
        if press.asks:
            await self._ask(interaction, press)
            return
        message = interaction.message
        asked = message.interaction_metadata if message is not None else None
        mine = asked is not None and asked.user.id == interaction.user.id
        if press.here and mine:
            await self._respond(interaction, press.command, changes=True)
        else:
            # On an alert or another user's answer, only the user who pressed sees the result.
            await self._respond(interaction, press.command, ephemeral=not mine)

    async def _ask(self, interaction: discord.Interaction, press: Press) -> None:
        try:
            chat = await self._chat(interaction)
            with use_language(language_of(chat.preferences, str(interaction.locale))):
                text = question(press.command)
                form: discord.ui.Modal = discord.ui.Modal(
                    title=text[:45], custom_id=f"{FORM_PREFIX}{press.command}"[:100], timeout=None
                )
                form.add_item(discord.ui.TextInput(label=text[:45], custom_id=WORD, max_length=100))
                await interaction.response.send_modal(form)
            form.stop()  # a submitted form arrives as an interaction, also after a restart
        except FAILED as error:
            log.warning("discord: a form was not opened (%s)", type(error).__name__)

    async def _respond(
        self, interaction: discord.Interaction, text: str, *, ephemeral: bool = False, changes: bool = False
    ) -> None:
        """Answer a command line.

        Args:
            ephemeral: only the user sees the answer.
            changes: the answer replaces the message whose button was pressed.
        """
        try:
            if changes:
                await interaction.response.defer()
                chat = await self._chat(interaction)
                hidden = False
            else:
                # Defer at once: Discord allows three seconds, and an answer may take longer.
                hidden = ephemeral or text.split(maxsplit=1)[0].lstrip("/") in PERSONAL
                hidden = hidden or await self._room_is_elsewhere(interaction)
                await interaction.response.defer(thinking=True, ephemeral=hidden)
                chat = await self._chat(interaction)
            answer = await self._answer(interaction, chat, text)
            if changes and (answer is None or answer.notice):
                # Do not overwrite an answer with a rate-limit notice.
                if answer is not None:
                    await interaction.followup.send(answer.headline, ephemeral=True)
                return
            if answer is None:
                await interaction.delete_original_response()
                return
            await self._show(interaction, answer, hidden=hidden, changes=changes)
        except FAILED as error:
            log.warning("discord: an answer was not delivered (%s)", type(error).__name__)

    async def _answer(self, interaction: discord.Interaction, chat: Chat, text: str) -> Answer | None:
        locale = str(interaction.locale)
        user = str(interaction.user.id)
        request = Request(PLATFORM, user, chat, text, self._services, self._face, locale=locale)
        room = chat.preferences.room
        if room not in (PUBLIC, PRIVATE, chat.remote_id) and chat.kind != "private" and not await request.by_admin():
            with use_language(language_of(chat.preferences, locale)):
                return Answer(_("Use commands in {room}.", room=f"<#{room}>"), private=True)
        return await answer_within_budget(request)

    async def _room_is_elsewhere(self, interaction: discord.Interaction) -> bool:
        """Return whether a channel has commands answered only to the user, or in another channel."""
        if interaction.guild_id is None:
            return False
        chat = await self._services.store.chats.find(PLATFORM, str(interaction.channel_id))
        return chat is not None and chat.preferences.room not in (PUBLIC, chat.remote_id)

    async def _show(self, interaction: discord.Interaction, answer: Answer, *, hidden: bool, changes: bool) -> None:
        rendered = render_discord(answer)
        files = await self._files(answer, rendered)
        embed = discord.Embed.from_dict(rendered["embed"])
        if changes:
            await interaction.edit_original_response(
                content=rendered["content"],
                embed=embed,
                view=view_of(rendered) or None,
                attachments=files,
                allowed_mentions=NO_MENTIONS,
            )
            return
        await interaction.followup.send(
            rendered["content"],
            embed=embed,
            view=view_of(rendered),
            files=files,
            allowed_mentions=NO_MENTIONS,
            ephemeral=hidden,
        )

    async def _files(self, answer: Answer, rendered: dict[str, Any]) -> list[discord.File]:
        """Return the attachments of an answer: its file, and its picture, which is set in the embed."""
        files = []
        if answer.picture is not None:
            try:
                png = await self._draw(answer)
            except Exception:  # answer without the picture
                log.exception("a picture could not be drawn")
            else:
                files.append(discord.File(io.BytesIO(png), FILE, description=answer.picture.alt[:1000]))
                rendered["embed"]["image"] = {"url": f"attachment://{FILE}"}
        if answer.file is not None:
            name, content = answer.file
            files.append(discord.File(io.BytesIO(content), name))
        return files

    async def _chat(self, interaction: discord.Interaction) -> Chat:
        """Return the chat of the channel, or the user's private chat where only that user has installed the app."""
        store, locale = self._services.store, str(interaction.locale)
        own = interaction.is_user_integration() and not interaction.is_guild_integration()
        between_people = interaction.guild_id is None and interaction.context.private_channel is True
        if own or between_people:
            remote = await self._face.private_chat(str(interaction.user.id)) or f"user {interaction.user.id}"
            return await store.chats.upsert(PLATFORM, remote, "private", "", locale, person=str(interaction.user.id))
        kind: ChatKind = "private" if interaction.guild_id is None else "channel"
        title = getattr(interaction.channel, "name", None) or ""
        seen = locale if kind == "private" else str(interaction.guild_locale or "")
        person = str(interaction.user.id) if kind == "private" else ""
        return await store.chats.upsert(PLATFORM, str(interaction.channel_id), kind, title, seen, person=person)

    # -- commands

    def _slash(self, command: Command) -> Any:
        """Build a slash command whose options are the command's parameters, all text."""

        async def callback(interaction: discord.Interaction, **options: str | None) -> None:
            words = " ".join(value for value in options.values() if value)
            await self._respond(interaction, f"/{command.name} {words}".strip())

        place = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [
            inspect.Parameter("interaction", place, annotation=discord.Interaction),
            *(inspect.Parameter(p.name, place, default=None, annotation=str | None) for p in command.parameters),
        ]
        # The library reads the options from the signature; here they come from the registry.
        made_callback: Any = callback
        made_callback.__signature__ = inspect.Signature(parameters)
        slash: Any = app_commands.Command(
            name=app_commands.locale_str(command.name),
            description=app_commands.locale_str(command.help[:100]),
            callback=made_callback,
            allowed_contexts=app_commands.AppCommandContext(
                guild=not command.operator_only,
                dm_channel=not command.group_only,
                private_channel=not (command.group_only or command.operator_only),
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=not command.group_only),
        )
        if command.hidden_from_members:
            slash.default_permissions = discord.Permissions(manage_channels=True)
        # In one call: the library resets the description of parameters that a call omits.
        app_commands.describe(**{p.name: app_commands.locale_str(p.help[:100]) for p in command.parameters})(slash)
        for parameter in command.parameters:
            self._fit(slash, parameter)
        return slash

    def _fit(self, slash: Any, parameter: Parameter) -> None:
        """Give a parameter its fixed choices or its autocomplete."""
        if parameter.choices:
            choices = [app_commands.Choice(name=choice, value=choice) for choice in parameter.choices]
            app_commands.choices(**{parameter.name: choices})(slash)
        elif parameter.kind:

            async def propose(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
                asset = getattr(interaction.namespace, "asset", None) or ""
                own = parameter.kind == "rule"
                if not own and not await self._may_be_proposed(interaction):
                    return []
                rules = await self._rules_of(interaction) if own else ()
                with use_language(pick(str(interaction.locale))):
                    pairs = proposed(self._services, parameter.kind, typed, str(asset), rules)
                return [app_commands.Choice(name=name[:100], value=value[:100]) for name, value in pairs[:MAX_CHOICES]]

            slash.autocomplete(parameter.name)(propose)

    async def _rules_of(self, interaction: discord.Interaction) -> list[Rule]:
        """Return the rules that a user may change here: the channel's if they administer it, else their own."""
        rights, store = interaction.permissions, self._services.store
        here = str(interaction.channel_id)
        if interaction.guild_id is not None and not (rights.manage_channels or rights.manage_guild):
            here = await self._face.private_chat(str(interaction.user.id)) or ""
        chat = await store.chats.find(PLATFORM, here)
        return await store.rules.of_chat(chat.id) if chat is not None else []

    async def _may_be_proposed(self, interaction: discord.Interaction) -> bool:
        """Return whether autocomplete may show data. To be quick, it checks stored approvals and operators only."""
        chat = await self._services.store.chats.find(PLATFORM, str(interaction.channel_id))
        if chat is not None and chat.off_reason == REFUSED:
            return False
        if self._services.access == "open" or (chat is not None and chat.approved):
            return True
        people = await self._services.store.operators.all() | self._services.configured_operators
        return (PLATFORM, str(interaction.user.id)) in people


class Translator(app_commands.Translator):
    """Translates the names and descriptions of commands."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        tag = pick(locale.value)
        if tag == SOURCE or tag not in LANGUAGES:
            return None
        with use_language(tag):
            if context.location is app_commands.TranslationContextLocation.command_name:
                called = _(f"/{string.message}").removeprefix("/")
                return called if called != string.message else None
            return _(string.message)[:100]


def _typed(data: dict[str, Any]) -> str:
    """Return the text typed into a one-line form."""
    for row in data.get("components", []):
        for part in (*row.get("components", []), *([row["component"]] if "component" in row else [])):
            if part.get("custom_id") == WORD:
                return str(part.get("value", ""))
    return ""


def view_of(rendered: dict[str, Any]) -> Any:
    """Return buttons that survive a restart, as each carries its command."""
    if not rendered["buttons"]:
        return discord.utils.MISSING
    view = discord.ui.View(timeout=None)
    for label, custom_id in rendered["buttons"]:
        view.add_item(discord.ui.Button(label=label, custom_id=custom_id, style=discord.ButtonStyle.secondary))
    view.stop()  # presses arrive as interactions, also after a restart
    return view
