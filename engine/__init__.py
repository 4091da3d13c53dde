"""What is true of the market: samples, map, clusters, rules. No chat and no SQL."""
