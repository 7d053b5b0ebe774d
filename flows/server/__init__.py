"""Prefect's server: the embedded one, what can be wrong with one, and waiting for one that is away."""
