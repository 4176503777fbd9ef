"""The `audit` command: a thin layer over the other packages, in the groups that `audit --help` shows."""
