"""Hyperparameter sweeps: from a request to trials, the trials that have to be run, and the results."""
