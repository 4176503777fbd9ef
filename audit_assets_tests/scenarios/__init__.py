"""End to end: the demo, `audit dev`, kills, real traffic."""
