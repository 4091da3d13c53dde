"""Discord: the connection, what comes in, how answers are rendered, one-way webhooks, what its answers mean."""
