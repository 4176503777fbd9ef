"""What pydantic refuses in a YAML file, in our words: file, line, field and the mend."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from audit_assets.rules.document import Document, Place
from audit_assets.rules.model import Problem
from audit_assets.rules.spelling import did_you_mean


def complaints(file: str, document: Document, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """One problem a complaint; a field is not missing where a misspelt one stands in its place.

    The mend is the field's description in `model`, so each field must have one.
    """
    told: list[Problem] = []
    for detail in sorted(error.errors(), key=lambda detail: detail["type"] == "missing"):
        place: Place = tuple(detail["loc"])
        meant = any(problem.message.endswith(f"did you mean {place[-1]}?") for problem in told)
        if not (detail["type"] == "missing" and meant):
            told.append(Problem(file, document.line(place), dotted(place), _in_words(model, place, detail)))
    return told


def dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _in_words(model: type[BaseModel], place: Place, detail: Mapping[str, Any]) -> str:
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown field{did_you_mean(str(place[-1]), _fields_beside(model, place))}"
        case "missing":
            return f"is missing: {_fields_beside(model, place)[str(place[-1])]}"
        case "literal_error":
            known = detail["ctx"]["expected"].replace("'", "")
            return f"{given!r} is not {known}{did_you_mean(str(given), re.split(r', | or ', known))}"
        case "value_error":  # our own validators say the mend themselves
            return detail["msg"].removeprefix("Value error, ")
        case _:
            *_, wanted = "", *_descriptions(model, place)
            return f"{_shortened(given)} is not usable ({detail['msg']}): {wanted}"


def _fields_beside(model: type[BaseModel], place: Place) -> dict[str, str]:
    """The fields known where `place` is, with what each holds."""
    *_, beside = model, *(inner for inner, _ in _path(model, place[:-1]) if inner)
    return {field.alias or name: field.description or "" for name, field in beside.model_fields.items()}


def _descriptions(model: type[BaseModel], place: Place) -> list[str]:
    return [description for _, description in _path(model, place)]


def _path(model: type[BaseModel], place: Place) -> Iterator[tuple[type[BaseModel] | None, str]]:
    """For each field on the way to `place`: the model it holds, if any, and its description."""
    of_mapping = False
    for part in place:
        if of_mapping or isinstance(part, int):  # a key of the user's own, or a place in a list
            of_mapping = False
            continue
        field = {field.alias or name: field for name, field in model.model_fields.items()}.get(part)
        if field is None:
            return
        inner = _model_in(field.annotation)
        yield inner, field.description or ""
        if inner is None:
            return
        model, of_mapping = inner, _is_mapping(field.annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field's type is, or is a list, a list of lists or a mapping of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner)) is not None), None)


def _is_mapping(annotation: Any) -> bool:
    kind = get_origin(annotation)
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _shortened(given: Any) -> str:
    shown = repr(given)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
