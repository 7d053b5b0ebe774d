"""Benchmarks that print ratios. Both sides of a ratio are measured in turn in one run: `make bench`."""
