"""Daily calibration of the map against reported liquidations, and its skill. Pure: no chat, no network."""
