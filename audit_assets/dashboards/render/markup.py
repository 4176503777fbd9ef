"""HTML attributes that Dash accepts as wildcards, which are missing in its type signatures."""

from collections.abc import Mapping
from typing import Any


def attributes(given: Mapping[str, str]) -> dict[str, Any]:
    """`aria-…` and `data-…` attributes, to be unpacked into a component."""
    return dict(given)
