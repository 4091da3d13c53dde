"""Builds the platforms that the settings configure, each with the dispatcher that sends its messages."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.alerts.rules import Rule, Tier
from engine.chats import Chat
from engine.ports import Clock
from handlers.access import ensure_claim_code, may_be_notified
from handlers.context import Membership, Services
from handlers.delivery.dispatcher import Dispatcher, Platform
from handlers.delivery.failures import FailureHandler
from handlers.delivery.limits import DISCORD, TELEGRAM, UNLIMITED, WEBHOOK, Limiter, Limits
from handlers.delivery.rendering import answer_of
from handlers.pictures import Pictures
from handlers.platforms import signed_webhook, terminal
from handlers.platforms.discord import webhook
from handlers.settings import Settings

PICTURES = Path("maps")
NO_CAP = 100_000


class Platforms:
    """All platforms of one process.

    Attributes:
        dispatchers: one per platform.
        runners: by platform name, the function that connects it and receives commands.
        foreground: name of the platform whose end ends the process, such as the terminal of a demo, or None.
    """

    def __init__(self, services: Services, wall: Clock) -> None:
        self._services, self._wall = services, wall
        self.pictures = Pictures(services)
        self.dispatchers: list[Dispatcher] = []
        self.runners: dict[str, Callable[[], Awaitable[None]]] = {}
        self.foreground: str | None = None

    def add(
        self,
        platform: Platform,
        limits: Limits,
        run: Callable[[], Awaitable[None]] | None = None,
        people: Membership | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        """Add a platform and its dispatcher.

        Args:
            run: connects the platform and receives commands; None if it is send-only.
            people: answers questions about membership there.
            limiter: shared with the platform's other traffic, such as answers.
        """
        services, name = self._services, platform.platform
        if people is not None:
            services.people[name] = people
        failures = FailureHandler(services, name, people)
        self.dispatchers.append(
            Dispatcher(
                platform,
                services.store,
                self._wall,
                limits,
                answer_of(services, self._wall),
                failures.chat_lost,
                failures.undelivered,
                failures.notice,
                limiter,
                partial(may_be_notified, services),
            )
        )
        if run is not None:
            self.runners[name] = run

    def states(self) -> dict[str, str]:
        """Return each platform's state in a few words: ok, or the problem."""
        return {dispatcher.platform: dispatcher.state for dispatcher in self.dispatchers}

    def wake(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.wake()

    async def close(self) -> None:
        self.pictures.close()


async def build_platforms(settings: Settings, services: Services, wall: Clock, *, in_terminal: bool) -> Platforms:
    """Build the platforms that the settings configure. Import a chat library only if its token is set."""
    services.configured_operators = settings.operators
    platforms = Platforms(services, wall)
    if in_terminal:
        await _add_terminal(platforms, services)
    if settings.discord_webhook:
        await _subscribed(services, webhook.PLATFORM, webhook.REMOTE_ID)
        platforms.add(webhook.DiscordWebhook(settings.discord_webhook), DISCORD)
    if settings.webhook_url and settings.webhook_secret:
        await _subscribed(services, signed_webhook.PLATFORM, signed_webhook.REMOTE_ID)
        platforms.add(signed_webhook.SignedWebhook(settings.webhook_url, settings.webhook_secret), WEBHOOK)
    if settings.telegram_token:
        _add_telegram(platforms, settings, services, settings.telegram_token)
    if settings.discord_token:
        _add_discord(platforms, settings, services, settings.discord_token)
    if settings.telegram_token or settings.discord_token:
        await _offer_claim(settings, services)
    return platforms


def _add_telegram(platforms: Platforms, settings: Settings, services: Services, token: str) -> None:
    from handlers.platforms.telegram.client import TelegramPlatform

    telegram = TelegramPlatform(services, platforms.pictures.draw, token, settings.telegram_api)
    limiter = Limiter(TELEGRAM, time.monotonic)
    telegram.incoming.replies.limiter = limiter  # the platform counts answers as well as alerts
    platforms.add(telegram, TELEGRAM, telegram.run, telegram, limiter)


def _add_discord(platforms: Platforms, settings: Settings, services: Services, token: str) -> None:
    from handlers.platforms.discord.client import DiscordPlatform

    addresses = (settings.discord_api, settings.discord_gateway)
    discord = DiscordPlatform(services, platforms.pictures.draw, token, *addresses)
    platforms.add(discord, DISCORD, discord.run, discord)


async def _add_terminal(platforms: Platforms, services: Services) -> None:
    services.configured_operators |= {(terminal.PLATFORM, terminal.LOCAL)}
    # A demo should alert often.
    size: Tier = "busy" if services.simulated else "normal"
    chat = await _subscribed(services, terminal.PLATFORM, terminal.LOCAL, size)
    local = terminal.TerminalPlatform(services, chat, platforms.pictures.draw, PICTURES)
    platforms.add(local, UNLIMITED, local.run)
    platforms.foreground = terminal.PLATFORM


async def _offer_claim(settings: Settings, services: Services) -> None:
    code = await ensure_claim_code(services.store, configured=bool(settings.operators))
    if code:
        sys.stderr.write(f"cliffwatch: to become its operator, send the bot: /start {code}\n")


async def _subscribed(services: Services, platform: str, remote_id: str, size: Tier = "normal") -> Chat:
    """Return this machine's own chat there, approved, active, and with a near rule unless it has any rule."""
    chat = await services.store.chats.upsert(platform, remote_id, "private", "")
    await services.store.chats.approve(chat.id, approved=True)
    if not chat.active:
        await services.subscriptions.activate_chat(chat.id)
    if not await services.store.rules.of_chat(chat.id):
        rule = Rule(0, chat.id, "near", size=size, created_at=services.clock.now())
        await services.subscriptions.replace(rule)
    # No daily cap for the terminal and webhooks: their readers are the operator and programs.
    await services.store.chats.save_preferences(chat.id, replace(chat.preferences, cap=NO_CAP))
    return replace(chat, approved=True, active=True)
