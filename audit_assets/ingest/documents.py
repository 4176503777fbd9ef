"""Parses JSON documents of text and json columns as Postgres parses them into jsonb, and reads their fields.

A document is valid if jsonb would accept it and it is nested less than LEVELS deep. The last of duplicate keys wins,
numbers keep every digit, and objects are written with sorted keys. So a text, json or jsonb column gives the same raw
row.
"""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeAlias

import pyarrow as pa

from audit_assets.ingest.extract import TEXT_LIMITS
from audit_assets.ingest.policy import SyncPolicy, parts_of

# As json gives it; a number is a Number.
Value: TypeAlias = "bool | str | list[Value] | dict[str, Value] | None"
_Reader = Callable[[Value], Any]

# The limits of Postgres' numeric: digits before and after the decimal point.
_MOST_BEFORE, _MOST_AFTER = 131_072, 16_383
_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_INDEX = re.compile(r"-?\d+")

_MISSING: Any = object()

# The nesting depth that is read: slightly more than jsonb accepts with the default stack of Postgres.
LEVELS = 8192


class Number(str):
    """A number as Postgres' numeric writes it. Its type distinguishes it from a string."""

    __slots__ = ()


def _number(text: str) -> Number:
    """A JSON number as Postgres' numeric writes it: without exponent, with its scale kept. Raises ValueError if it
    exceeds the limits of numeric."""
    found = _NUMBER.fullmatch(text)
    assert found is not None  # json calls this with valid numbers only
    sign, whole, fraction, exponent = found[1], found[2], found[3] or "", found[4]
    if exponent is not None:
        shift = int(exponent) if len(exponent) < 12 else 10**10 * (-1 if exponent[0] == "-" else 1)
        digits, scale = (whole + fraction).lstrip("0"), max(0, len(fraction) - shift)
        before = len(digits) - len(fraction) + shift if digits else 0
        if before > _MOST_BEFORE or scale > _MOST_AFTER:
            raise ValueError("a number beyond the limits of numeric")
        if digits:
            digits = digits + "0" * (shift - len(fraction)) if shift > len(fraction) else digits.rjust(scale + 1, "0")
        else:
            digits = "0" * (scale + 1)
        whole, fraction = (digits[:-scale], digits[-scale:]) if scale else (digits, "")
    elif len(whole) > _MOST_BEFORE or len(fraction) > _MOST_AFTER:
        raise ValueError("a number beyond the limits of numeric")
    is_zero = not (whole + fraction).strip("0")
    return Number(("" if is_zero else sign) + whole + ("." + fraction if fraction else ""))


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=_reject_constant)


def parse(text: str) -> Value:
    """The parsed document, with numbers as Number. Raises ValueError if jsonb would reject it, RecursionError if it is
    nested too deep."""
    if "\\u" in text:
        _check_escapes(text)
    return _DECODER.decode(text)


def _check_escapes(text: str) -> None:
    """Raises ValueError for an escape that is not a character: \\u0000, or half of a surrogate pair."""
    high_ends: int | None = None  # where the first half of a pair ended, if it was just read
    for found in _ESCAPE.finditer(text):
        code = int(found[1], 16) if found[1] else -1
        is_low = 0xDC00 <= code < 0xE000
        if code == 0 or is_low != (high_ends == found.start()) or (high_ends is not None and not is_low):
            raise ValueError(f"{found[0]} is not a character")
        high_ends = found.end() if 0xD800 <= code < 0xDC00 else None
    if high_ends is not None:
        raise ValueError("half of a surrogate pair is not a character")


def as_text(value: Value) -> str | None:
    """The value as `->>` returns it: null for null, a string unchanged, anything else as jsonb text."""
    if value is None or type(value) is str:
        return value
    return to_jsonb_text(value)


