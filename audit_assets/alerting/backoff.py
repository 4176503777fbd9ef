"""How long to wait before the next attempt; pure."""

import hashlib
from datetime import timedelta

FIRST = timedelta(seconds=1)
LONGEST = timedelta(minutes=5)


def backoff(failures: int, whose: str) -> timedelta:
    """Doubling from `FIRST` up to `LONGEST`, less up to a half that hangs on whose it is and the number of failures, so
    that many who failed at once do not come back at once."""
    doubled = min(FIRST * 2 ** min(failures - 1, 20), LONGEST)
    digest = hashlib.sha256(f"{whose}/{failures}".encode()).digest()
    return doubled * (1 - int.from_bytes(digest[:4], "big") / 2**33)
