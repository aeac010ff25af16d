"""Benchmarks: ratios in one run, never asserted. `make bench` runs all."""

import os

from services.cli.main import ONE_BLAS_THREAD

# As `loam` does, before NumPy is loaded.
os.environ.setdefault(*ONE_BLAS_THREAD)
