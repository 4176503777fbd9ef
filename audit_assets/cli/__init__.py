"""The `audit` command: a thin face over the other packages, grouped as `audit --help` shows it."""
