"""Targets: trained networks with their data, weights w0 and full-data loss L0."""
