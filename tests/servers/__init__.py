"""Stand-ins for Telegram and Discord on 127.0.0.1, in their own wire formats; they refuse what the platforms refuse."""
