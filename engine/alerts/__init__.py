"""Alert rules and their evaluation. Pure: no exchange library, no event loop, no clock."""
