"""Every kind of remembered step that the code on Python's path knows: its version, its shape, and an example of it.

It is run with the code of earlier versions as well; then it prints what it found.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hls_handler import handlers, work
from hls_handler.analysis import REPLY_TYPES
from hls_handler.work.memory import Codec


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of step, and how it is kept."""

    kind: str  # "apply", "gather of issues", "ask for issue_analysis"
    version: int
    digest: str  # of the JSON schema, without what it says to people
    value: str  # an example, JSON as it is remembered


def shapes() -> Iterator[Shape]:
    """All that are remembered by the code at hand."""
    known = codecs()
    for name, codec in sorted(known.items()):
        if name != "ask":
            yield _shape(name, codec)
    for event, codec in sorted(facts_codecs().items()):
        yield _shape(f"gather of {event}", codec)
    for name, reply in sorted(REPLY_TYPES.items()):
        ask, schema = known["ask"], TypeAdapter(reply).json_schema()
        answer = {**_example(ask._shape.json_schema()), "reply_type": name, "reply": _example(schema)}
        step = ask.encode(ask._shape.validate_python(answer), index=0, took_s=0.0)
        yield Shape(f"ask for {name}", ask.version, _digest([ask._shape.json_schema(), schema]), step.value)


def codecs() -> dict[str, Codec[Any]]:
    """Those of steps whose shape does not depend on the event, by name."""
    modules = [
        importlib.import_module(f"{work.__name__}.{module.name}") for module in pkgutil.iter_modules(work.__path__)
    ]
    return {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Codec)}


def facts_codecs() -> dict[str, Codec[Any]]:
    """Those of facts, by event; "push" stands for all without a handler of their own (at first they were ignored)."""
    of: dict[str, Any] = dict(handlers.HANDLERS)
    if (handler_for := vars(handlers).get("handler_for")) is not None:
        of["push"] = handler_for("push")
    return {event: Codec("gather", one.facts_version, TypeAdapter(one.facts_type)) for event, one in of.items()}


def _shape(kind: str, codec: Codec[Any]) -> Shape:
    schema = codec._shape.json_schema()
    value = codec._shape.validate_python(_example(schema))
    step = codec.encode(value, index=0, took_s=0.0)
    return Shape(kind, codec.version, _digest(schema), step.value)


def _digest(schema: Any) -> str:
    return hashlib.sha256(json.dumps(_bare(schema), sort_keys=True).encode()).hexdigest()[:16]


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        said = ("title", "description")
        return {name: _bare(part) for name, part in schema.items() if name not in said or isinstance(part, dict)}
    return [_bare(part) for part in schema] if isinstance(schema, list) else schema


def _example(schema: dict[str, Any], defs: dict[str, Any] | None = None) -> Any:
    """A value that fits, with something in every place."""
    defs = schema.get("$defs", {}) if defs is None else defs
    if "$ref" in schema:
        return _example(defs[schema["$ref"].rpartition("/")[2]], defs)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _example(next(part for part in schema[choice] if part.get("type") != "null"), defs)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            named = {name: _example(part, defs) for name, part in schema.get("properties", {}).items()}
            others = schema.get("additionalProperties")
            return named | ({"key": _example(others, defs)} if isinstance(others, dict) else {})
        case "array":
            if "prefixItems" in schema:
                return [_example(part, defs) for part in schema["prefixItems"]]
            return [_example(schema.get("items", {}), defs)]
        case "string":
            return "2026-11-20T12:00:00Z" if schema.get("format") == "date-time" else "text"
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return "anything"


if __name__ == "__main__":
    json.dump([[one.kind, one.version, one.digest, one.value] for one in shapes()], sys.stdout)
