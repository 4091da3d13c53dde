"""Chat platforms and other ways out: each one's way of taking commands, of showing answers, and of sending."""
