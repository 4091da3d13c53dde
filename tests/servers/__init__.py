"""Telegram and Discord on 127.0.0.1, in their own wire formats. They refuse what the platforms refuse."""
