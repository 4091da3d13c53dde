"""Offline experiments on a recorded history: value of clusters, skill of the map, location of liquidations."""
