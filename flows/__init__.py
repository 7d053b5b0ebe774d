"""Prefect flows: what a user runs."""
