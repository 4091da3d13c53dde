"""Binance COIN-M: the USDⓈ-M format with contracts of 100 or 10 USD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.loopback.binanceusdm import BinanceUsdm
from engine.loopback.format import INVERSE_COINS, Answer, Contract, Query, number


class BinanceCoinM(BinanceUsdm):
    """Amounts in contracts. premiumIndex is a list even for a single symbol."""

    venue = "binancecoinm"
    only_inverse = True
    stream_prefix = "/ws/"
    rest: ClassVar[Mapping[str, str]] = {
        "/dapi/v1/exchangeInfo": "exchange_info",
        "/dapi/v1/openInterest": "open_interest",
        "/futures/data/openInterestHist": "open_interest_history",
        "/dapi/v1/premiumIndex": "premium_index",
        "/dapi/v1/klines": "klines",
        "/dapi/v1/markPriceKlines": "klines",
        "/dapi/v1/depth": "depth",
    }

    def contract(self, coin: str, *, inverse: bool) -> Contract | None:
        if inverse or coin not in INVERSE_COINS:
            return None  # inverse only and listed once, in the first pass
        return Contract(f"{coin}USD_PERP", coin, inverse=True, size=100.0 if coin == "BTC" else 10.0)

    def _symbol(self, contract: Contract) -> dict[str, Any]:
        row = super()._symbol(contract)
        coin, pair = contract.coin, f"{contract.coin}USD"
        row |= {"pair": pair, "baseAsset": coin, "quoteAsset": "USD", "marginAsset": coin}
        return row | {"contractSize": int(contract.size), "contractStatus": row.pop("status")}

    def _of_history(self, query: Query) -> Contract | None:
        return self.contracts.get(f"{query.get('pair')}_PERP")

    def _history_row(self, contract: Contract, at: int) -> dict[str, Any]:
        return {
            "pair": f"{contract.coin}USD",
            "contractType": "PERPETUAL",
            "sumOpenInterest": number(self.held(contract, at)),
            "sumOpenInterestValue": number(self.coins(contract, at)),
            "timestamp": at,
        }

    def premium_index(self, query: Query) -> Answer:
        return 200, [self._premium(contract) for contract in self.wanted(query)]
