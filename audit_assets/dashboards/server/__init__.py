"""The Dash application, its guards and its static files."""
