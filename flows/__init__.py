"""Prefect flows: what a user runs, from Python by the names of `sweepflow`."""
