"""Charts of a hyperparameter sweep, one per file: pure functions from a view to Plotly figures as JSON."""
