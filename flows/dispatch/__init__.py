"""Giving work to workers: batches of trials, and calls of Python functions."""
