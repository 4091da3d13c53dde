"""Any web address as a one-way face, for people who automate: alerts as signed JSON over HTTPS.

The body is what was stored when the message was first rendered; every try sends the same bytes. The signature is
HMAC-SHA256 over the timestamp, a full stop and the body. The address is resolved once and kept; addresses inside
networks (private, link-local, the metadata services of clouds) are refused, and so are redirects.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from engine.errors import SettingError
from engine.messages import Message, Outcome
from handlers.answers import Answer

PLATFORM = "generic_webhook"
REMOTE_ID = "address"
TIMEOUT_SECONDS = 20
MAX_ANSWER_BYTES = 65_536
LONGEST_RETRY_SECONDS = 3600.0

NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; Oracle's cloud answers at .192
        "192.88.99.0/24",  # relays that are no more
        "168.63.129.16/32",  # Azure's own services, at an address of the public range
        "64:ff9b:1::/48",  # translation within a network
        "2001::/23",  # protocol assignments
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",  # site-local, of before fc00::/7
    )
)
"""What the registries and the clouds keep for themselves, whatever the library's version calls global."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""In the last 32 bits an IPv4 address that a translator reaches."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What a receiver compares with X-Cliffwatch-Signature, hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def permitted(address: str, *, loopback: bool) -> bool:
    """Whether an address may be written to: public ones; those of this machine only where plain http is meant."""
    found = ipaddress.ip_address(address)
    inner = _inner(found) if isinstance(found, ipaddress.IPv6Address) else None
    if inner is not None:
        return permitted(str(inner), loopback=loopback)
    if loopback:
        return found.is_loopback
    if any(found in network for network in NOT_PUBLIC if network.version == found.version):
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def _inner(found: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, or None."""
    if found in NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)


def body_of(message: Message) -> bytes:
    """The JSON that goes out: the same bytes at every try."""
    facts, rendered = message.body, message.rendered or {}
    found = {
        "id": message.nonce,
        "kind": facts.get("kind", ""),
        "asset": facts.get("asset", ""),
        "created_at": message.created_at,
        **rendered,
        "edits": message.edits,
        "facts": facts,
    }
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class SignedWebhook:
    """Posts messages to one address, which is a secret, as is the key that signs them."""

    ready = True
    idempotent = True

    def __init__(self, url: str, secret: str, wall: Callable[[], float] = time.time) -> None:
        """A face.

        Raises:
            SettingError: for anything but https, and plain http to this machine.
        """
        parts = urlsplit(url)
        self._loopback = parts.scheme == "http"
        if not parts.hostname or parts.scheme not in ("http", "https"):
            raise SettingError("CLIFFWATCH_WEBHOOK_URL: expected an https address")
        self.state = "ok"
        self._url, self._secret, self._wall = url, secret, wall
        self._host, self._port = parts.hostname, parts.port or (80 if self._loopback else 443)
        self._pinned: list[str] = []

    @property
    def platform(self) -> str:
        return PLATFORM

    def render(self, found: Answer) -> dict[str, Any]:
        """What people would read; the facts behind it are the message's own."""
        return {"headline": found.headline, "text": found.text}

    async def send(self, message: Message) -> Outcome:
        """Post one message; neither the address nor the key appears in any error."""
        assert message.rendered is not None  # noqa: S101  # the dispatcher renders first
        try:
            await self._pin()
        except (OSError, ValueError):
            return self._seen(Outcome("retry", "the address cannot be resolved"))
        if not self._pinned:
            return self._seen(Outcome("dead", "the address lies inside a network"))
        body, timestamp = body_of(message), str(int(self._wall()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message.nonce,
            "X-Cliffwatch-Timestamp": timestamp,
            "X-Cliffwatch-Signature": "sha256=" + signature(self._secret, timestamp, body),
            "X-Cliffwatch-Repeat": "1" if message.repeat else "0",
        }
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(resolver=_Pinned(self._pinned), use_dns_cache=False)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session,
                session.post(self._url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                await response.content.read(MAX_ANSWER_BYTES)
                found = outcome_of(response.status, response.headers.get("Retry-After", ""), self._wall())
                return self._seen(replace(found, remote_id=message.nonce))
        except aiohttp.ClientConnectorError:
            self._pinned = []  # it may have moved: the next try resolves and checks it anew
            return self._seen(Outcome("retry", "cannot be reached"))
        except (TimeoutError, aiohttp.ClientError) as error:
            return self._seen(Outcome("unknown", type(error).__name__))

    def _seen(self, outcome: Outcome) -> Outcome:
        self.state = "ok" if outcome.kind == "sent" else outcome.error
        return outcome

    async def _pin(self) -> None:
        """Resolve the address, once; what lies inside a network is left out."""
        if self._pinned:
            return
        rows = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(row[4][0]) for row in rows))
        # One address inside is enough to refuse all: a name that points both ways is no honest one.
        if all(permitted(address, loopback=self._loopback) for address in addresses):
            self._pinned = addresses


class _Pinned(AbstractResolver):
    """Answers with the addresses that were found when they were checked."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
            if family in (socket.AF_UNSPEC, socket.AF_INET6 if ":" in address else socket.AF_INET)
        ]

    async def close(self) -> None:
        return None


def outcome_of(status: int, retry_after: str, now: float) -> Outcome:
    """What an answer means.

    Args:
        retry_after: the header: seconds, or a date.
        now: seconds since 1970.
    """
    if 200 <= status < 300:
        return Outcome("sent")
    if status in (401, 403, 404, 408, 425, 429) or status >= 500:
        return Outcome("retry", f"HTTP {status}", retry_after=_seconds(retry_after, now) if status == 429 else None)
    if status == 410:
        return Outcome("gone", f"HTTP {status}")
    return Outcome("dead", f"HTTP {status}")


def _seconds(retry_after: str, now: float) -> float:
    try:
        wait = float(retry_after)
    except ValueError:
        try:
            wait = parsedate_to_datetime(retry_after).timestamp() - now
        except ValueError:
            wait = 5.0
    return min(max(wait, 1.0), LONGEST_RETRY_SECONDS) if wait == wait else 5.0  # NaN is not itself
