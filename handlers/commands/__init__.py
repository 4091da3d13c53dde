"""The commands: one registry, one file per feature, one dispatcher."""
