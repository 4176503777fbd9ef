"""The dashboards: their definition, what they read, what they show."""
