"""A web address as a send-only platform, for automation: alerts as signed JSON over HTTPS.

The message is rendered once and stored, so every attempt sends the same bytes. The signature is HMAC-SHA256 over the
timestamp, a full stop and the body. The address is resolved once and kept until a connection fails. Internal addresses
(private, link-local, cloud metadata services) and redirects are refused.
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
        "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata service is .192
        "192.88.99.0/24",  # deprecated 6to4 relays
        "168.63.129.16/32",  # Azure's own services, in public address space
        "64:ff9b:1::/48",  # NAT64 within a network
        "2001::/23",  # protocol assignments
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",  # site-local, replaced by fc00::/7
    )
)
"""Reserved by the registries and clouds, even where the ipaddress module of some version calls them global."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Its last 32 bits are the IPv4 address that a translator reaches."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 that X-Cliffwatch-Signature carries after "sha256=", hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def permitted(address: str, *, loopback: bool) -> bool:
    """Return whether we may post to an address: a public one, or with loopback only one of this machine."""
    ip = ipaddress.ip_address(address)
    inner = _inner(ip) if isinstance(ip, ipaddress.IPv6Address) else None
    if inner is not None:
        return permitted(str(inner), loopback=loopback)
    if loopback:
        return ip.is_loopback
    if any(ip in network for network in NOT_PUBLIC if network.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _inner(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address embedded in an IPv6 address, or None."""
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def body_of(message: Message) -> bytes:
    """Return the JSON body, the same bytes at every attempt."""
    facts, rendered = message.body, message.rendered or {}
    payload = {
        "id": message.nonce,
        "kind": facts.get("kind", ""),
        "asset": facts.get("asset", ""),
        "created_at": message.created_at,
        **rendered,
        "edits": message.edits,
        "facts": facts,
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class SignedWebhook:
    """Posts messages to one address. The address and the signing key are secret."""

    ready = True
    idempotent = True

    def __init__(self, url: str, secret: str, wall: Callable[[], float] = time.time) -> None:
        """Check the address. Plain http only ever reaches addresses of this machine; see permitted().

        Raises:
            SettingError: when it has no host, or its scheme is neither https nor http.
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

    def render(self, answer: Answer) -> dict[str, Any]:
        """Return the headline and text for people; body_of() adds the facts."""
        return {"headline": answer.headline, "text": answer.text}

    async def send(self, message: Message) -> Outcome:
        """Post one message. Neither the address nor the key appears in an error."""
        assert message.rendered is not None  # noqa: S101  # the dispatcher renders first
        try:
            await self._pin()
        except (OSError, ValueError):
            return self._seen(Outcome("retry", "the address cannot be resolved"))
        if not self._pinned:
            return self._seen(Outcome("dead", "the address is internal"))
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
                outcome = outcome_of(response.status, response.headers.get("Retry-After", ""), self._wall())
                return self._seen(replace(outcome, remote_id=message.nonce))
        except aiohttp.ClientConnectorError:
            self._pinned = []  # the host may have moved: resolve and check it again next time
            return self._seen(Outcome("retry", "cannot be reached"))
        except (TimeoutError, aiohttp.ClientError) as error:
            return self._seen(Outcome("unknown", type(error).__name__))

    def _seen(self, outcome: Outcome) -> Outcome:
        self.state = "ok" if outcome.kind == "sent" else outcome.error
        return outcome

    async def _pin(self) -> None:
        """Resolve the address, once. If any of its addresses is internal, keep none."""
        if self._pinned:
            return
        rows = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(row[4][0]) for row in rows))
        # One internal address is enough to refuse all: a name that resolves to both kinds is suspicious.
        if all(permitted(address, loopback=self._loopback) for address in addresses):
            self._pinned = addresses


class _Pinned(AbstractResolver):
    """Resolver that returns only the addresses that were checked."""

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
    """Return the outcome of a response.

    Args:
        retry_after: the header's value, seconds or a date; empty if there is none.
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
