"""Answers as JSON: the API sends them, and commands with `--json` print them."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import date
from typing import TypeVar

Answer = TypeVar("Answer")


def fill(kind: type[Answer], source: object, **values: object) -> Answer:
    """Return an answer of the dataclass `kind`: its values are `values`, and the attributes of
    `source` for all other fields.
    """
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in values:
            values[field.name] = getattr(source, field.name)
    return kind(**values)


def to_json(document: object, *, indent: int | None = None) -> str:
    """Return JSON of dataclasses and plain values. Times are ISO 8601 in UTC."""
    return json.dumps(document, default=_to_plain, indent=indent)


def _to_plain(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    # the other values of documents are dataclasses
    return asdict(value)  # type: ignore[call-overload]
