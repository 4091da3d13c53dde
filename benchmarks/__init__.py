"""Benchmarks: costs as ratios and counts within one run. `python -m benchmarks [NAME …] [--json]`."""
