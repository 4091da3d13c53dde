"""The venues there are, by ccxt's id, with the name that people know them by, in the order in which they are listed.

It imports nothing, so that settings and messages can read it without loading a client.
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
