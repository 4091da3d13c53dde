"""Discord: connection, interactions, rendering, send-only webhooks, and the outcomes of sends."""
