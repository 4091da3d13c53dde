"""Every command on every platform: a text, valid buttons, and pictures of the right size and kind."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import simcord

from handlers.commands.dispatch import all_commands
from handlers.commands.registry import Command
from handlers.i18n import LANGUAGES
from handlers.pictures import Pictures
from handlers.platforms.discord.client import DiscordPlatform
from handlers.platforms.terminal import TerminalPlatform
from tests.conftest import until
from tests.handlers.kit import Kit
from tests.handlers.platforms.test_discord import Rig as DiscordRig
from tests.handlers.platforms.test_telegram import Rig as TelegramRig
from tests.servers.discord import DiscordServer
from tests.servers.telegram import TelegramServer

GROUP = -77
TAGS = list(LANGUAGES)
NOT_IN_A_GROUP = {"export"}


def is_a_picture(png: bytes) -> bool:
    return png.startswith(b"\x89PNG\r\n\x1a\n") and struct.unpack(">II", png[16:24]) == (1080, 960)


@pytest.mark.parametrize("where", ["private", "group"])
async def test_every_command_is_answered_on_telegram(where: str) -> None:
    kit, server = await Kit.make(), TelegramServer()
    await server.start()
    rig = TelegramRig(kit, server)
    await rig.start()
    for number, command in enumerate(all_commands()):
        user = 100 + number  # a new user for each command, with a fresh budget
        chat = user if where == "private" else GROUP - number
        server.languages[user] = TAGS[number % len(TAGS)].partition("-")[0]
        server.admins[chat] = {user}
        server.say(user, f"{command.example.split()[0]}@cliffwatch_bot {_rest(command)}".strip(), chat)
        # Personal answers arrive privately, even if the command was sent in a group.
        await until(lambda chat=chat, user=user: server.to(chat) or server.to(user))  # type: ignore[misc]
        sent = (server.to(chat) or server.to(user))[0]
        assert sent.plain.strip(), command.name
        assert not sent.photo or is_a_picture(sent.photo), command.name
        for row in sent.buttons:
            for button in row:
                assert 1 <= len(button["callback_data"].encode()) <= 64
    await rig.stop()
    await server.stop()
    await kit.close()


def _rest(command: Command) -> str:
    return command.example.partition(" ")[2]


async def test_every_command_is_answered_on_discord() -> None:
    kit, server = await Kit.make(), DiscordServer()
    await server.start()
    rig = DiscordRig(kit, server)
    await rig.start()
    await until(server.synced)
    for number, command in enumerate(all_commands()):
        people = server.backend.make_user(f"person{number}")
        server.backend.add_member(server.guild.id, people.id)
        channel = server.backend.create_channel(server.guild.id, f"room-{number}")  # with a budget of its own
        admin = command.hidden_from_members
        options = _options(command)
        record = server.slash(server.admin.id if admin else people.id, channel.id, command.name, **options)
        try:
            await until(lambda record=record: server.answer(record) is not None)  # type: ignore[misc]
        except TimeoutError:
            pytest.fail(f"/{command.name} {options} was not answered: {record}")
        answer = server.answer(record)
        assert answer.content.startswith("**"), command.name
        assert answer.embeds[0]["footer"]["text"]
        for attachment in answer.attachments:
            assert attachment["filename"] in ("cliffwatch.png", "cliffwatch.json")
    await rig.stop()
    await server.stop()
    await kit.close()


def _options(command: Command) -> dict[str, Any]:
    """Return the words of a command's example as slash options."""
    words = _rest(command).split()
    if not command.parameters or not words:
        return {}
    choice = next((p for p in command.parameters if p.choices and words[0] in p.choices), command.parameters[0])
    free_text = [p for p in command.parameters if p is not choice and not p.choices]
    options = {choice.name: words[0]} if choice.choices else {choice.name: " ".join(words)}
    if choice.choices and len(words) > 1 and free_text:
        options[free_text[0].name] = " ".join(words[1:])
    return options


async def test_every_command_is_answered_in_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    kit = await Kit.make()
    chat = await kit.store.chats.upsert("terminal", "local", "private", "")
    pictures = Pictures(kit.services)
    platform = TerminalPlatform(kit.services, chat, pictures.draw, tmp_path)
    for command in all_commands():
        if command.group_only or command.name == "export":
            continue
        await platform.answer_line(command.example)
        assert capsys.readouterr().out.strip(), command.name
    assert all(is_a_picture(path.read_bytes()) for path in tmp_path.glob("*.png"))
    assert {path.stem for path in tmp_path.glob("*.png")} >= {"map-btc", "clusters-btc", "rekt-btc"}
    pictures.close()
    await kit.close()


async def test_commands_work_in_process_too() -> None:
    """Simcord in process, without our server: a deferred answer, its picture, visibility, and a button with a form."""
    kit = await Kit.make()
    pictures = Pictures(kit.services)
    platform = DiscordPlatform(kit.services, pictures.draw, "made-up-token")
    async with simcord.run(platform._make_client(), shard_count=1) as env:
        guild = env.create_guild("Traders")
        channel = guild.create_text_channel("alerts")
        member = guild.add_member(env.create_user("member"))
        result = await member.slash(channel, "map", asset="btc")
        assert result.acknowledged
        assert not result.ephemeral
        assert result.response is not None
        assert result.response.content.startswith("**BTC")
        assert result.response.attachments[0].filename == "cliffwatch.png"
        mine = await member.slash(channel, "settings")
        assert mine.ephemeral
        form = await member.click((await member.slash(channel, "alert")).response, label="A price")
        assert form.modal is not None
    pictures.close()
    await kit.close()
