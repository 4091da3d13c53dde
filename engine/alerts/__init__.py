"""Rules and how they are decided. Pure: no exchange library, no event loop, no clock."""
