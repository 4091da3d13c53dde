"""Base of all venue formats: contracts on tapes, a clock, routes by path."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from engine.loopback.tape import Candle, Forced, Tape
from engine.market import HOUR_MS
from engine.ports import Clock

Query = Mapping[str, Any]
Answer = tuple[int, Any]
"""HTTP status and a JSON value."""

FUNDING_MS = 8 * HOUR_MS

INVERSE_COINS = ("BTC", "ETH")
INVERSE_SHARE = 0.1
"""Coin-margined open interest of a venue with both kinds, as a share of its linear open interest."""

CHEAP = 0.01
"""Price, USD, below which venues that use lots quote a coin in lots of a thousand."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One perpetual as a venue lists it.

    Attributes:
        id: the venue's name for it.
        lot: coins per priced unit.
        size: coins per contract if linear, USD if inverse.
    """

    id: str
    coin: str
    inverse: bool = False
    lot: float = 1.0
    size: float = 1.0


@dataclass
class Subscription:
    """Contracts that one websocket subscribed to."""

    ids: set[str] = field(default_factory=set)
    everything: bool = False

    def wants(self, contract: str) -> bool:
        return self.everything or contract in self.ids


class Format(ABC):
    """One venue's wire format. Subclasses fill `rest`, define the listed contracts, and answer requests.

    Args:
        inverse: also list coin-margined contracts.
    """

    venue: ClassVar[str]
    rest: ClassVar[Mapping[str, str]]
    """Path, with {names} for variable parts, to the name of the method that answers it."""
    stream_prefix: ClassVar[str] = "/no stream"

    def __init__(self, tapes: Mapping[str, Tape], clock: Clock, *, inverse: bool = False) -> None:
        self._tapes, self._clock = tapes, clock
        kinds = (False, True) if inverse else (False,)
        listed = (self.contract(coin, inverse=kind) for coin in tapes for kind in kinds)
        self.contracts = {contract.id: contract for contract in listed if contract is not None}
        self._routes = [(_pattern(path), name) for path, name in self.rest.items()]

    def answer(self, path: str, query: Query) -> Answer | None:
        """Return the response to a request, or None if the venue has no such path."""
        for pattern, name in self._routes:
            match = pattern.fullmatch(path)
            if match:
                method: Callable[[Query], Answer] = getattr(self, name)
                return method({**query, **match.groupdict()})
        return None

    @abstractmethod
    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        """Return a coin's contract, or None if it is not listed."""

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:  # noqa: ARG002  # streams override it
        """Apply a client's text frame to its subscription. Return the replies."""
        return ()

    def tell(self, contract: Contract, event: Forced) -> str:
        """Return a liquidation order as the venue's stream sends it."""
        raise NotImplementedError

    # -- market data

    @property
    def now(self) -> int:
        return self._clock.now()

    def found(self, query: Query, name: str = "symbol") -> Contract | None:
        """Return the contract that a query names, or None."""
        return self.contracts.get(str(query.get(name, "")))

    def wanted(self, query: Query, name: str = "symbol") -> list[Contract]:
        """Return the contract that a query names, or all if it names none."""
        if name not in query:
            return list(self.contracts.values())
        contract = self.found(query, name)
        return [contract] if contract else []

    def lot_of(self, coin: str) -> float:
        """Return coins per priced unit at venues that quote cheap coins by the thousand."""
        tape = self._tapes[coin]
        return 1000.0 if tape.mark(tape.start) < CHEAP else 1.0

    def mark(self, contract: Contract, at: int | None = None) -> float:
        """Return the mark price as the venue quotes it, USD."""
        return self._tapes[contract.coin].mark(self.now if at is None else at) * contract.lot

    def coins(self, contract: Contract, at: int | None = None) -> float:
        """Return open interest in coins."""
        base = self._tapes[contract.coin].interest_base(self.venue, self.now if at is None else at)
        return base * (INVERSE_SHARE if contract.inverse and not self.only_inverse else 1.0)

    only_inverse: ClassVar[bool] = False

    def lots(self, contract: Contract, at: int | None = None) -> float:
        """Return open interest in priced units."""
        return self.coins(contract, at) / contract.lot

    def held(self, contract: Contract, at: int | None = None) -> float:
        """Return open interest in contracts."""
        return self.in_contracts(contract, self.coins(contract, at), self.mark(contract, at) / contract.lot)

    def in_contracts(self, contract: Contract, coins: float, price: float) -> float:
        """Convert coins to contracts, given the USD price of one coin."""
        return coins * price / contract.size if contract.inverse else coins / contract.size

    def usd(self, contract: Contract, at: int | None = None) -> float:
        """Return the value of open interest, USD."""
        return self.coins(contract, at) * self.mark(contract, at) / contract.lot

    def funding_rate(self, contract: Contract) -> float:
        """Return funding as a fraction per 8 hours."""
        return self._tapes[contract.coin].funding_rate(self.now)

    def next_funding(self) -> int:
        return (self.now // FUNDING_MS + 1) * FUNDING_MS

    def steps(self, contract: Contract, step_ms: int, first: int, last: int) -> list[int]:
        """Return step boundaries in first..last while the market exists, up to now, oldest first."""
        start = -(-max(first, self._tapes[contract.coin].start) // step_ms) * step_ms
        return list(range(start, min(last, self.now) + 1, step_ms))

    def candles(self, contract: Contract, step_ms: int, first: int, last: int) -> list[Candle]:
        """Return candles that opened in first..last as the venue quotes them, oldest first."""
        rows = self._tapes[contract.coin].candles(step_ms, first, last, self.now)
        lot = contract.lot
        if lot == 1.0:
            return rows
        return [Candle(c.at, c.open * lot, c.high * lot, c.low * lot, c.close * lot) for c in rows]

    def forced(self, contract: Contract, since: int, until: int) -> list[Forced]:
        """Return liquidation orders of a contract in since < at <= until."""
        if contract.inverse != self.only_inverse:
            return []  # orders on tapes have no contract kind: serve them once
        return list(self._tapes[contract.coin].forced(self.venue, since, min(until, self.now)))

    def book(self, contract: Contract, rows: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return bids and asks, best first, as quoted price and coins: thin near the price, thicker further out."""
        mark, open_coins = self.mark(contract), self.coins(contract)
        steps = [(i + 0.5) * 2e-4 for i in range(rows)]
        amounts = [open_coins * 1e-4 * (1 + i / 10) for i in range(rows)]
        bids = [(mark * (1 - step), amount) for step, amount in zip(steps, amounts, strict=True)]
        asks = [(mark * (1 + step), amount) for step, amount in zip(steps, amounts, strict=True)]
        return bids, asks


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", re.sub(r"[.+]", lambda m: "\\" + m[0], path)))


def number(value: float, digits: int = 8) -> str:
    """Format a number as venues send it: a decimal string, with more digits if small."""
    return f"{value:.{digits if abs(value) >= CHEAP else 12}f}"
