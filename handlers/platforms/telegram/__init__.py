"""Telegram: the connection, what comes in, answers, how they are rendered, and what its answers mean."""
