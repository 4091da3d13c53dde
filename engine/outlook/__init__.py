"""Order-book depth, cascade estimate and risk score. Pure: no ccxt, no asyncio."""
