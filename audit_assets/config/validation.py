"""Values from YAML files as models: messages that name file, line and field, durations, time zones, and suggestions for
misspelt names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from audit_assets.config.yaml_files import Document, DocumentError, FieldPath, read_document

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

M = TypeVar("M", bound=BaseModel)


class FrozenModel(BaseModel):
    """A frozen value. An unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse_duration(value: Any) -> timedelta:
    """`30s`, `15m`, `24h` or `7d` as a timedelta. Raises ValueError on anything else, including zero."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})([smhd])", str(value).strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit, such as 30s, 15m, 24h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: `America` is a directory of zones
        raise ValueError(f"{name!r} is not an IANA time zone; write one such as America/Los_Angeles") from error
    return name


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Timezone = Annotated[str, AfterValidator(_known_timezone)]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a file: its place, and a message with the fix."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}: {field}{self.message}"


class InvalidFileError(Exception):
    """A file is not valid. Has its problems, ordered by line; the message has one per line."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.field)))
        super().__init__("\n".join(map(str, self.problems)))


def parse_model(file: str, content: bytes, model: type[M]) -> tuple[M, Document]:
    """`content` (YAML) as `model`, and the lines of its fields; `file` is its name in messages. Raises
    InvalidFileError."""
    try:
        document = read_document(content)
    except DocumentError as error:
        raise InvalidFileError([Problem(file, error.line, error.field, error.message)]) from None
    try:
        return model.model_validate(document.values), document
    except ValidationError as error:
        raise InvalidFileError(validation_errors(file, document, model, error)) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean severity?`, or an empty string if no known name is similar."""
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""


def validation_errors(file: str, document: Document, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """One problem per validation error. A missing field is not reported if a misspelled field is suggested to be it.

    The fix is the field's description in `model`, if it has one. A model may name the fields that were
    renamed, in a class variable `former_names`: old name to new name.
    """
    problems: list[Problem] = []
    for detail in sorted(error.errors(), key=lambda detail: detail["type"] == "missing"):
        field_path: FieldPath = tuple(detail["loc"])
        is_misspelled = any(problem.message.endswith(f"did you mean {field_path[-1]}?") for problem in problems)
        if not (detail["type"] == "missing" and is_misspelled):
            problems.append(
                Problem(file, document.line(field_path), dotted(field_path), _in_words(model, field_path, detail))
            )
    return problems


def dotted(field_path: FieldPath) -> str:
    return ".".join(str(part) for part in field_path)


def _in_words(model: type[BaseModel], field_path: FieldPath, detail: Mapping[str, Any]) -> str:
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            name, beside = str(field_path[-1]), _model_beside(model, field_path)
            former: Mapping[str, str] = getattr(beside, "former_names", {})
            hint = f"; did you mean {former[name]}?" if name in former else did_you_mean(name, _fields(beside))
            return f"unknown field{hint}"
        case "missing":
            return f"is missing: {_fields(_model_beside(model, field_path))[str(field_path[-1])]}"
        case "literal_error":
            known = detail["ctx"]["expected"].replace("'", "")
            return f"{given!r} is not {known}{did_you_mean(str(given), re.split(r', | or ', known))}"
        case "value_error":  # raised by this project's validators, with the fix in the message
            return detail["msg"].removeprefix("Value error, ")
        case _:
            *_, wanted = "", *_descriptions(model, field_path)
            return f"{_shortened(given)} is not valid ({detail['msg']})" + (f": {wanted}" if wanted else "")


def _model_beside(model: type[BaseModel], field_path: FieldPath) -> type[BaseModel]:
    """The model that the last part of `field_path` is, or should be, a field of."""
    *_, beside = model, *(inner for inner, _ in _path(model, field_path[:-1]) if inner)
    return beside


def _fields(model: type[BaseModel]) -> dict[str, str]:
    return {field.alias or name: field.description or "" for name, field in model.model_fields.items()}


def _descriptions(model: type[BaseModel], field_path: FieldPath) -> list[str]:
    return [description for _, description in _path(model, field_path)]


def _path(model: type[BaseModel], field_path: FieldPath) -> Iterator[tuple[type[BaseModel] | None, str]]:
    """For each field on `field_path`: the model of its value, if any, and its description."""
    of_mapping = False
    for part in field_path:
        if of_mapping or isinstance(part, int):  # a key chosen by the user, or an index of a list
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
    """The model that a field's type is, or contains as a list, a list of lists or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner)) is not None), None)


def _is_mapping(annotation: Any) -> bool:
    kind = get_origin(annotation)
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _shortened(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}…"
