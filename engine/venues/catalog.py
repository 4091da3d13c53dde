"""All venues: ccxt id to display name, in the order in which they are listed.

Imports nothing, so that settings and messages can use it without loading ccxt.
"""

from __future__ import annotations

VENUE_NAMES = {
    "binanceusdm": "Binance",
    "bybit": "Bybit",
    "okx": "OKX",
    "binancecoinm": "Binance coin-m",
    "bitget": "Bitget",
    "gate": "Gate",
    "hyperliquid": "Hyperliquid",
    "deribit": "Deribit",
    "krakenfutures": "Kraken",
    "kucoinfutures": "KuCoin",
    "htx": "HTX",
}
VENUE_IDS = tuple(VENUE_NAMES)
