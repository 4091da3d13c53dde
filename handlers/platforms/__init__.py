"""Telegram, Discord, the terminal and webhooks: how each receives commands, renders answers and sends messages."""
