"""Margin, liquidation map, expected liquidations and clusters. Pure: no exchange library, event loop or clock."""
