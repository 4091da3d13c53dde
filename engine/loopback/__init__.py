"""An exchange on 127.0.0.1 that speaks the venues' own formats, fed by a recorded or a simulated market.

Part of the product: `demo` runs on it. Imported only by demo and by tests; shares nothing with engine.liquidation.
"""
