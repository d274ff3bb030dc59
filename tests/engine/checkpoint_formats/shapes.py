"""Every kind of checkpoint, with its version, its shape and an example."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hls_handler import engine, handlers
from hls_handler.analysis import REPLY_TYPES
from hls_handler.engine.job import Codec, facts_codec


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of checkpoint and its encoding."""

    kind: str  # "post", "gather of issues", "ask for issue_analysis"
    version: int
    digest: str  # of the JSON schema: without titles and descriptions
    value: str  # an example, as stored JSON


def shapes() -> Iterator[Shape]:
    """Yield all shapes of the code on the path."""
    codecs_by_name = codecs()
    for name, codec in sorted(codecs_by_name.items()):
        if name != "ask":
            yield _shape(name, codec)
    for event, codec in sorted(facts_codecs().items()):
        yield _shape(f"gather of {event}", codec)
    for name, reply in sorted(REPLY_TYPES.items()):
        codec, schema = codecs_by_name["ask"], TypeAdapter(reply).json_schema()
        reply_value = {
            **_example(codec.type_adapter.json_schema()),
            "reply_type": name,
            "reply": _example(schema),
        }
        step = codec.encode(codec.type_adapter.validate_python(reply_value), index=0, took_s=0.0)
        yield Shape(
            f"ask for {name}",
            codec.version,
            _digest([codec.type_adapter.json_schema(), schema]),
            step.value,
        )


def codecs() -> dict[str, Codec[Any]]:
    """Codecs of checkpoints whose shape does not depend on the event, by name."""
    modules = [
        importlib.import_module(f"{engine.__name__}.{module.name}")
        for module in pkgutil.iter_modules(engine.__path__)
    ]
    return {
        value.name: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Codec)
    }


def facts_codecs() -> dict[str, Codec[Any]]:
    """Codecs of facts, by event; "push" stands for all events without a handler of their own."""
    handlers_by_event = {
        **handlers.HANDLERS,
        **handlers.COMMAND_HANDLERS,
        "push": handlers.handler_for("push"),
    }
    return {event: facts_codec(one, one.facts_type) for event, one in handlers_by_event.items()}


def _shape(kind: str, codec: Codec[Any]) -> Shape:
    # the names under which values are stored
    schema = codec.type_adapter.json_schema(by_alias=False)
    value = codec.type_adapter.validate_python(_example(schema))
    step = codec.encode(value, index=0, took_s=0.0)
    return Shape(kind, codec.version, _digest(schema), step.value)


def _digest(schema: Any) -> str:
    return hashlib.sha256(json.dumps(_without_texts(schema), sort_keys=True).encode()).hexdigest()[
        :16
    ]


def _without_texts(schema: Any) -> Any:
    if isinstance(schema, dict):
        skipped = ("title", "description")  # unless a field has such a name
        return {
            name: _without_texts(part)
            for name, part in schema.items()
            if name not in skipped or _is_schema(part)
        }
    return [_without_texts(part) for part in schema] if isinstance(schema, list) else schema


def _is_schema(part: Any) -> bool:
    return isinstance(part, dict) and any(
        name in part for name in ("type", "$ref", "anyOf", "enum", "const")
    )


def _example(schema: dict[str, Any], defs: dict[str, Any] | None = None) -> Any:
    """A value that matches the schema, with every field set."""
    defs = schema.get("$defs", {}) if defs is None else defs
    if "$ref" in schema:
        return _example(defs[schema["$ref"].rpartition("/")[2]], defs)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _example(
                next(part for part in schema[choice] if part.get("type") != "null"), defs
            )
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            named = {
                name: _example(part, defs) for name, part in schema.get("properties", {}).items()
            }
            others = schema.get("additionalProperties")
            return named | ({"1": _example(others, defs)} if isinstance(others, dict) else {})
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
