"""Logging with secrets redacted."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable

HIDDEN = "•••"
_PATTERNS = (
    re.compile(r"(?<!\d)\d{5,20}:[\w-]{30,100}"),
    re.compile(r"(?<=/webhooks/)\d+/[\w-]+"),
    re.compile(r"(?<=/interactions/)\d+/[\w-]+"),
    re.compile(r"(?<=Bot )[\w.-]{20,}"),
    re.compile(r"(?<=://)[^\s/@\"']+(?=@)"),
    re.compile(r"""(?i)(?<=token['"]: ['"])[^'"]+"""),
)
"""Patterns of tokens and passwords, for secrets that are not in the settings."""

OURS = ("bot", "engine", "handlers", "storage")
"""Loggers that follow the configured level. At DEBUG, libraries would log everything users send."""


class RedactingFormatter(logging.Formatter):
    """Formats a record with its traceback and removes every secret from the result."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._secrets = tuple(secret for secret in secrets if secret)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._secrets)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without secrets and without anything that looks like a token."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return text


def set_up_logging(level: str, secrets: Iterable[str]) -> None:
    """Log to standard error. Libraries log at INFO or above, those that log addresses only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(secrets))
    logging.basicConfig(level=max(logging.getLevelNamesMapping()[level], logging.INFO), handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in ("httpx", "httpcore", "telegram.ext.ExtBot", "matplotlib", "PIL", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Runs skipped because the previous one is still going are counted and shown in /status.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # It warns at every start that voice is not installed.
    logging.getLogger("discord.client").setLevel(logging.ERROR)
    # It logs a traceback and the whole page for each invalid response; we log the result of the send ourselves.
    logging.getLogger("telegram.request.BaseRequest").setLevel(logging.CRITICAL)
