"""Prefect tasks: thin wrappers around sweepflow, with names, cache keys, retries, progress and artifacts."""
