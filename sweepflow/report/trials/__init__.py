"""What a hyperparameter sweep found: tables, charts, the best configuration, and two sweeps side by side."""
