"""From the outbox to the platforms: claim, render, send, mark."""
