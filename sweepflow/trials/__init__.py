"""Hyperparameter sweeps: from a request to trials, what has to be run of them, and what was found."""
