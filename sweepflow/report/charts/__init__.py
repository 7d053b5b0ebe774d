"""The page's charts, one per file: pure functions from records to Plotly figures in plain JSON."""
