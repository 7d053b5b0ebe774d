"""The engine: one compiled program for each group of trials, run a batch at a time."""