def to_jsonb_text(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Number():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return "[" + ", ".join(map(to_jsonb_text, value)) + "]"
        case _:
            keys = sorted(value, key=lambda key: (len(encoded := key.encode()), encoded))
            return (
                "{"
                + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {to_jsonb_text(value[key])}" for key in keys)
                + "}"
            )


def value_at(document: Value, path: Sequence[str]) -> Value:
    """The value at `path`, or _MISSING. Parts are keys of objects or, in paths of several parts, indexes of lists."""
    for part in path:
        if isinstance(document, dict):
            document = document.get(part, _MISSING)
        elif isinstance(document, list) and len(path) > 1 and _INDEX.fullmatch(part):
            place = int(part)
            document = document[place] if -len(document) <= place < len(document) else _MISSING
        else:
            return _MISSING
    return document


def _text_at(key: str, limit: int) -> _Reader:
    path = parts_of(key)

    def read(document: Value) -> str | None:
        found = value_at(document, path)
        text = None if found is _MISSING else as_text(found)
        return None if text is None else text[:limit]

    return read


def _flag_at(key: str) -> _Reader:
    path = parts_of(key)

    def read(document: Value) -> bool | None:
        found = value_at(document, path)
        if found is _MISSING:
            return None
        return not (found is None or found is False or found in ("", "false", {}, []))

    return read


def _length_at(prompt: str, messages: str) -> _Reader:
    prompt_path, messages_path = parts_of(prompt), parts_of(messages)

    def read(document: Value) -> int | None:
        found = value_at(document, prompt_path)
        text = None if found is _MISSING else as_text(found)
        if text is not None:
            return len(text)
        found = value_at(document, messages_path)
        return None if found is _MISSING else sum(map(len, _contents(found)))

    return read


def _contents(messages: Value) -> Iterable[str]:
    """The texts of one message or a list of messages, whose content is a string or a list of parts."""
    for one in _each(messages):
        for message in _each(one):
            for part in _each(message["content"]) if isinstance(message, dict) and "content" in message else ():
                text = part.get("text") if isinstance(part, dict) else part
                if type(text) is str:
                    yield text


def _each(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]


_TYPES = {"error_flag": pa.bool_(), "prompt_length": pa.int64()}


def request_fields(policy: SyncPolicy) -> Mapping[str, _Reader]:
    """Column → the function that reads it from a request document."""
    keys = policy.source.request_keys
    return {
        "request_prompt_tokens": _text_at(policy.source.either_keys.prompt_tokens, TEXT_LIMITS["prompt_tokens"]),
        "source_documents": _text_at(keys.source_documents, TEXT_LIMITS["source_documents"]),
        "snapshot_id": _text_at(keys.snapshot_id, TEXT_LIMITS["snapshot_id"]),
        "drill_id": _text_at(keys.drill_id, TEXT_LIMITS["drill_id"]),
        "prompt_length": _length_at(keys.prompt, keys.messages),
    }


def response_fields(policy: SyncPolicy) -> Mapping[str, _Reader]:
    """Column → the function that reads it from a response document."""
    keys = policy.source.response_keys
    texts = ("duration_ms", "model", "model_parameters", "completion_id", "completion_tokens")
    return {
        "response_status": _text_at(keys.status, TEXT_LIMITS["status"]),
        "error_flag": _flag_at(keys.error),
        **{name: _text_at(getattr(keys, name), TEXT_LIMITS[name]) for name in texts},
        "response_prompt_tokens": _text_at(policy.source.either_keys.prompt_tokens, TEXT_LIMITS["prompt_tokens"]),
    }


def read_documents(rows: pa.RecordBatchReader, policy: SyncPolicy) -> pa.RecordBatchReader:
    """The rows with `request_text` and `response_text` replaced by their fields, and with `json_is_valid`.

    If one document of a row is invalid, the fields of both are null. Rows without these columns pass unchanged.
    """
    fields = {"request_text": request_fields(policy), "response_text": response_fields(policy)}
    if not any(name in rows.schema.names for name in fields):
        return rows
    empty = _with_fields(pa.RecordBatch.from_pylist([], schema=rows.schema), fields)
    return pa.RecordBatchReader.from_batches(empty.schema, (_with_fields(batch, fields) for batch in rows))


def _with_fields(batch: pa.RecordBatch, fields: Mapping[str, Mapping[str, _Reader]]) -> pa.RecordBatch:
    present = [name for name in fields if name in batch.schema.names]
    found = [[_read(text, fields[name]) for text in batch.column(name).to_pylist()] for name in present]
    valid = [all(values is not None for values in row) for row in zip(*found, strict=True)]
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, rows in zip(present, found, strict=True):
        del columns[name]
        for field in fields[name]:
            values = [
                row[field] if row is not None and is_valid else None for row, is_valid in zip(rows, valid, strict=True)
            ]
            columns[field] = pa.array(values, _TYPES.get(field, pa.string()))
    columns["json_is_valid"] = pa.array(valid, pa.bool_())
    return pa.RecordBatch.from_pydict(columns)


def _read(text: str | None, fields: Mapping[str, _Reader]) -> dict[str, Any] | None:
    """The fields of one document, or None if it is invalid."""
    if text is None:
        return dict.fromkeys(fields)
    try:
        return _fields(text, fields)
    except RecursionError:
        return _on_a_large_stack(lambda: _fields(text, fields))
    except ValueError:
        return None


def _fields(text: str, fields: Mapping[str, _Reader]) -> dict[str, Any]:
    document = parse(text)
    return {name: read(document) for name, read in fields.items()}


def _on_a_large_stack(work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Runs `work` in a thread with a larger stack, for a document nested too deep for this one; None if the document is
    invalid or nested deeper than LEVELS."""
    found: list[dict[str, Any]] = []

    def run() -> None:
        with suppress(ValueError, RecursionError):
            found.append(work())

    limit, stack = sys.getrecursionlimit(), threading.stack_size(LEVELS * 8192)
    try:
        sys.setrecursionlimit(LEVELS)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(stack)
    return found[0] if found else None
