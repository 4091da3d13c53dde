"""Reads exchanges through ccxt and returns samples and bars. The only package that imports ccxt."""
