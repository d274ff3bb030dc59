"""Benchmarks. Results are ratios within one run, because absolute numbers depend on the machine."""
