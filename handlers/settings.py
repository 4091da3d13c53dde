"""Settings: one typed table. The environment overrides the .env file; all names start with CLIFFWATCH_."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from engine.errors import SettingError
from engine.venues.catalog import VENUE_IDS
from engine.venues.names import is_name
from handlers.logs import redact

log = logging.getLogger(__name__)

PREFIX = "CLIFFWATCH_"
MAX_RANKED = 200
READABLE = stat.S_IRGRP | stat.S_IROTH
LOOPBACK = ("127.0.0.1", "localhost", "::1")

HOST = re.compile(r"[\w.\-:%]{1,253}")

MIN_KEY = 16
"""Minimum length of a signing key, characters."""


def _text(value: str) -> str:
    return value.strip()


def _url(value: str) -> str:
    """Parse an https or wss address; plain http and ws are allowed only for this machine."""
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("expected an address such as https://host.example:8443/path") from None
    if not host or port == 0 or not HOST.fullmatch(host) or not value.strip().isprintable() or " " in value.strip():
        raise ValueError("expected an address such as https://host.example:8443/path")
    if parts.scheme not in ("https", "wss") and not (parts.scheme in ("http", "ws") and host in LOOPBACK):
        raise ValueError("expected an https or wss address (plain http and ws only to 127.0.0.1)")
    return value.strip().rstrip("/")


def _token(value: str) -> str:
    if not re.fullmatch(r"[\w:.\-]{10,200}", value.strip()):
        raise ValueError("expected a token without spaces")
    return value.strip()


def _telegram_token(value: str) -> str:
    if not re.fullmatch(r"\d{3,20}:[\w\-]{10,100}", value.strip()):
        raise ValueError("expected a token such as 123456789:ABCdef… from @BotFather")
    return value.strip()


def _venues(value: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
    for name in names:
        if name not in VENUE_IDS:
            close = get_close_matches(name, VENUE_IDS, n=1)
            raise ValueError(f"{name} is not a known venue; {'did you mean ' + close[0] if close else VENUE_IDS}")
    if not names:
        raise ValueError("expected at least one venue")
    return names


def _proxies(value: str) -> dict[str, str]:
    """Parse proxies by venue. Error messages never contain an address, which may contain a password."""
    proxies = {}
    for word in value.split(","):
        venue, separator, address = word.strip().partition("=")
        if not word.strip():
            continue
        if not separator or venue.lower() not in VENUE_IDS:
            raise ValueError("expected VENUE=ADDRESS, separated by commas, with venues such as bybit")
        if not re.fullmatch(r"https?://(?:[^\s/@]+@)?[\w.\-\[\]:]+/?", address):
            raise ValueError(f"expected an address such as http://proxy.example:8080 for {venue}")
        proxies[venue.lower()] = address.rstrip("/")
    return proxies


def _assets(value: str) -> tuple[str, ...]:
    ranked = re.fullmatch(r"top:(\d{1,4})", value.strip().lower())
    if ranked:
        if not 1 <= int(ranked[1]) <= MAX_RANKED:
            raise ValueError(f"expected top:N with N between 1 and {MAX_RANKED}")
        return (f"top:{int(ranked[1])}",)
    names = tuple(dict.fromkeys(name.strip().upper() for name in value.split(",") if name.strip()))
    if not names or not all(is_name(name) for name in names):
        raise ValueError("expected coins such as BTC,ETH,SOL")
    return names


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 1 <= seconds <= 3600:
        raise ValueError("expected a number of seconds between 1 and 3600")
    return seconds


def _access(value: str) -> str:
    if value.strip().lower() not in ("open", "chats", "list"):
        raise ValueError("expected open, chats or list")
    return value.strip().lower()


def _operators(value: str) -> frozenset[tuple[str, str]]:
    operators = set()
    for word in value.split(","):
        match = re.fullmatch(r"(telegram|discord):(\d{1,20})", word.strip().lower())
        if not match and word.strip():
            raise ValueError("expected telegram:ID or discord:ID, separated by commas")
        if match:
            operators.add((match[1], match[2]))
    return frozenset(operators)


def _level(value: str) -> str:
    if value.strip().upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("expected DEBUG, INFO, WARNING or ERROR")
    return value.strip().upper()


def _key(value: str) -> str:
    if len(value) < MIN_KEY or not value.isprintable() or " " in value:
        raise ValueError(f"expected at least {MIN_KEY} characters without spaces")
    return value


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    default: str
    help: str
    read: Callable[[str], Any]
    secret: bool = False


TABLE: tuple[Setting, ...] = (
    Setting("DATABASE", "cliffwatch.sqlite", "The database file", lambda v: Path(_text(v))),
    Setting("TELEGRAM_TOKEN", "", "The bot's token from @BotFather; empty to disable", _telegram_token, secret=True),
    Setting("TELEGRAM_API", "", "Address of another Bot API server, such as your own", _url),
    Setting("DISCORD_TOKEN", "", "The bot's token from the developer portal; empty to disable", _token, secret=True),
    Setting("DISCORD_API", "", "Another address for Discord's REST API", _url),
    Setting("DISCORD_GATEWAY", "", "Another address for Discord's gateway", _url),
    Setting("DISCORD_WEBHOOK", "", "Webhook of one channel; alerts are posted there, one way", _url, secret=True),
    Setting("WEBHOOK_URL", "", "Any https address that receives alerts as signed JSON, one way", _url, secret=True),
    Setting("WEBHOOK_SECRET", "", "The key that signs them, at least 16 characters", _key, secret=True),
    Setting("VENUES", ",".join(VENUE_IDS), "Exchanges to read", _venues),
    Setting(
        "VENUE_PROXIES",
        "",
        "HTTP proxies for individual venues, as bybit=http://HOST:PORT, separated by commas",
        _proxies,
        secret=True,
    ),
    Setting("VENUE_GATEWAY", "", "One address through which every venue is reached as ADDRESS/VENUE/PATH", _url),
    Setting("ASSETS", "BTC,ETH,SOL", "Coins to watch, or top:50: the fifty with the most open interest", _assets),
    Setting("POLL_SECONDS", "20", "Seconds between two polls of a venue", _seconds),
    Setting("HISTORY_DAYS", "30", "Days of history to read at the first start", lambda v: _between(v, 1, 30)),
    Setting("ACCESS", "chats", "Who may use the bot: open, chats (approved ones and their members) or list", _access),
    Setting("OPERATORS", "", "Who runs the bot, as telegram:ID or discord:ID, separated by commas", _operators),
    Setting("LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR", _level),
    Setting("CLOCK", "system", "For rehearsals on a loopback market: START@ORIGINxSPEED", _text),
)


def _between(value: str, least: int, most: int) -> int:
    number = int(value)
    if not least <= number <= most:
        raise ValueError(f"expected a whole number between {least} and {most}")
    return number


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings as read. Optional ones are None if empty."""

    database: Path
    telegram_token: str | None
    telegram_api: str | None
    discord_token: str | None
    discord_api: str | None
    discord_gateway: str | None
    discord_webhook: str | None
    webhook_url: str | None
    webhook_secret: str | None
    venues: tuple[str, ...]
    venue_proxies: Mapping[str, str] | None
    venue_gateway: str | None
    assets: tuple[str, ...]
    poll_seconds: float
    history_days: int
    access: str
    operators: frozenset[tuple[str, str]]
    log_level: str
    clock: str

    @property
    def ranked(self) -> int | None:
        """Number of coins to watch by open interest, or None if the setting names coins."""
        first = self.assets[0]
        return int(first.removeprefix("top:")) if first.startswith("top:") else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must never appear in a log, an error or a chat."""
        secret_values: list[str] = []
        for row in TABLE:
            value = getattr(self, row.name.lower()) if row.secret else None
            secret_values += value.values() if isinstance(value, Mapping) else [value] if value else []
        return tuple(secret_values)


def load(env_file: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Raises:
        SettingError: for an unreadable file, an unknown name (it names the nearest one) or an invalid value. It
            never contains the value of a secret.
    """
    environment = os.environ if environment is None else environment
    given: dict[str, str] = {}
    if env_file is not None:
        if not env_file.is_file():
            raise SettingError(f"there is no settings file {env_file}")
        _warn_if_readable(env_file)
        try:
            given |= {name: value or "" for name, value in dotenv_values(env_file, interpolate=False).items()}
        except (OSError, UnicodeDecodeError):
            raise SettingError(f"{env_file} is not a readable text file") from None
    given |= environment
    named = {name: value for name, value in given.items() if name.startswith(PREFIX)}
    known = {PREFIX + row.name for row in TABLE}
    for name in named:
        if name not in known:
            close = get_close_matches(name, sorted(known), n=1, cutoff=0.0)
            raise SettingError(f"{name} is not a setting; the nearest is {close[0]}")
    settings = Settings(**{row.name.lower(): _value(row, named.get(PREFIX + row.name)) for row in TABLE})
    if settings.webhook_url and not settings.webhook_secret:
        raise SettingError(f"{PREFIX}WEBHOOK_URL needs {PREFIX}WEBHOOK_SECRET, which signs the alerts sent there")
    return settings


def _warn_if_readable(env_file: Path) -> None:
    """Warn if other users of this machine can read the settings file."""
    if os.name == "posix" and env_file.stat().st_mode & READABLE:
        log.warning("other users of this machine can read %s, which may hold tokens: chmod 600 it", env_file.name)


def _value(row: Setting, text: str | None) -> Any:
    text = row.default if text is None or not text.strip() else text
    if not text:
        return frozenset() if row.name == "OPERATORS" else None
    try:
        return row.read(text)
    except ValueError as error:
        shown = "" if row.secret else f" is {redact(text.strip())[:60]!r}:"
        reason = str(error) if "expected" in str(error) or "know" in str(error) else "expected a number"
        raise SettingError(f"{PREFIX}{row.name}{shown} {reason}") from None
