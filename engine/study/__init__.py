"""A history, measured: clusters and what they are worth, the skill of the map, where forced orders fell."""
