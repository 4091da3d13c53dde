"""A stand-in exchange on 127.0.0.1 in the venues' own formats, fed by a recorded or simulated market.

Part of the product: `demo` runs on it. Only demo, tests and benchmarks import it. It shares no code with
engine.liquidation.
"""
