"""Exchanges through ccxt in, samples and bars out. The only place that knows ccxt."""
