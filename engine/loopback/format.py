"""What every venue format has in common: contracts on tapes, a clock, routes by path."""

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
"""Coin-margined interest of a venue that has both kinds, as a share of its other."""

CHEAP = 0.01
"""Coins below this many USD are quoted in lots of a thousand by venues that have lots."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One perpetual as a venue lists it.

    Attributes:
        id: the venue's name for it.
        lot: coins in one priced unit.
        size: coins in a contract if linear, USD if inverse.
    """

    id: str
    coin: str
    inverse: bool = False
    lot: float = 1.0
    size: float = 1.0


@dataclass
class Subscription:
    """What one websocket asked for."""

    ids: set[str] = field(default_factory=set)
    everything: bool = False

    def wants(self, contract: str) -> bool:
        return self.everything or contract in self.ids


class Format(ABC):
    """One venue's wire format. Subclasses fill `rest`, say which contracts they list, and answer.

    Args:
        inverse: whether coin-margined contracts are listed beside the others.
    """

    venue: ClassVar[str]
    rest: ClassVar[Mapping[str, str]]
    """Path, with {names} of variable parts, to the name of the method that answers it."""
    stream_prefix: ClassVar[str] = "/no stream"

    def __init__(self, tapes: Mapping[str, Tape], clock: Clock, *, inverse: bool = False) -> None:
        self._tapes, self._clock = tapes, clock
        kinds = (False, True) if inverse else (False,)
        listed = (self.contract(coin, inverse=kind) for coin in tapes for kind in kinds)
        self.contracts = {contract.id: contract for contract in listed if contract is not None}
        self._routes = [(_pattern(path), name) for path, name in self.rest.items()]

    def answer(self, path: str, query: Query) -> Answer | None:
        """The answer to a request, None where the venue has no such path."""
        for pattern, name in self._routes:
            match = pattern.fullmatch(path)
            if match:
                method: Callable[[Query], Answer] = getattr(self, name)
                return method({**query, **match.groupdict()})
        return None

    @abstractmethod
    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        """How a coin is listed, None where it is not."""

    def hear(self, text: str, subscription: Subscription) -> Iterable[str]:  # noqa: ARG002  # streams override it
        """Answers to a text frame from a client; changes what it is subscribed to."""
        return ()

    def tell(self, contract: Contract, event: Forced) -> str:
        """A forced order as the venue's stream sends it."""
        raise NotImplementedError

    # -- what there is to say

    @property
    def now(self) -> int:
        return self._clock.now()

    def found(self, query: Query, name: str = "symbol") -> Contract | None:
        """The contract that a query asks for."""
        return self.contracts.get(str(query.get(name, "")))

    def wanted(self, query: Query, name: str = "symbol") -> list[Contract]:
        """The contract that a query asks for, or all where it asks for none."""
        if name not in query:
            return list(self.contracts.values())
        contract = self.found(query, name)
        return [contract] if contract else []

    def lot_of(self, coin: str) -> float:
        """Coins in one priced unit at venues that quote cheap coins by the thousand."""
        tape = self._tapes[coin]
        return 1000.0 if tape.mark(tape.start) < CHEAP else 1.0

    def mark(self, contract: Contract, at: int | None = None) -> float:
        """Mark price as the venue quotes it, USD."""
        return self._tapes[contract.coin].mark(self.now if at is None else at) * contract.lot

    def coins(self, contract: Contract, at: int | None = None) -> float:
        """Open interest in coins."""
        base = self._tapes[contract.coin].interest_base(self.venue, self.now if at is None else at)
        return base * (INVERSE_SHARE if contract.inverse and not self.only_inverse else 1.0)

    only_inverse: ClassVar[bool] = False

    def lots(self, contract: Contract, at: int | None = None) -> float:
        """Open interest in the units that prices are quoted for."""
        return self.coins(contract, at) / contract.lot

    def held(self, contract: Contract, at: int | None = None) -> float:
        """Open interest in contracts."""
        return self.in_contracts(contract, self.coins(contract, at), self.mark(contract, at) / contract.lot)

    def in_contracts(self, contract: Contract, coins: float, price: float) -> float:
        """Coins as contracts; price is USD for one coin."""
        return coins * price / contract.size if contract.inverse else coins / contract.size

    def usd(self, contract: Contract, at: int | None = None) -> float:
        """Value of the open interest, USD."""
        return self.coins(contract, at) * self.mark(contract, at) / contract.lot

    def funding_rate(self, contract: Contract) -> float:
        """Fraction per 8 hours."""
        return self._tapes[contract.coin].funding_rate(self.now)

    def next_funding(self) -> int:
        return (self.now // FUNDING_MS + 1) * FUNDING_MS

    def steps(self, contract: Contract, step_ms: int, first: int, last: int) -> list[int]:
        """Each step's boundary in first..last, as far as there is a market, oldest first."""
        start = -(-max(first, self._tapes[contract.coin].start) // step_ms) * step_ms
        return list(range(start, min(last, self.now) + 1, step_ms))

    def candles(self, contract: Contract, step_ms: int, first: int, last: int) -> list[Candle]:
        """Candles that opened in first..last as the venue quotes them, oldest first."""
        rows = self._tapes[contract.coin].candles(step_ms, first, last, self.now)
        lot = contract.lot
        if lot == 1.0:
            return rows
        return [Candle(c.at, c.open * lot, c.high * lot, c.low * lot, c.close * lot) for c in rows]

    def forced(self, contract: Contract, since: int, until: int) -> list[Forced]:
        """Forced orders of a contract in since < at <= until."""
        if contract.inverse != self.only_inverse:
            return []  # recorded and simulated orders do not say of which kind they are
        return list(self._tapes[contract.coin].forced(self.venue, since, min(until, self.now)))

    def book(self, contract: Contract, rows: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Bids and asks, best first: price as quoted and coins. Thin near the price, thicker further out."""
        mark, open_coins = self.mark(contract), self.coins(contract)
        steps = [(i + 0.5) * 2e-4 for i in range(rows)]
        amounts = [open_coins * 1e-4 * (1 + i / 10) for i in range(rows)]
        bids = [(mark * (1 - step), amount) for step, amount in zip(steps, amounts, strict=True)]
        asks = [(mark * (1 + step), amount) for step, amount in zip(steps, amounts, strict=True)]
        return bids, asks


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", re.sub(r"[.+]", lambda m: "\\" + m[0], path)))


def number(value: float, digits: int = 8) -> str:
    """A number as venues send it: a decimal string, of small ones with more digits."""
    return f"{value:.{digits if abs(value) >= CHEAP else 12}f}"
