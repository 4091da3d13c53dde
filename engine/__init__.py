"""What is true of the market: samples, map, clusters, rules. No chat and no SQL."""

import os

# Matrices here are small: more threads gain nothing, and where cores are shared they wait for each other for minutes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
