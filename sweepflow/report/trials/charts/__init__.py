"""Charts of a hyperparameter sweep, one a file: pure functions from a view to Plotly figures as JSON."""
