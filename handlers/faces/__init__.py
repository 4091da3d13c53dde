"""Faces: each platform's way of taking commands and showing answers, and how they are put together."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from engine.alerts.rules import Rule, Tier
from engine.chats import Chat
from engine.ports import Clock
from handlers.access import ensure_claim_code, may_be_told
from handlers.context import Membership, Services
from handlers.delivery.dispatcher import SAID_SECONDS, Dispatcher, Notice, Platform
from handlers.delivery.limits import DISCORD, TELEGRAM, UNLIMITED, WEBHOOK, Limiter, Limits
from handlers.delivery.undelivered import Undelivered
from handlers.faces import generic_webhook, terminal, webhook
from handlers.lost import tell_of, tell_subscriber
from handlers.pictures import Pictures
from handlers.runtime import answer_of
from handlers.settings import Settings

PICTURES = Path("maps")


class Face(Platform, Protocol):
    """A platform that can also say how it is."""

    @property
    def state(self) -> str: ...


@dataclass
class Faces:
    """All faces of one process."""

    pictures: Pictures
    faces: dict[str, Face] = field(default_factory=dict)
    dispatchers: list[Dispatcher] = field(default_factory=list)
    runners: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    leader: str | None = None

    def states(self) -> dict[str, str]:
        """How each is, in a few words: ok, or what is wrong."""
        return {name: self._state(name, face.state) for name, face in self.faces.items()}

    def _state(self, name: str, state: str) -> str:
        for dispatcher in self.dispatchers:
            if dispatcher.platform == name and state == "ok":
                if dispatcher.ill:
                    return "refuses many chats at once"
                if dispatcher.pause_seconds >= SAID_SECONDS:
                    return f"asked us to wait for {dispatcher.pause_seconds:.0f} s"
        return state

    def wake(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.wake()

    async def close(self) -> None:
        self.pictures.close()


NO_CAP = 100_000


async def make_faces(settings: Settings, services: Services, wall: Clock, *, terminal: bool) -> Faces:
    """The faces that the settings ask for, each with its dispatcher."""
    made = Faces(Pictures(services))
    answers = answer_of(services, wall)

    undelivered = Undelivered(services)

    def take_up(
        face: Face,
        limits: Limits,
        run: Callable[[], Awaitable[None]] | None = None,
        people: Membership | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        async def chat_lost(chat_id: int) -> None:
            services.watch.book.pause(chat_id)
            lost = await services.store.chat(chat_id)
            if lost is not None and lost.kind != "private" and people is not None:
                await tell_subscriber(services, lost, people)

        async def told(chat_id: int) -> bool:
            return await may_be_told(services, chat_id)

        async def notice(what: Notice, chat_id: int, error: str) -> None:
            await tell_of(services, face.platform, people, what, chat_id, error)

        if people is not None:
            services.people[face.platform] = people
        made.faces[face.platform] = face
        made.dispatchers.append(
            Dispatcher(face, services.store, wall, limits, answers, chat_lost, undelivered, notice, limiter, told)
        )
        if run is not None:
            made.runners[face.platform] = run

    services.configured_operators = settings.operators
    if terminal:
        await _add_terminal(made, services, take_up)
    if settings.discord_webhook:
        await _subscribed(services, webhook.PLATFORM, webhook.REMOTE_ID)
        take_up(webhook.WebhookFace(settings.discord_webhook), DISCORD)
    if settings.webhook_url and settings.webhook_secret:
        await _subscribed(services, generic_webhook.PLATFORM, generic_webhook.REMOTE_ID)
        take_up(generic_webhook.GenericWebhookFace(settings.webhook_url, settings.webhook_secret), WEBHOOK)
    _add_platforms(made, settings, services, take_up)
    if settings.telegram_token or settings.discord_token:
        await _offer_claim(settings, services)
    return made


async def _offer_claim(settings: Settings, services: Services) -> None:
    code = await ensure_claim_code(services.store, configured=bool(settings.operators))
    if code:
        sys.stderr.write(f"cliffwatch: to become its operator, send the bot: /start {code}\n")


def _add_platforms(made: Faces, settings: Settings, services: Services, take_up: Callable[..., None]) -> None:
    """Telegram and Discord, as far as there are tokens; their libraries are loaded only then."""
    if settings.telegram_token:
        from handlers.faces.telegram import TelegramFace

        telegram = TelegramFace(services, made.pictures.draw, settings.telegram_token, settings.telegram_api)
        limiter = Limiter(TELEGRAM, time.monotonic)
        telegram.incoming.replies.limiter = limiter  # answers count as well as alerts
        take_up(telegram, TELEGRAM, telegram.run, telegram, limiter)
    if settings.discord_token:
        from handlers.faces.discord import DiscordFace

        addresses = (settings.discord_api, settings.discord_gateway)
        discord = DiscordFace(services, made.pictures.draw, settings.discord_token, *addresses)
        take_up(discord, DISCORD, discord.run, discord)


async def _add_terminal(made: Faces, services: Services, take_up: Callable[..., None]) -> None:
    services.configured_operators |= {(terminal.PLATFORM, terminal.LOCAL)}
    # A demo is there to be seen at work.
    size: Tier = "busy" if services.simulated else "normal"
    chat = await _subscribed(services, terminal.PLATFORM, terminal.LOCAL, size)
    face = terminal.TerminalFace(services, chat, made.pictures.draw, PICTURES)
    take_up(face, UNLIMITED, face.run)
    made.leader = terminal.PLATFORM


async def _subscribed(services: Services, platform: str, remote_id: str, size: Tier = "normal") -> Chat:
    """A chat of this machine's own, approved, with a near alert unless it has others already."""
    chat = await services.store.see_chat(platform, remote_id, "private", "")
    await services.store.approve_chat(chat.id, approved=True)
    if not chat.active:
        await services.store.switch_chat(chat.id, active=True)
        for rule in await services.store.rules_of_chat(chat.id):
            services.watch.book.add(rule)
    if not await services.store.rules_of_chat(chat.id):
        rule = Rule(0, chat.id, "near", size=size, created_at=services.clock.now())
        for added in (await services.store.replace_rules(chat.id, [rule], ["near"]))[0]:
            services.watch.book.add(added)
    # Who runs the program, or another program, is not told that the day is full.
    await services.store.set_wishes(chat.id, replace(chat.wishes, cap=NO_CAP))
    return replace(chat, approved=True, active=True)
