"""Telegram: connection, updates, replies, rendering, and the outcomes of sends."""
