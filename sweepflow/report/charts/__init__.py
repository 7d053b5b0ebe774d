"""The page's charts, one a file: pure functions from records to Plotly figures written as plain JSON."""
