"""Prefect tasks: thin shells around sweepflow; names, cache keys, retries, progress, artifacts."""
