"""Margin, the map, forced flow and clusters. Pure: no exchange library, no event loop, no clock."""
