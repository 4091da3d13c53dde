"""SQLite through sqlite-utils: one writer thread, migrations, one module per family of tables."""
