"""Attributes that Dash's HTML takes by wildcard, which its signatures do not know."""

from collections.abc import Mapping
from typing import Any


def attributes(given: Mapping[str, str]) -> dict[str, Any]:
    """`aria-…` and `data-…` attributes, to be unpacked into a component."""
    return dict(given)
