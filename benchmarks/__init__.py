"""Ratios, both sides of each measured in turn in one run: `make bench`."""
