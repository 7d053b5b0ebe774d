"""Results of a hyperparameter sweep: tables, charts, the best configuration, comparison of two sweeps."""
