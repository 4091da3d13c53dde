"""Venue classes by id. A new venue needs a file, a line here and one in the catalog."""

from __future__ import annotations

from engine.venues.binancecoinm import BinanceCoinM
from engine.venues.binanceusdm import BinanceUsdm
from engine.venues.bitget import Bitget
from engine.venues.bybit import Bybit
from engine.venues.deribit import Deribit
from engine.venues.gate import Gate
from engine.venues.htx import Htx
from engine.venues.hyperliquid import Hyperliquid
from engine.venues.krakenfutures import KrakenFutures
from engine.venues.kucoinfutures import KucoinFutures
from engine.venues.okx import Okx
from engine.venues.venue import Venue

VENUES: dict[str, type[Venue]] = {
    venue.id: venue
    for venue in (
        BinanceUsdm,
        Bybit,
        Okx,
        BinanceCoinM,
        Bitget,
        Gate,
        Hyperliquid,
        Deribit,
        KrakenFutures,
        KucoinFutures,
        Htx,
    )
}
