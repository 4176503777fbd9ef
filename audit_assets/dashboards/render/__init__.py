"""From rows to HTML and Plotly figures."""
