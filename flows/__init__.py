"""Prefect flows that a user runs; from Python, through the names that `sweepflow` exports."""
