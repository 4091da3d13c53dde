"""Once a day, pure: how the map is tied to what feeds report, and how well that did. No chat, no network."""
