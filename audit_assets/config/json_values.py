"""Type checks of values from JSON and YAML, whose objects have text keys."""

from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def objects_of(value: object) -> list[dict[str, Any]]:
    """The objects in a list, without its other values. Empty if the value is not a list."""
    return [item for item in value if is_object(item)] if is_list(value) else []
