"""What may follow: resting orders, later cascades and risk. Pure: no ccxt, no asyncio."""
